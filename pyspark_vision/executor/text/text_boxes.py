"""The map of a text detector -> quadrilaterals around lines of text, in reading order.

The formulas are those of "Real-time Scene Text Detection with Differentiable Binarization" (Liao et
al., 2020) as PaddleOCR (``ppocr/postprocess/db_postprocess.py``, ``tools/infer/predict_det.py``)
and RapidOCR 1.4.4 (``ch_ppocr_det/utils.py``) compute them, with RapidOCR's numbers.

A quadrilateral is ``(4, 2)`` float32: x and y in pixels of its four corners, clockwise from the top
left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyspark_vision.executor.decode.opencv import clipper, opencv

Array = np.ndarray[Any, Any]

# What of the map is text (RapidOCR's and PaddleOCR's `thresh`), and how much of a map is looked at
# (`max_candidates`).
_TEXT_FROM = 0.3
MAX_CANDIDATES = 1000
# Sides of a rectangle in pixels of the map, before and after it has grown (`min_size`), and in
# pixels of the picture.
_MIN_SIDE, _MIN_GROWN_SIDE, _MIN_PICTURE_SIDE = 3, 5, 3
# Lines whose tops differ by less are on one line, from left to right.
_SAME_LINE_PX = 10


def text_quads(
    score_map: Array, size_wh: tuple[int, int], box_threshold: float, unclip_ratio: float
) -> tuple[Array, int]:
    """``(H, W)`` scores of places -> ``((N, 4, 2)`` quadrilaterals, number of candidates``)``.

    ``size_wh``: of the picture, in whose whole pixels the corners are. A rectangle counts where the
    mean score in it is at least ``box_threshold``; it then grows on all sides by its area times
    ``unclip_ratio`` by its circumference, since the detector is trained on shrunken lines. Of more
    than ``MAX_CANDIDATES`` only so many are looked at.
    """
    cv2 = opencv()
    is_text = cv2.dilate((score_map > _TEXT_FROM).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(is_text * 255, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array(size_wh, np.float32) / np.array(score_map.shape[::-1], np.float32)
    last_xy = np.array(size_wh) - 1
    quads = []
    for contour in contours[:MAX_CANDIDATES]:
        _, sides_wh, _ = rectangle = cv2.minAreaRect(contour)
        if min(sides_wh) < _MIN_SIDE:
            continue
        corners = cv2.boxPoints(rectangle)
        if _mean_score(cv2, score_map, corners) < box_threshold:
            continue
        grown = _grown(cv2, corners, unclip_ratio)
        if min(grown[1]) < _MIN_GROWN_SIDE:
            continue
        quad = _clockwise(np.round(cv2.boxPoints(grown) * scale))
        quad = np.clip(quad, 0, last_xy).astype(np.float32)
        width, height = np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[0] - quad[3])
        if min(int(width), int(height)) > _MIN_PICTURE_SIDE:
            quads.append(quad)
    return np.array(_in_reading_order(quads), np.float32).reshape(-1, 4, 2), len(contours)


def _mean_score(cv2: Any, score_map: Array, corners: Array) -> float:
    """The mean of the map in a quadrilateral, its edges among it."""
    height, width = score_map.shape
    limits = (width - 1, height - 1)
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, limits)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, limits)
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(inside, [(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(score_map[top : bottom + 1, left : right + 1], inside)[0])


def _grown(cv2: Any, corners: Array, unclip_ratio: float) -> Any:
    """The smallest rectangle around the quadrilateral, once that is larger on all sides.

    Clipper (A. Johnson, after Vatti) moves its sides outwards and makes its corners round. It
    counts in whole pixels, which the texts of short lines depend on.
    """
    pyclipper = clipper()
    distance = cv2.contourArea(corners) * unclip_ratio / cv2.arcLength(corners, closed=True)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return cv2.minAreaRect(np.array(offset.Execute(distance)[0]))


def _clockwise(corners: Array) -> Array:
    """From the upper one of the two on the left, clockwise."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.array([top_left, top_right, bottom_right, bottom_left])


def _in_reading_order(quads: list[Array]) -> list[Array]:
    """From top to bottom; what begins at nearly the same height from left to right."""
    ordered = sorted(quads, key=lambda quad: (quad[0][1], quad[0][0]))
    for index in range(len(ordered) - 1):
        for place in range(index, -1, -1):
            upper, lower = ordered[place], ordered[place + 1]
            is_same_line = abs(lower[0][1] - upper[0][1]) < _SAME_LINE_PX
            if not (is_same_line and lower[0][0] < upper[0][0]):
                break
            ordered[place], ordered[place + 1] = lower, upper
    return ordered
