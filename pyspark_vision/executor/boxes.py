"""Box arithmetic on ``(N, 4)`` float32 arrays; the order of the columns is in each name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pyspark_vision.executor.preprocess import Placement

Array = np.ndarray[Any, Any]


def to_xyxy(boxes: Array, box_format: str) -> Array:
    """``(N, 4)`` boxes as ``yxyx | xyxy | xywh | cxcywh`` -> xyxy, in the same unit.

    >>> to_xyxy(np.array([[0.5, 0.5, 0.2, 0.4]], np.float32), "cxcywh").round(2).tolist()
    [[0.4000000059604645, 0.30000001192092896, 0.6000000238418579, 0.699999988079071]]
    """
    a, b, c, d = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    if box_format == "yxyx":
        columns = (b, a, d, c)
    elif box_format == "xywh":
        columns = (a, b, a + c, b + d)
    elif box_format == "cxcywh":
        columns = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)
    else:
        columns = (a, b, c, d)
    return np.stack(columns, axis=1)


def to_source_xyxy(xyxy: Array, placement: Placement) -> Array:
    """Normalized boxes of the model's input -> of the upright picture, clipped to [0,1]."""
    scale = np.array([placement.x_scale, placement.y_scale] * 2, np.float32)
    shift = np.array([placement.x_shift, placement.y_shift] * 2, np.float32)
    clipped: Array = np.clip(xyxy * scale + shift, 0.0, 1.0)
    return clipped


def iou_of_one(box: Array, others: Array) -> Array:
    """Intersection over union of an xyxy box ``(4,)`` with each of ``(N, 4)``; 0 for no area.

    >>> others = np.array([[0, 0, 2, 2.], [1, 0, 3, 2.]])
    >>> iou_of_one(np.array([0, 0, 2, 2.]), others).round(3).tolist()
    [1.0, 0.333]
    """
    left_top = np.maximum(box[:2], others[:, :2])
    right_bottom = np.minimum(box[2:], others[:, 2:])
    width, height = np.clip(right_bottom - left_top, 0, None).T
    intersection = width * height
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = area + areas - intersection
    iou: Array = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return iou


def nms(
    xyxy: Array, scores: Array, class_ids: Array, iou_threshold: float, max_boxes: int
) -> Array:
    """Greedy non-maximum suppression within each class; indices kept, best score first.

    ``xyxy`` ``(N, 4)``, ``scores`` ``(N,)``, ``class_ids`` ``(N,)``. A box is dropped when its IoU
    with a better one of its class is above ``iou_threshold``; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < max_boxes:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlaps = iou_of_one(xyxy[best], xyxy[rest]) > iou_threshold
        order = rest[~(overlaps & (class_ids[rest] == class_ids[best]))]
    return np.array(kept, np.int64)
