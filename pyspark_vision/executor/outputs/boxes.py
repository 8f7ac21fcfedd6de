"""Box arithmetic on ``(N, 4)`` float32 arrays; the order of the columns is in each name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pyspark_vision.executor.decode.preprocess import Placement

Array = np.ndarray[Any, Any]

# Of the picture's sides: what is narrower is float32's rounding at an edge, and no area. It is less
# than a tenth of a pixel in the largest picture.
MIN_SIDE = 1e-6


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


def to_source_points(points: Array, placement: Placement) -> Array:
    """``(…, 2)`` normalized points of the model's input -> of the upright picture, not clipped."""
    scale = np.array([placement.x_scale, placement.y_scale], np.float32)
    shift = np.array([placement.x_shift, placement.y_shift], np.float32)
    placed: Array = points * scale + shift
    return placed


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


def have_area(xyxy: Array) -> Array:
    """Which of ``(N, 4)`` normalized xyxy boxes are wider and higher than nothing; NaN is not.

    >>> have_area(np.array([[0, 0, 1, 1], [0.5, 0, 0.4, 1], [1, 0, 1, 1]])).tolist()
    [True, False, False]
    """
    least = MIN_SIDE
    wide_and_high: Array = (xyxy[:, 2] - xyxy[:, 0] > least) & (xyxy[:, 3] - xyxy[:, 1] > least)
    return wide_and_high


def nms(
    xyxy: Array, scores: Array, class_ids: Array, iou_threshold: float, max_boxes: int
) -> Array:
    """Greedy non-maximum suppression within each class; indices kept, best score first.

    ``xyxy`` ``(N, 4)``, ``scores`` ``(N,)``, ``class_ids`` ``(N,)``. A box is dropped when its IoU
    with a better one of its class is above ``iou_threshold``; equal scores keep their order.

    Memory grows with N alone: a box is compared with its neighbours only.
    """
    if max_boxes < 1:
        return np.empty(0, np.int64)
    order = np.argsort(-scores, kind="stable")
    along, first, last = _neighbours(xyxy, class_ids, iou_threshold)
    place = np.empty_like(along)
    place[along] = np.arange(along.size)
    sorted_xyxy = xyxy[along]
    dropped = np.zeros(along.size, bool)
    kept: list[int] = []
    for index in order.tolist():
        own = place[index]
        if dropped[own]:
            continue
        kept.append(index)
        if len(kept) == max_boxes:
            break
        near = slice(first[index], last[index])
        dropped[near] |= iou_of_one(sorted_xyxy[own], sorted_xyxy[near]) > iou_threshold
    return np.array(kept, np.int64)


def weighted_nms(
    xyxy: Array,
    scores: Array,
    class_ids: Array,
    iou_threshold: float,
    max_boxes: int,
    points: Array | None = None,
) -> tuple[Array, Array, Array | None]:
    """As :func:`nms`, and each kept box is the mean of those that it replaces, by their scores.

    MediaPipe, ``non_max_suppression_calculator.cc``, ``WeightedNonMaxSuppression``: the best box
    takes with it those of its class that overlap it by more than the threshold; boxes and
    ``points`` ``(N, P, 2)`` are means, the score is the best one's. Returns (indices kept, all
    boxes, all points) with the kept ones changed. ``scores`` must be in order, best first.
    """
    merged, merged_points = xyxy.copy(), None if points is None else points.copy()
    is_left = np.ones(len(xyxy), bool)
    kept: list[int] = []
    for index in range(len(xyxy)):
        if not is_left[index]:
            continue
        if len(kept) == max_boxes:
            break
        kept.append(index)
        same = np.flatnonzero(is_left & (class_ids == class_ids[index]))
        same = same[(iou_of_one(xyxy[index], xyxy[same]) > iou_threshold) | (same == index)]
        is_left[same] = False
        weights = scores[same].astype(np.float64) / scores[same].sum(dtype=np.float64)
        merged[index] = weights @ xyxy[same]
        if points is not None and merged_points is not None:
            merged_points[index] = np.tensordot(weights, points[same], axes=1)
    return np.array(kept, np.int64), merged, merged_points


def _neighbours(xyxy: Array, class_ids: Array, iou_threshold: float) -> tuple[Array, Array, Array]:
    """(all indices in another order, where in it each box's neighbours begin, and end).

    The neighbours are all boxes of the same class with an IoU above the threshold, and some others.
    They follow from one side alone: the shorter of two sides is at least ``iou_threshold`` times
    the longer, and their common part, too. Of the two sides the one with fewer neighbours is taken.
    """
    # A little wider than exact arithmetic needs; no threshold at all is no bound at all.
    before = 1.001 / max(iou_threshold, 1e-9) - 1
    after = 1 - iou_threshold + 1e-3
    _, class_ranks = np.unique(class_ids, return_inverse=True)
    neighbours: list[tuple[Array, Array, Array]] = []
    for side in (0, 1):
        low = xyxy[:, side].astype(np.float64)
        length = xyxy[:, side + 2] - low
        least, most = (low.min(), low.max()) if low.size else (0.0, 0.0)
        # Each class has a range of its own on one line.
        begin = class_ranks * (most - least + 1)
        along = np.argsort(begin + low, kind="stable")
        line = (begin + low)[along]
        first = np.searchsorted(line, begin + np.clip(low - before * length, least, most), "left")
        last = np.searchsorted(line, begin + np.clip(low + after * length, least, most), "right")
        neighbours.append((along, first, last))
    return min(neighbours, key=lambda side: int((side[2] - side[1]).sum()))
