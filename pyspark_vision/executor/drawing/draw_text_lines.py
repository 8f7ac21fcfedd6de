"""Draw lines of text on a picture: the four corners of each, and what was read there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from pyspark_vision.executor.drawing.draw import (
    BLACK,
    MIN_LINE_PX,
    Box,
    class_color_rgb,
    draw_plates,
    drawable,
    line_width_px,
)

Xy = tuple[float, float]

# A line of text has no class: all have this one's colour.
CLASS_ID = 0
_CORNERS = 4


def draw_text_lines(
    image: Image.Image, lines: Sequence[Mapping[str, Any]], *, named: bool = True
) -> Image.Image:
    """Return a copy of the picture with its lines of text drawn on it.

    In: an upright picture, and lines as the row contract has them: `text`, `score`, and four
    `corners` of `x` and `y` (parts of the upright picture). `named`: with the texts on plates,
    which lie beside the lines as far as there is room, so that both can be read. The font is that
    of :func:`draw_boxes`: a text with letters that it lacks is written as its number, `#3` for the
    third of the row. Out: a new RGB picture of the same size.

    Never raises for what a row holds: a line without four corners that can be read is left out.

    >>> places = ((0.25, 0.5), (0.75, 0.5), (0.75, 0.75), (0.25, 0.75))
    >>> corners = [{"x": x, "y": y} for x, y in places]
    >>> line = {"text": "Spark", "score": 0.97, "corners": corners}
    >>> draw_text_lines(Image.new("RGB", (64, 64)), [line], named=False).getpixel((32, 32))
    (254, 127, 120)
    """
    picture = image.convert("RGB")
    if not picture.width or not picture.height:
        return picture
    draw = ImageDraw.Draw(picture)
    line_px, color = line_width_px(picture.size), class_color_rgb(CLASS_ID)
    boxes = []
    for number, line in enumerate(lines, start=1):
        corners = corners_of(line)
        if corners is None:
            continue
        outline = [(x * picture.width, y * picture.height) for x, y in corners]
        outline += outline[:2]  # so that the first corner is joined, too
        if line_px > MIN_LINE_PX:  # where it is at its thinnest the dark would outweigh it
            draw.line(outline, fill=BLACK, width=line_px + 2, joint="curve")
        draw.line(outline, fill=color, width=line_px, joint="curve")
        boxes.append(_box(line, number, outline, picture.size))
    if named:
        # The first ones choose their places first.
        draw_plates(draw, boxes[::-1], picture.size, keeps_clear=True)
    return picture


def corners_of(line: Mapping[str, Any]) -> list[Xy] | None:
    """The corners of a line in parts of the picture; None where one of the four is no place.

    >>> corners_of({"corners": [{"x": 0.5, "y": 0.5}]}) is None
    True
    """
    try:
        corners = [(float(corner["x"]), float(corner["y"])) for corner in line["corners"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    is_whole = len(corners) == _CORNERS and all(map(math.isfinite, sum(corners, ())))
    is_near = is_whole and all(-1 <= x <= 2 and -1 <= y <= 2 for x, y in corners)
    return corners if is_near else None


def edges_of(corners: Sequence[Xy]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the corners.

    >>> edges_of([(0.25, 0.5), (0.75, 0.625), (0.75, 0.75), (0.25, 0.625)])
    (0.25, 0.5, 0.75, 0.75)
    """
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _box(
    line: Mapping[str, Any], number: int, outline: Sequence[Xy], size_wh: tuple[int, int]
) -> Box:
    left, top, right, bottom = edges_of(outline)
    width, height = size_wh
    xyxy = (
        min(max(0, int(left)), width - 1),
        min(max(0, int(top)), height - 1),
        min(max(0, math.ceil(right)), width - 1),
        min(max(0, math.ceil(bottom)), height - 1),
    )
    text = line.get("text")
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    name = drawable(text) if isinstance(text, str) else ""
    score = line.get("score")
    known = float(score) if isinstance(score, int | float) else None
    return Box(xyxy, CLASS_ID, name or f"#{number}", known)
