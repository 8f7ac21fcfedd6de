"""Box formats, overlap and suppression."""

from __future__ import annotations

import doctest
import tracemalloc
from typing import Any

import numpy as np
import pytest

from pyspark_vision.executor.decode.preprocess import Placement
from pyspark_vision.executor.outputs import boxes
from pyspark_vision.executor.outputs.boxes import (
    have_area,
    iou_of_one,
    nms,
    to_source_xyxy,
    to_xyxy,
)

A = [0.0, 0.0, 2.0, 2.0]


def test_printed_examples_are_true() -> None:
    found = doctest.testmod(boxes)
    assert (found.attempted > 0, found.failed) == (True, 0)


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("xyxy", [1, 2, 4, 8]),
        ("yxyx", [2, 1, 8, 4]),
        ("xywh", [1, 2, 3, 6]),
        ("cxcywh", [2.5, 5, 3, 6]),
    ],
)
def test_each_format_becomes_xyxy(box_format: str, box: list[float]) -> None:
    found = to_xyxy(np.array([box, box], np.float32), box_format)
    assert found.tolist() == [[1, 2, 4, 8]] * 2
    assert found.dtype == np.float32


@pytest.mark.parametrize("box_format", ["xyxy", "yxyx", "xywh", "cxcywh"])
def test_no_boxes_stay_no_boxes(box_format: str) -> None:
    assert to_xyxy(np.empty((0, 4), np.float32), box_format).shape == (0, 4)
    assert to_source_xyxy(np.empty((0, 4), np.float32), Placement()).shape == (0, 4)


def test_source_boxes_are_scaled_and_shifted_per_axis() -> None:
    found = to_source_xyxy(
        np.array([[0.25, 0.5, 0.5, 1.0]], np.float32), Placement(2.0, -0.25, 0.5, 0.25)
    )
    assert found.tolist() == [[0.25, 0.5, 0.75, 0.75]]


def test_source_boxes_are_clipped_to_the_picture() -> None:
    found = to_source_xyxy(np.array([[-0.5, 0.2, 0.8, 1.5]], np.float32), Placement())
    assert found.ravel().tolist() == pytest.approx([0, 0.2, 0.8, 1])


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (A, 1),
        ([1, 0, 3, 2], 1 / 3),
        ([1, 1, 3, 3], 1 / 7),
        ([0.5, 0.5, 1.5, 1.5], 1 / 4),  # inside
        ([2, 0, 4, 2], 0),  # touches
        ([5, 5, 6, 6], 0),
        ([1, 1, 1, 1], 0),  # no area
        ([1, 0, 1, 2], 0),  # no width
    ],
)
def test_iou(other: list[float], iou: float) -> None:
    assert iou_of_one(np.array(A), np.array([other]))[0] == pytest.approx(iou)
    assert iou_of_one(np.array(other), np.array([A]))[0] == pytest.approx(iou)


def test_iou_of_boxes_without_area_is_zero() -> None:
    point = np.array([1.0, 1.0, 1.0, 1.0])
    assert iou_of_one(point, point[np.newaxis]).tolist() == [0]


def test_iou_with_no_others_is_empty() -> None:
    assert iou_of_one(np.array(A), np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    ("box", "has"),
    [
        ([0, 0, 1, 1], True),
        ([0.2, 0.2, 0.2001, 0.2001], True),
        ([0.2, 0.2, 0.2, 0.4], False),
        ([0.4, 0.2, 0.2, 0.4], False),
        ([0.4, 0.4, 0.2, 0.2], False),  # its sides' product is positive
        ([0.0, 0.2, 1e-8, 0.4], False),  # rounding at an edge
        ([np.nan, 0, 1, 1], False),
    ],
)
def test_a_box_has_area_if_both_sides_have_a_length(box: list[float], has: bool) -> None:
    assert have_area(np.array([box], np.float32)).tolist() == [has]


def kept(
    xyxy: list[list[float]],
    scores: list[float],
    class_ids: list[int] | None = None,
    iou_threshold: float = 0.5,
    max_boxes: int = 10,
) -> list[int]:
    return nms(
        np.array(xyxy, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids or [0] * len(scores)),
        iou_threshold,
        max_boxes,
    ).tolist()


def test_nms_of_nothing_is_nothing() -> None:
    assert kept([], []) == []


def test_nms_keeps_the_best_of_overlapping_boxes_best_first() -> None:
    assert kept([A, A, [5, 5, 6, 6], A], [0.6, 0.9, 0.95, 0.7]) == [2, 1]


def test_nms_keeps_the_first_of_equal_scores() -> None:
    assert kept([A, A, A], [0.5, 0.5, 0.5]) == [0]
    assert kept([A, [5, 5, 6, 6], [8, 8, 9, 9]], [0.5, 0.5, 0.5]) == [0, 1, 2]


def test_nms_is_per_class() -> None:
    assert kept([A, A, A], [0.9, 0.8, 0.7], [1, 2, 1]) == [0, 1]


def test_nms_stops_at_max_boxes() -> None:
    apart = [[i * 3.0, 0, i * 3.0 + 1, 1] for i in range(5)]
    assert kept(apart, [0.1, 0.5, 0.3, 0.4, 0.2], max_boxes=2) == [1, 3]
    assert kept(apart, [0.1, 0.5, 0.3, 0.4, 0.2], max_boxes=0) == []


@pytest.mark.parametrize(("iou_threshold", "expected"), [(0.25, [0, 1]), (0.24, [0])])
def test_nms_drops_only_above_the_threshold(iou_threshold: float, expected: list[int]) -> None:
    quarter = [0.5, 0.5, 1.5, 1.5]  # IoU 0.25 with A, exactly
    assert kept([A, quarter], [0.9, 0.8], iou_threshold=iou_threshold) == expected


def test_a_dropped_box_drops_no_other() -> None:
    # Each overlaps its neighbours by 1/3: the middle one goes, the right one stays.
    chain = [[0.0, 0, 2, 2], [1.0, 0, 3, 2], [2.0, 0, 4, 2]]
    assert kept(chain, [0.9, 0.8, 0.7], iou_threshold=0.3) == [0, 2]


def test_boxes_without_area_do_not_suppress() -> None:
    point = [1.0, 1, 1, 1]
    assert kept([point, point], [0.9, 0.8]) == [0, 1]


def test_many_equal_scores_keep_their_order() -> None:
    # More than sorts of small arrays take in order by themselves.
    apart = [[i * 3.0, 0, i * 3.0 + 1, 1] for i in range(200)]
    assert kept(apart, [0.5] * 100 + [0.6] * 100, max_boxes=200) == [
        *range(100, 200),
        *range(100),
    ]


def plain_greedy(
    xyxy: np.ndarray[Any, Any],
    scores: np.ndarray[Any, Any],
    class_ids: np.ndarray[Any, Any],
    iou_threshold: float,
    max_boxes: int,
) -> list[int]:
    """As the textbook has it: the best box that is left, then all that overlap it go."""
    left = sorted(range(len(scores)), key=lambda index: -scores[index])
    found: list[int] = []
    while left and len(found) < max_boxes:
        best = left.pop(0)
        found.append(best)
        others = np.array(left, int)
        ious = iou_of_one(xyxy[best], xyxy[others])
        same = class_ids[others] == class_ids[best]
        left = others[~((ious > iou_threshold) & same)].tolist()
    return found


LAYOUTS = ("anywhere", "dense", "tall", "flat", "tiny and large", "clipped")


def random_boxes(layout: str, count: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    centre = rng.uniform(0, 1, (count, 2))
    size = rng.uniform(0.02, 0.3, (count, 2))
    if layout == "dense":
        centre = rng.uniform(0, 1, (12, 2))[rng.integers(0, 12, count)]
        centre, size = centre + rng.normal(0, 0.01, (count, 2)), 0.1 + 0.1 * size
    elif layout == "tall":
        size[:, 1] = 2.0
    elif layout == "flat":
        size[:, 0] = 2.0
    elif layout == "tiny and large":
        size = 10 ** rng.uniform(-4, 0, (count, 2))
        centre = 0.5 + (centre - 0.5) * size
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
    return (np.clip(boxes, 0, 1) if layout == "clipped" else boxes).astype(np.float32)


@pytest.mark.parametrize("iou_threshold", [0.0, 0.001, 0.3, 0.5, 0.7, 0.99, 1.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nms_keeps_what_plain_greedy_suppression_keeps(layout: str, iou_threshold: float) -> None:
    rng = np.random.default_rng([LAYOUTS.index(layout), int(iou_threshold * 1000)])
    for classes, max_boxes in ((1, 400), (5, 400), (80, 60)):
        xyxy = random_boxes(layout, 400, rng)
        scores = rng.choice(np.linspace(0.1, 1, 50), 400).astype(np.float32)  # many are equal
        class_ids = rng.integers(0, classes, 400)
        found = nms(xyxy, scores, class_ids, iou_threshold, max_boxes).tolist()
        assert found == plain_greedy(xyxy, scores, class_ids, iou_threshold, max_boxes)


def test_nms_of_pixels_and_of_a_large_picture_keeps_what_plain_greedy_suppression_keeps() -> None:
    rng = np.random.default_rng(7)
    xyxy = random_boxes("dense", 300, rng) * np.float32(50_000) - np.float32(20_000)
    scores = rng.uniform(0, 1, 300).astype(np.float32)
    class_ids = rng.integers(-3, 3, 300)
    found = nms(xyxy, scores, class_ids, 0.5, 300).tolist()
    assert found == plain_greedy(xyxy, scores, class_ids, 0.5, 300)


@pytest.mark.parametrize("classes", [1, 80])
@pytest.mark.parametrize("layout", ["one object", "apart"])
def test_nms_of_thirty_thousand_boxes_takes_little_memory(layout: str, classes: int) -> None:
    count = 30_000
    y, x = np.divmod(np.arange(count), 174)
    apart = np.stack([x, y, x + 0.8, y + 0.8], 1) / 174
    together = np.array([0.2, 0.2, 0.8, 0.8]) + np.random.default_rng(0).normal(0, 0.01, (count, 4))
    xyxy = (apart if layout == "apart" else together).astype(np.float32)
    scores = np.linspace(1, 0.1, count).astype(np.float32)
    tracemalloc.start()
    try:
        found = nms(xyxy, scores, np.arange(count) % classes, 0.5, 500)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == (500 if layout == "apart" else classes)
    assert peak_bytes < 20_000_000  # all pairs would be 900 million
