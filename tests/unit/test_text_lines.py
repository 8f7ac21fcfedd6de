"""One line: cut out, made an input, decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from pyspark_vision.executor.text.text_lines import cut_out, decode_ctc, line_input

CHARACTERS = ["", "a", "é", "字", " "]


def steps(*classes: int, probability: float = 0.9) -> np.ndarray[Any, Any]:
    """``(T, 5)``: the class of each step with this probability."""
    table = np.full((len(classes), 5), (1 - probability) / 4, np.float32)
    table[np.arange(len(classes)), list(classes)] = probability
    return table


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ((1, 1, 0, 1), "aa"),  # repeated counts once, unless a blank is between
        ((0, 2, 2, 3, 0, 0), "é字"),
        ((1, 4, 1), "a a"),
        ((3,), "字"),
    ],
)
def test_the_best_path_is_the_text(classes: tuple[int, ...], text: str) -> None:
    found, score = decode_ctc(steps(*classes), CHARACTERS)

    assert found == text
    assert score == pytest.approx(0.9)


def test_the_score_is_the_mean_of_the_characters_alone() -> None:
    table = np.concatenate([steps(1, probability=0.6), steps(0, probability=0.99), steps(2)])

    assert decode_ctc(table, CHARACTERS)[1] == pytest.approx((0.6 + 0.9) / 2)


@pytest.mark.parametrize("classes", [(0, 0, 0), ()])
def test_blanks_alone_are_no_text(classes: tuple[int, ...]) -> None:
    assert decode_ctc(steps(*classes), CHARACTERS) == ("", 0.0)


def test_a_line_becomes_as_high_as_the_input_with_zeros_on_its_right() -> None:
    white = np.full((24, 40, 3), 255, np.uint8)

    prepared = line_input(white, (48, 320))

    assert prepared.shape == (3, 48, 320)
    assert np.array_equal(prepared[:, :, :80], np.ones((3, 48, 80)))
    assert not prepared[:, :, 80:].any()


def test_a_line_that_is_too_long_is_pressed_together() -> None:
    long = np.zeros((10, 900, 3), np.uint8)

    assert (line_input(long, (48, 192)) == -1).all()


def test_a_slanted_quadrilateral_is_cut_out_straight() -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    for x in range(60):  # a line that rises by a third
        middle = 40 - x // 3
        pixels[middle - 4 : middle + 5, x] = 255
    quad = np.array([(6, 34), (48, 20), (50, 27), (8, 41)], np.float32)

    line, is_turned = cut_out(pixels, quad)

    assert not is_turned
    assert line.shape == (7, 44, 3)
    assert (line[2:5] > 200).all()


def test_a_tall_quadrilateral_is_turned_against_the_clock() -> None:
    pixels = np.zeros((60, 20, 3), np.uint8)
    pixels[:, 10:] = (0, 0, 255)
    quad = np.array([(0, 0), (19, 0), (19, 59), (0, 59)], np.float32)

    line, is_turned = cut_out(pixels, quad)

    assert is_turned
    assert line.shape == (19, 59, 3)
    # What was on the right is on top.
    assert line[2, 30].tolist() == [0, 0, 255]
    assert line[-2, 30].tolist() == [0, 0, 0]
