"""Masks and points on pictures: where colour lands, and what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyspark_vision.executor.drawing.draw import class_color_rgb
from pyspark_vision.executor.drawing.draw_keypoints import draw_keypoints
from pyspark_vision.executor.drawing.draw_masks import draw_masks
from pyspark_vision.executor.drawing.draw_text_lines import draw_text_lines
from pyspark_vision.executor.outputs.masks import compressed

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


def text_line(
    text: Any = "Spark", top: float = 0.4, bottom: float = 0.6, **changes: Any
) -> dict[str, Any]:
    """From a quarter to three quarters of the picture's width."""
    places = ((0.25, top), (0.75, top), (0.75, bottom), (0.25, bottom))
    corners = [{"x": x, "y": y} for x, y in places]
    return {"text": text, "score": 0.9, "corners": corners, **changes}


def test_a_line_of_text_is_outlined_and_seen_through() -> None:
    drawn = draw_text_lines(grey((400, 200)), [text_line()], named=False)

    color = class_color_rgb(0)
    for corner in ((100, 80), (300, 80), (300, 120), (100, 120), (200, 80), (100, 100)):
        assert drawn.getpixel(corner) == color
    assert drawn.getpixel((200, 100)) == GREY
    assert not changed(drawn)[:70].any()


def test_what_was_read_stands_beside_the_lines_and_over_none_of_them() -> None:
    lines = [text_line("one", 0.2, 0.3), text_line("two", 0.6, 0.7)]
    bare, named = (draw_text_lines(grey((400, 400)), lines, named=n) for n in (False, True))

    differs = (np.asarray(bare) != np.asarray(named)).any(axis=2)
    assert differs.any()
    for top, bottom in ((80, 120), (240, 280)):
        assert not differs[top : bottom + 1, 100:301].any()


def test_a_text_between_lines_stands_right_of_its_own() -> None:
    lines = [text_line(str(n), 0.4 + n / 20, 0.45 + n / 20) for n in range(3)]
    bare, named = (draw_text_lines(grey((400, 400)), lines, named=n) for n in (False, True))

    differs = (np.asarray(bare) != np.asarray(named)).any(axis=2)
    assert differs[190, 310]
    assert not differs[162:218, 100:301].any()


def test_where_there_is_no_room_a_text_covers_its_own_line() -> None:
    lines = [text_line(f"line {n}", n / 10, (n + 1) / 10) for n in range(10)]
    for line in lines:
        for corner in line["corners"]:
            corner["x"] = round(corner["x"])
    bare, named = (draw_text_lines(grey((400, 300)), lines, named=n) for n in (False, True))

    differs = (np.asarray(bare) != np.asarray(named)).any(axis=2)
    for n in range(1, 9):
        assert differs[n * 30 + 2 : n * 30 + 28].any()


@pytest.mark.parametrize("text", ["漢字", "", None, b"\xff", 3])
def test_a_text_that_the_font_lacks_is_written_as_its_number(text: Any) -> None:
    numbered = draw_text_lines(grey((400, 200)), [text_line("#1")])

    assert draw_text_lines(grey((400, 200)), [text_line(text)]).tobytes() == numbered.tobytes()


@pytest.mark.parametrize(
    "corners",
    [
        None,
        3,
        [],
        [{"x": 0.1, "y": 0.1}] * 3,
        [{"x": 0.1, "y": None}] * 4,
        [{"x": NAN, "y": 0.1}] * 4,
        [{"x": 1e9, "y": 0.1}] * 4,
        [{"x": "left", "y": 0.1}] * 4,
        [{"y": 0.1}] * 4,
    ],
)
def test_a_line_without_four_corners_is_left_out(corners: Any) -> None:
    assert not changed(draw_text_lines(grey(), [text_line(corners=corners)])).any()
    assert draw_text_lines(Image.new("RGB", (0, 0)), [text_line()]).size == (0, 0)
