"""Mean average precision as Pascal VOC (since 2010) and COCO define it, at one IoU threshold.

All points of the precision-recall curve count (no 11- or 101-point sampling): the area under the
curve after each precision has been raised to the best precision at that recall or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """The boxes of one picture, true or detected.

    Attributes:
        xyxy: ``(N, 4)`` xmin, ymin, xmax, ymax.
        class_ids: ``(N,)`` integers.
        scores: ``(N,)``; all ones for the truth.
    """

    xyxy: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray


def iou_matrix(one_xyxy: np.ndarray, other_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of ``(N, 4)`` with ``(M, 4)`` boxes in xyxy order: ``(N, M)``.

    >>> one, others = np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2]])
    >>> iou_matrix(one, others).round(3).tolist()
    [[1.0, 0.333]]
    """
    low = np.maximum(one_xyxy[:, None, :2], other_xyxy[None, :, :2])
    high = np.minimum(one_xyxy[:, None, 2:], other_xyxy[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    one_area = np.prod(one_xyxy[:, 2:] - one_xyxy[:, :2], axis=1)
    other_area = np.prod(other_xyxy[:, 2:] - other_xyxy[:, :2], axis=1)
    union: np.ndarray = one_area[:, None] + other_area[None, :] - shared
    iou: np.ndarray = shared / np.maximum(union, 1e-12)
    return iou


def match(detected: Boxes, truth: Boxes, min_iou: float) -> np.ndarray:
    """Which detections of one picture are right: ``(N,)`` booleans in the order of ``detected``.

    Best score first, a detection takes the true box of its class with the highest IoU. It is right
    where that IoU is at least ``min_iou`` and no better detection has taken the box before.
    """
    right = np.zeros(len(detected.scores), bool)
    taken = np.zeros(len(truth.class_ids), bool)
    ious = iou_matrix(detected.xyxy, truth.xyxy) * (
        detected.class_ids[:, None] == truth.class_ids[None, :]
    )
    for index in np.argsort(-detected.scores, kind="stable"):
        if not taken.size:
            break
        best = int(ious[index].argmax())
        if ious[index, best] >= min_iou and not taken[best]:
            right[index] = taken[best] = True
    return right


def average_precisions(
    detected: Sequence[Boxes], truths: Sequence[Boxes], classes: int, min_iou: float = 0.5
) -> np.ndarray:
    """Average precision of each class over many pictures; NaN for a class never shown."""
    right = np.concatenate(
        [
            match(detections, truth, min_iou)
            for detections, truth in zip(detected, truths, strict=True)
        ]
    )
    scores = np.concatenate([detections.scores for detections in detected])
    found_ids = np.concatenate([detections.class_ids for detections in detected])
    true_ids = np.concatenate([truth.class_ids for truth in truths])
    result = np.full(classes, np.nan)
    for class_id in range(classes):
        mine = found_ids == class_id
        total = int((true_ids == class_id).sum())
        if total:
            result[class_id] = _area_under_curve(
                right[mine][np.argsort(-scores[mine], kind="stable")], total
            )
    return result


def _area_under_curve(right: np.ndarray, total: int) -> float:
    hits = np.cumsum(right)
    recall = hits / total
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
