"""Boxes on pictures: where they go, what is skipped, and that nothing a model says can raise."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from PIL import Image

from pyspark_vision.executor.drawing import draw

GREY = (128, 128, 128)
NAN, INF = float("nan"), float("inf")


def detection(**changes: Any) -> dict[str, Any]:
    box = {"class_id": 1, "label": "cat", "score": 0.9}
    edges = {"xmin": 0.25, "ymin": 0.25, "xmax": 0.75, "ymax": 0.75}
    return {**box, **edges, **changes}


def grey(width: int = 400, height: int = 400) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def changed_bounds(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """Bounds of what is no longer grey; right and bottom are exclusive, as Pillow has them."""
    from PIL import ImageChops

    return ImageChops.difference(picture, Image.new("RGB", picture.size, GREY)).getbbox()


def test_box_edges_lie_where_the_detection_says() -> None:
    drawn = draw.draw_boxes(grey(), [detection()])
    color = draw.class_color_rgb(1)
    assert drawn.getpixel((100, 250)) == color  # left edge, 0.25 * 400
    assert drawn.getpixel((299, 250)) == color  # right edge, last pixel inside 0.75 * 400
    assert drawn.getpixel((200, 299)) == color  # bottom edge
    assert drawn.getpixel((200, 250)) == GREY  # the inside is left alone


def test_input_picture_is_not_changed() -> None:
    picture = grey()
    draw.draw_boxes(picture, [detection()])
    assert changed_bounds(picture) is None


def test_no_detections_give_an_equal_copy() -> None:
    picture = grey()
    drawn = draw.draw_boxes(picture, [])
    assert drawn is not picture
    assert changed_bounds(drawn) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"xmin": NAN},
        {"ymax": INF},
        {"xmin": -INF},
        {"xmin": None},
        {"xmin": "left"},
        {"xmin": 0.8},  # inverted: xmax is 0.75
        {"ymin": 0.75},  # empty
        {"xmin": 1.2, "xmax": 1.5},  # outside
        {"class_id": None},
        {"score": "high"},
    ],
)
def test_detection_without_a_drawable_box_is_skipped(changes: dict[str, Any]) -> None:
    assert changed_bounds(draw.draw_boxes(grey(), [detection(**changes)])) is None


def test_detection_with_missing_keys_is_skipped() -> None:
    assert changed_bounds(draw.draw_boxes(grey(), [{"class_id": 1}])) is None


def test_bad_detection_does_not_keep_the_good_one_from_being_drawn() -> None:
    assert changed_bounds(draw.draw_boxes(grey(), [detection(xmin=NAN), detection()]))


@pytest.mark.parametrize("size_wh", [(1, 1), (3, 200), (96, 96), (400, 2), (4000, 3000)])
@pytest.mark.parametrize(
    "edges",
    [(0.0, 0.0, 1.0, 1.0), (-0.02, -0.02, 1.03, 1.03), (0.999, 0.999, 1.0, 1.0)],
)
def test_boxes_at_and_over_the_border_keep_the_size(
    size_wh: tuple[int, int], edges: tuple[float, ...]
) -> None:
    box = detection(**dict(zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)))
    assert draw.draw_boxes(grey(*size_wh), [box]).size == size_wh


@pytest.mark.parametrize(
    "label",
    [None, "", " \n\t", "кот", "قط", "猫", "🐱", "a\x00b\u202ec", "\ud800", "e\u0301" * 300,
     "x" * 100_000, 17],
)  # fmt: skip
def test_any_label_can_be_drawn(label: Any) -> None:
    assert changed_bounds(draw.draw_boxes(grey(), [detection(label=label)]))


@pytest.mark.parametrize("score", [NAN, INF, -INF, -3.0, 1e30, 0.0, 1.0])
def test_any_score_can_be_drawn(score: float) -> None:
    assert changed_bounds(draw.draw_boxes(grey(), [detection(score=score), detection()]))


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        ("hot dog", "hot dog"),
        ("café", "cafe"),
        ("cafe\u0301", "cafe"),
        ("hot dog 🌭", "hot dog"),
        ("line\nbreak", "line break"),
        ("кот", ""),  # then #<class_id> is written
        ("Straße", ""),
    ],
)
def test_label_is_reduced_to_what_the_font_has(label: str, drawn: str) -> None:
    assert draw.drawable(label) == drawn


def test_label_the_font_lacks_is_drawn_as_its_class_id() -> None:
    unnamed = draw.draw_boxes(grey(), [detection(label=None)])
    cyrillic = draw.draw_boxes(grey(), [detection(label="кот")])
    assert cyrillic.tobytes() == unnamed.tobytes()
    assert cyrillic.tobytes() != draw.draw_boxes(grey(), [detection()]).tobytes()


def test_plate_of_a_long_label_stays_inside_the_picture() -> None:
    low = {"xmin": 0.9, "ymin": 0.9, "xmax": 0.95, "ymax": 0.95}
    drawn = draw.draw_boxes(grey(), [detection(label="long " * 40, **low)])
    bounds = changed_bounds(drawn)
    assert bounds is not None
    assert bounds[0] > 0  # shortened: it begins inside
    assert bounds[2] <= 400


def test_plates_of_equal_boxes_do_not_cover_each_other() -> None:
    one = draw.draw_boxes(grey(), [detection(class_id=0)])
    both = draw.draw_boxes(grey(), [detection(class_id=0), detection(class_id=1, score=0.5)])

    def painted(picture: Image.Image, class_id: int) -> int:
        color = draw.class_color_rgb(class_id)
        return sum(count for count, rgb in picture.getcolors(1 << 20) or [] if rgb == color)

    assert painted(both, 0) > 0.9 * painted(one, 0)  # its plate is more than a third of it
    assert painted(both, 1) > 500  # its plate: the box lies under the other one


def test_lines_and_text_grow_with_the_picture() -> None:
    small = draw.draw_boxes(grey(400, 300), [detection()])
    large = draw.draw_boxes(grey(4000, 3000), [detection()])
    color = draw.class_color_rgb(1)
    line_px = [
        sum(picture.getpixel((x, picture.height // 2)) == color for x in range(picture.width // 2))
        for picture in (small, large)
    ]
    assert line_px[1] >= 8 * line_px[0]


def test_other_modes_come_back_as_rgb() -> None:
    assert draw.draw_boxes(Image.new("L", (64, 64)), [detection()]).mode == "RGB"


def test_class_color_is_stable_and_distinct() -> None:
    colors = [draw.class_color_rgb(class_id) for class_id in range(90)]
    assert colors[:2] == [(254, 127, 120), (3, 152, 105)]
    assert len(set(colors)) == 90


@pytest.mark.parametrize("class_id", [-1, 2**31 - 1, -(2**31)])
def test_any_class_id_has_a_color(class_id: int) -> None:
    assert all(0 <= part <= 255 for part in draw.class_color_rgb(class_id))


def test_text_on_every_class_color_reaches_wcag_aa() -> None:
    def luminance(rgb: draw.Rgb) -> float:
        red, green, blue = (draw._from_srgb_byte(part) for part in rgb)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for class_id in range(90):
        color = draw.class_color_rgb(class_id)
        pair = sorted((luminance(color), luminance(draw.text_color_rgb(color))))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


def test_encode_jpeg_gives_a_picture_of_the_same_size() -> None:
    with Image.open(io.BytesIO(draw.encode_jpeg(grey(40, 30)))) as decoded:
        assert (decoded.format, decoded.size) == ("JPEG", (40, 30))


def test_encode_jpeg_converts_what_jpeg_cannot_hold() -> None:
    assert draw.encode_jpeg(Image.new("RGBA", (8, 8)))[:2] == b"\xff\xd8"


@pytest.mark.parametrize("quality", [0, 96, -1])
def test_encode_jpeg_names_a_quality_out_of_range(quality: int) -> None:
    with pytest.raises(ValueError, match=f"quality={quality}.*1 to 95"):
        draw.encode_jpeg(grey(8, 8), quality)


def test_module_imports_nothing_of_spark_or_of_the_package() -> None:
    code = (
        "import sys, pyspark_vision.executor.drawing.draw\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "('pyspark', 'tensorflow', 'pyarrow', 'pandas') or m.startswith('pyspark_vision.')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    package = "pyspark_vision.executor"
    expected = [package, f"{package}.drawing", f"{package}.drawing.draw"]
    assert result.stdout.strip() == str(expected)
