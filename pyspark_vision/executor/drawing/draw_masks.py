"""Draw segments on a picture: each mask in its class' colour, its edge, and its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pyspark_vision.executor.drawing.draw import (
    boxes_of,
    by_rank,
    class_color_rgb,
    draw_plates,
    line_width_px,
)
from pyspark_vision.executor.outputs.masks import decoded

Array = np.ndarray[Any, Any]

# Half of the picture is still seen below, and neighbours differ in colour.
FILL_PARTS = 2


def draw_masks(
    image: Image.Image, segments: Sequence[Mapping[str, Any]], *, named: bool = True
) -> Image.Image:
    """Return a copy of the picture with its segments drawn on it, the best on top.

    In: an upright picture, and segments as the row contract has them (`class_id`, `label`,
    `score`, box, `mask` of `size` and `counts`). A mask of another size is scaled to the picture's,
    so that a thumbnail can be drawn on. `named`: with the names on plates. Out: a new RGB picture
    of the same size.

    Never raises for what a row holds: a segment without a mask that can be read is left out.

    >>> mask = {"size": [2, 3], "counts": "132"}
    >>> draw_masks(Image.new("RGB", (6, 4)), [{"class_id": 0, "mask": mask}]).getpixel((3, 1))
    (127, 63, 60)
    """
    picture = image.convert("RGB")
    width, height = picture.size
    if not width or not height:
        return picture
    pixels = np.array(picture)
    drawn = []
    for segment in by_rank(segments):
        inside = _mask(segment, (height, width))
        if inside is None:
            continue
        drawn.append(segment)
        color = np.array(class_color_rgb(int(segment["class_id"])), np.uint8)
        edge = inside & ~_shrunk(inside, line_width_px(picture.size))
        pixels[inside] = pixels[inside] // FILL_PARTS + color // FILL_PARTS
        pixels[edge] = color
    picture = Image.fromarray(pixels)
    if named:
        draw_plates(ImageDraw.Draw(picture), boxes_of(drawn, picture.size), picture.size)
    return picture


def _mask(segment: Mapping[str, Any], hw: tuple[int, int]) -> Array | None:
    try:
        int(segment["class_id"])
        mask = segment["mask"]
        height, width = (int(side) for side in mask["size"])
        counts = mask["counts"]
        inside = decoded((height, width), counts.decode() if isinstance(counts, bytes) else counts)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError):
        return None
    if (height, width) == hw:
        return inside
    rows = (np.arange(hw[0]) + 0.5) * height / hw[0]
    columns = (np.arange(hw[1]) + 0.5) * width / hw[1]
    return inside[np.ix_(rows.astype(np.int64), columns.astype(np.int64))]


def _shrunk(inside: Array, by_px: int) -> Array:
    """The pixels whose neighbours, up to ``by_px`` away along each axis, are inside, too."""
    shrunk = inside.copy()
    for step in range(1, by_px + 1):
        shrunk[step:] &= inside[:-step]
        shrunk[:-step] &= inside[step:]
        shrunk[:, step:] &= inside[:, :-step]
        shrunk[:, :-step] &= inside[:, step:]
    return shrunk
