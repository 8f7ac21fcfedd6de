"""Box formats, overlap and suppression."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from pyspark_vision.executor import boxes
from pyspark_vision.executor.boxes import iou_of_one, nms, to_source_xyxy, to_xyxy
from pyspark_vision.executor.preprocess import Placement

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
