"""What a text detector shows -> quadrilaterals, by the published formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("cv2")
pytest.importorskip("pyclipper")

from pyspark_vision.executor.text.text_boxes import MAX_CANDIDATES, text_quads

Corners = list[tuple[float, float]]
WH = (200, 100)


def score_map(*shapes: tuple[Corners, float]) -> np.ndarray[Any, Any]:
    """``(100, 200)``: polygons with the score of their inside."""
    image = Image.new("F", WH)
    for corners, score in shapes:
        ImageDraw.Draw(image).polygon(corners, fill=score)
    return np.asarray(image)


def box(left: float, top: float, right: float, bottom: float) -> Corners:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def test_a_map_without_text_has_no_quadrilateral() -> None:
    quads, candidates = text_quads(score_map(), WH, 0.5, 1.6)

    assert (quads.shape, candidates) == ((0, 4, 2), 0)


def test_a_line_grows_on_all_sides_by_its_area_times_the_ratio_by_its_circumference() -> None:
    # The 2x2 dilation adds a pixel on the right and below: 61 x 21, corners included 62 x 22.
    (quad,), _ = text_quads(score_map((box(50, 40, 110, 60), 0.9)), WH, 0.5, 1.6)

    distance = 61 * 21 * 1.6 / (2 * (61 + 21))
    wanted = [(50, 40), (111, 40), (111, 61), (50, 61)]
    outwards = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    assert np.abs(quad - (wanted + outwards * distance)).max() <= 1.5  # whole pixels


def test_the_corners_are_those_of_the_picture_not_of_the_map() -> None:
    shown = score_map((box(50, 40, 110, 60), 0.9))

    (small,), _ = text_quads(shown, WH, 0.5, 1.6)
    (large,), _ = text_quads(shown, (400, 300), 0.5, 1.6)

    assert np.abs(large - small * (2, 3)).max() <= 3


def test_a_slanted_line_has_a_slanted_quadrilateral_clockwise_from_the_top_left() -> None:
    turned = [(40.0, 30.0), (150.0, 50.0), (147.0, 66.0), (37.0, 46.0)]

    (quad,), _ = text_quads(score_map((turned, 0.9)), WH, 0.5, 0.5)

    assert np.abs(quad - turned).max() < 8
    top_left, top_right, bottom_right, bottom_left = quad
    assert top_left[0] < top_right[0]
    assert top_left[1] < top_right[1] < bottom_right[1]
    assert bottom_left[1] < bottom_right[1]


@pytest.mark.parametrize(("threshold", "count"), [(0.6, 1), (0.8, 0)])
def test_a_line_counts_from_its_mean_score_on(threshold: float, count: int) -> None:
    quads, candidates = text_quads(score_map((box(50, 40, 110, 60), 0.7)), WH, threshold, 1.6)

    assert (len(quads), candidates) == (count, 1)


def test_what_is_smaller_than_three_pixels_is_left_out() -> None:
    quads, candidates = text_quads(score_map((box(50, 40, 110, 40), 1.0)), WH, 0.5, 1.6)

    assert (len(quads), candidates) == (0, 1)


def test_lines_are_read_from_top_to_bottom_and_left_to_right() -> None:
    shown = score_map(
        (box(120, 14, 160, 24), 1.0), (box(20, 18, 60, 28), 1.0), (box(20, 60, 60, 70), 1.0)
    )

    quads, _ = text_quads(shown, WH, 0.5, 0.5)

    lefts_and_tops = [tuple(quad[0]) for quad in quads.round(-1)]
    assert lefts_and_tops == [(20, 20), (120, 10), (20, 60)]


def test_of_a_map_full_of_specks_only_so_many_are_looked_at() -> None:
    shown = np.zeros((400, 400), np.float32)
    for y in range(0, 400, 10):
        for x in range(0, 400, 10):
            shown[y : y + 5, x : x + 5] = 1

    quads, candidates = text_quads(shown, (400, 400), 0.5, 0.5)

    assert candidates == 1600
    assert len(quads) <= MAX_CANDIDATES


def test_a_line_at_the_edge_stays_in_the_picture() -> None:
    (quad,), _ = text_quads(score_map((box(0, 0, 199, 20), 1.0)), WH, 0.5, 1.6)

    assert quad.min() >= 0
    assert quad[:, 0].max() <= 199
