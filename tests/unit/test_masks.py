"""Masks as runs: COCO's text, held against pycocotools, and maps resized as their sources say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from resized_maps import resized

from pyspark_vision.executor.outputs.masks import (
    NO_CLASS,
    Runs,
    axis,
    best_classes,
    compressed,
    decoded,
    decompressed,
    nearest_classes,
    runs_above,
    runs_of_classes,
)

Array = np.ndarray[Any, Any]

SIZES = [(1, 1), (1, 7), (7, 1), (2, 3), (31, 17), (100, 130)]
SHARES = [0.0, 0.02, 0.5, 0.98, 1.0]


def drawn(hw: tuple[int, int], share: float) -> Array:
    return np.random.default_rng(0).random(hw) < share


def runs_of(mask: Array) -> Runs:
    """Of a whole mask, one cell a pixel."""
    height, width = mask.shape
    rows, columns = axis(height, height, 1, 0), axis(width, width, 1, 0)
    return runs_above(mask.astype(np.float32), 0.5, rows, columns, (height, width))


def as_coco(runs: Runs) -> dict[str, Any]:
    return {"size": list(runs.hw), "counts": runs.counts}


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("share", SHARES)
def test_text_is_what_cocos_own_encoder_writes(hw: tuple[int, int], share: float) -> None:
    mask = drawn(hw, share)

    assert runs_of(mask).counts.encode() == coco.encode(np.asfortranarray(mask, np.uint8))["counts"]


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("share", SHARES)
def test_area_and_box_are_those_that_coco_finds(hw: tuple[int, int], share: float) -> None:
    runs = runs_of(drawn(hw, share))

    assert runs.area == coco.area(as_coco(runs))
    left, top, width, height = coco.toBbox(as_coco(runs))
    box = np.array([left, top, left + width, top + height]) / [hw[1], hw[0], hw[1], hw[0]]
    assert runs.xyxy == pytest.approx(box)


# Of pycocotools itself, under numpy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("share", SHARES)
def test_a_mask_comes_back_from_its_text(hw: tuple[int, int], share: float) -> None:
    mask = drawn(hw, share)

    assert (decoded(hw, runs_of(mask).counts) == mask).all()
    assert (coco.decode(as_coco(runs_of(mask))) == mask).all()


@pytest.mark.parametrize("lengths", [[5], [0, 5], [2**31 - 1, 1, 3], [1, 2, 70_000, 2, 9, 1 << 20]])
def test_lengths_of_any_size_come_back(lengths: list[int]) -> None:
    assert decompressed(compressed(np.array(lengths))).tolist() == lengths


@pytest.mark.parametrize(
    ("size", "counts", "said"),
    [
        ((2, 3), "", "do not fill"),
        ((2, 3), "133", "runs of 7 pixels do not fill 3x2"),
        ((2, 3), "13", "do not fill"),
        ((0, 0), "0", "do not fill"),
        ((2, 3), "1é", "not a run-length mask"),
        ((2, 3), "1 ", "not a run-length mask"),
        ((2, 3), "13P", "not a run-length mask"),
        ((2, 3), "P" * 8 + "1", "more than 32 bits"),
    ],
)
def test_text_of_another_kind_is_refused(size: tuple[int, int], counts: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decoded(size, counts)


@pytest.mark.parametrize(
    ("map_hw", "hw"),
    [((5, 7), (31, 17)), ((40, 30), (7, 9)), ((1, 1), (3, 2)), ((64, 64), (1, 50))],
)
def test_pixels_above_a_threshold_are_those_of_the_resized_map(
    map_hw: tuple[int, int], hw: tuple[int, int]
) -> None:
    values = np.random.default_rng(1).standard_normal(map_hw).astype(np.float32)
    rows, columns = axis(map_hw[0], hw[0], 1, 0), axis(map_hw[1], hw[1], 1, 0)

    runs = runs_above(values, 0.1, rows, columns, hw)

    assert (decoded(hw, runs.counts) == (resized(values, hw) > 0.1)).all()


def test_runs_go_on_from_block_to_block(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.ones((50, 40), bool)
    monkeypatch.setattr("pyspark_vision.executor.outputs.masks._BLOCK_PIXELS", 100)

    runs = runs_of(mask)

    assert (runs.starts.tolist(), runs.ends.tolist()) == ([0], [2000])


@pytest.mark.parametrize("classes", [2, 21])
@pytest.mark.parametrize(("map_hw", "hw"), [((9, 13), (300, 410)), ((33, 33), (20, 200))])
def test_the_best_class_of_each_pixel_is_that_of_the_resized_scores(
    classes: int, map_hw: tuple[int, int], hw: tuple[int, int]
) -> None:
    scores = np.random.default_rng(2).standard_normal((classes, *map_hw)).astype(np.float32)
    rows, columns = axis(map_hw[0], hw[0], 1, 0), axis(map_hw[1], hw[1], 1, 0)

    best = best_classes(scores, rows, columns, hw)

    assert (np.stack([resized(one, hw) for one in scores]).argmax(axis=0) == best.T).all()


def test_of_equal_scores_the_lower_class_counts() -> None:
    side = axis(4, 9, 1, 0)

    assert (best_classes(np.ones((3, 4, 4), np.float32), side, side, (9, 9)) == 0).all()


def test_a_map_of_classes_is_enlarged_cell_by_cell() -> None:
    classes = np.array([[0, 1], [2, 3]], np.uint16)
    side = axis(2, 4, 1, 0)

    best = nearest_classes(classes, side, side, (4, 4))

    assert best.T.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_a_letterboxs_padding_is_none_of_the_picture() -> None:
    # A picture of half the height, in the middle: source = 2 * model - 0.5.
    rows = axis(8, 4, 2.0, -0.5)

    assert (rows.first, rows.pixels) == (0, 4)
    assert rows.nearest.tolist() == [2, 3, 4, 5]


def test_what_a_crop_leaves_out_has_no_class() -> None:
    # The model saw the middle half of the width: source = 0.5 * model + 0.25.
    columns, rows = axis(2, 8, 0.5, 0.25), axis(2, 2, 1, 0)

    best = best_classes(np.ones((1, 2, 2), np.float32), rows, columns, (2, 8))

    assert (columns.first, columns.pixels) == (2, 4)
    assert (best[:, 0] == [NO_CLASS] * 2 + [0] * 4 + [NO_CLASS] * 2).all()
    ((class_id, runs),) = runs_of_classes(best)
    assert (class_id, runs.area, runs.xyxy) == (0, 8, (0.25, 0.0, 0.75, 1.0))


@pytest.mark.parametrize(
    ("begin", "end", "pixels"),
    [(0, 10, [*range(10)]), (2.5, 4, [3]), (2, 4.5, [2, 3, 4]), (3, 3, []), (7, 99, [7, 8, 9])],
)
def test_a_box_takes_the_pixels_from_its_first_to_before_its_end(
    begin: float, end: float, pixels: list[int]
) -> None:
    side = axis(10, 10, 1, 0).within(begin, end)

    assert (side.first, side.nearest.tolist()) == (pixels[0] if pixels else side.first, pixels)


def test_the_sides_of_a_box_may_be_rounded_as_float32_rounds() -> None:
    third = float(np.float32(1 / 3)) * 3

    assert axis(3, 3, 1, 0).within(0, third).nearest.tolist() == [0]
