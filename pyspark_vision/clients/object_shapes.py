"""The shapes of objects in a result's message: masks, points, corners of a line of text.

What a message says is checked: what is no shape is ``None`` or left out, and never an error, for
the object's label and score are still good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeGuard

# Of a mask's size: the pictures that the live page takes have no more.
_MOST_PIXELS = 40_000_000
# Of a mask's text: noise over such a picture has 80 MB, a thing's outline some kilobytes.
_MOST_CHARACTERS = 1_000_000
# MediaPipe's face has 478.
_MOST_POINTS = 1_000
_CORNERS = 4


@dataclass(frozen=True)
class Mask:
    """Runs of pixels as COCO has them: ``(height, width)`` of the picture, and the text."""

    size_hw: tuple[int, int]
    counts: str = field(repr=False)


@dataclass(frozen=True)
class Keypoint:
    """A named point in parts of the picture; it may lie outside. ``score`` in [0, 1] or none."""

    name: str
    x: float
    y: float
    score: float | None


def read_mask(value: Any) -> Mask | None:
    """``{"size": [height, width], "counts": text}``.

    >>> read_mask({"size": [2, 3], "counts": "132"})
    Mask(size_hw=(2, 3))
    >>> read_mask({"size": [2, -3], "counts": "132"}) is None
    True
    """
    if not isinstance(value, dict):
        return None
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int for side in size):
        return None
    height, width = size
    if height < 1 or width < 1 or height * width > _MOST_PIXELS:
        return None
    if not isinstance(counts, str) or not counts.isascii() or len(counts) > _MOST_CHARACTERS:
        return None
    return Mask((height, width), counts)


def read_keypoints(value: Any) -> tuple[Keypoint, ...]:
    """A list of ``{"name", "x", "y", "score"}``; what is no point is left out.

    >>> read_keypoints([{"name": "nose", "x": 0.5, "y": 0.25}, {"x": "left"}])
    (Keypoint(name='nose', x=0.5, y=0.25, score=None),)
    """
    points = []
    for entry in value[:_MOST_POINTS] if isinstance(value, list) else ():
        if not isinstance(entry, dict):
            continue
        name, x, y, score = (entry.get(key) for key in ("name", "x", "y", "score"))
        if isinstance(name, str) and _is_finite(x) and _is_finite(y):
            points.append(Keypoint(name, x, y, score if _is_finite(score) else None))
    return tuple(points)


def read_corners(value: Any) -> tuple[tuple[float, float], ...]:
    """Four pairs ``[x, y]``; none for anything else.

    >>> read_corners([[0, 0], [1, 0], [1, 1]])
    ()
    """
    if not isinstance(value, list) or len(value) != _CORNERS:
        return ()
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return ()
    if not all(_is_finite(side) for pair in value for side in pair):
        return ()
    return tuple((x, y) for x, y in value)


def _is_finite(value: Any) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False
