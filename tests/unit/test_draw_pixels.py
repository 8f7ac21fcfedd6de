"""Masks and points on pictures: where colour lands, and what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyspark_vision.executor.draw import class_color_rgb
from pyspark_vision.executor.draw_keypoints import draw_keypoints
from pyspark_vision.executor.draw_masks import draw_masks
from pyspark_vision.executor.masks import compressed

GREY = (128, 128, 128)
NAN = float("nan")


def grey(size: tuple[int, int] = (200, 100)) -> Image.Image:
    return Image.new("RGB", size, GREY)


def changed(image: Image.Image) -> Any:
    """``(height, width)`` bool."""
    return (np.asarray(image) != GREY).any(axis=2)


def segment(class_id: Any = 2, score: Any = 0.9, **changes: Any) -> dict[str, Any]:
    """The left half of a 200x100 picture."""
    mask = {"size": [100, 200], "counts": compressed(np.array([0, 100 * 100, 100 * 100]))}
    place = {"xmin": 0.0, "ymin": 0.0, "xmax": 0.5, "ymax": 1.0}
    return {"class_id": class_id, "label": "sky", "score": score, **place, "mask": mask, **changes}


def pose(*points: tuple[str, float, float, float | None], **changes: Any) -> dict[str, Any]:
    names = ("name", "x", "y", "score")
    keypoints = [dict(zip(names, point, strict=True)) for point in points]
    none = dict.fromkeys(("label", "xmin", "ymin", "xmax", "ymax"))
    return {"class_id": 0, "score": 0.9, **none, "keypoints": keypoints, **changes}


def test_a_mask_is_seen_through_inside_and_its_edge_is_the_colour() -> None:
    drawn = draw_masks(grey(), [segment()], named=False)

    assert (changed(drawn) == (np.arange(200) < 100)).all()
    color = class_color_rgb(2)
    assert drawn.getpixel((99, 50)) == color
    assert drawn.getpixel((50, 50)) == tuple(128 // 2 + part // 2 for part in color)


def test_the_best_segment_lies_on_top() -> None:
    drawn = draw_masks(grey(), [segment(1, 0.9), segment(2, 0.5), segment(3, None)], named=False)

    assert drawn.getpixel((99, 50)) == class_color_rgb(1)


def test_the_name_stands_on_a_plate() -> None:
    bare, named = (draw_masks(grey(), [segment()], named=is_named) for is_named in (False, True))

    assert named.tobytes() != bare.tobytes()


@pytest.mark.parametrize("size", [(50, 25), (400, 200), (1, 1)])
def test_a_mask_is_scaled_to_the_picture(size: tuple[int, int]) -> None:
    drawn = changed(draw_masks(grey(size), [segment()], named=False))

    assert (drawn == (np.arange(size[0]) < size[0] / 2)).all() or size == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": None},
        {"mask": {"size": [100, 200]}},
        {"mask": {"size": [100, 200], "counts": "no mask"}},
        {"mask": {"size": [10**9, 10**9], "counts": "0"}},
        {"mask": {"size": [None, 3], "counts": "0"}},
        {"class_id": None},
    ],
)
def test_a_segment_without_a_mask_is_left_out(changes: dict[str, Any]) -> None:
    assert not changed(draw_masks(grey(), [segment(**changes)])).any()


def test_the_picture_given_is_not_changed() -> None:
    picture = grey()
    draw_masks(picture, [segment()])
    draw_keypoints(picture, [pose(("nose", 0.5, 0.5, 0.9))])

    assert not changed(picture).any()
    assert draw_masks(Image.new("RGB", (0, 0)), [segment()]).size == (0, 0)
    assert draw_keypoints(Image.new("RGB", (0, 0)), [pose()]).size == (0, 0)


def test_points_that_belong_together_have_a_line() -> None:
    hips = [("left_hip", 0.2, 0.5, 0.9), ("right_hip", 0.8, 0.5, None)]
    others = [("a", 0.2, 0.5, 0.9), ("b", 0.8, 0.5, 0.9)]

    assert changed(draw_keypoints(grey(), [pose(*hips)]))[50, 100]
    unnamed = changed(draw_keypoints(grey(), [pose(*others)]))
    assert not unnamed[50, 100]
    assert unnamed[50, 40]
    assert unnamed[50, 160]


@pytest.mark.parametrize(
    "point",
    [
        ("nose", 0.5, 0.5, 0.1),
        ("nose", 1.2, 0.5, 0.9),
        ("nose", NAN, 0.5, 0.9),
        ("nose", None, 0.5, 0.9),
        ("nose", 0.5, 0.5, NAN),
        ("nose", 0.5, "low", 0.9),
    ],
)
def test_a_point_that_is_unlikely_outside_or_none_is_left_out(point: Any) -> None:
    assert not changed(draw_keypoints(grey(), [pose(point)])).any()


@pytest.mark.parametrize("changes", [{"keypoints": None}, {"class_id": None}, {"keypoints": 3}])
def test_a_pose_that_cannot_be_read_is_left_out(changes: dict[str, Any]) -> None:
    assert not changed(draw_keypoints(grey(), [pose(("nose", 0.5, 0.5, 0.9), **changes)])).any()


def test_a_pose_with_a_box_has_its_outline_unless_it_is_drawn_elsewhere() -> None:
    box = {"xmin": 0.1, "ymin": 0.1, "xmax": 0.9, "ymax": 0.9}

    assert changed(draw_keypoints(grey(), [pose(**box)])).any()
    assert not changed(draw_keypoints(grey(), [pose(**box)], named=False)).any()
