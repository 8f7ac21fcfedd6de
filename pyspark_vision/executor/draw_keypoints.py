"""Draw poses on a picture: points, the lines between them, and the boxes that have one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from pyspark_vision.executor.draw import (
    BLACK,
    WHITE,
    Rgb,
    boxes_of,
    by_rank,
    class_color_rgb,
    draw_outline,
    draw_plates,
    line_width_px,
)

# Below it a point is more likely elsewhere: Ultralytics' `Annotator.kpts` leaves it out, too.
LEAST_SCORE = 0.25

# What lies next to what, by the names of COCO's and MediaPipe's points.
_SIDES = (
    ("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip"), ("hip", "knee"),
    ("knee", "ankle"), ("ankle", "heel"), ("heel", "foot_index"), ("ankle", "foot_index"),
    ("wrist", "thumb"), ("wrist", "index"), ("wrist", "pinky"), ("eye", "ear"),
)  # fmt: skip
_FINGERS = {
    "thumb": ("cmc", "mcp", "ip", "tip"),
    "index_finger": ("mcp", "pip", "dip", "tip"),
    "middle_finger": ("mcp", "pip", "dip", "tip"),
    "ring_finger": ("mcp", "pip", "dip", "tip"),
    "pinky": ("mcp", "pip", "dip", "tip"),
}


def _lines() -> Iterator[tuple[str, str]]:
    for side in ("left", "right"):
        yield "nose", f"{side}_eye"
        for one, other in _SIDES:
            yield f"{side}_{one}", f"{side}_{other}"
    for joint in ("shoulder", "hip"):
        yield f"left_{joint}", f"right_{joint}"
    yield "mouth_left", "mouth_right"
    for finger, joints in _FINGERS.items():
        names = ["wrist", *(f"{finger}_{joint}" for joint in joints)]
        yield from itertools.pairwise(names)
    bases = [f"{finger}_mcp" for finger in _FINGERS]
    yield from itertools.pairwise(bases[1:])


LINES = tuple(_lines())
"""Names of points between which a line is drawn, where a pose has both."""


def draw_keypoints(
    image: Image.Image, poses: Sequence[Mapping[str, Any]], *, named: bool = True
) -> Image.Image:
    """Return a copy of the picture with its poses drawn on it, the best on top.

    In: an upright picture, and poses as the row contract has them: `class_id`, `label`, `score`,
    box, `keypoints` of `name`, `x`, `y` (parts of the upright picture) and `score`. Points with a
    score below 0.25 are left out, and those that lie outside. `named`: with boxes and their names,
    where a pose has a box. Out: a new RGB picture of the same size.

    Never raises for what a row holds: a pose or point that cannot be read is left out.

    >>> nose = {"name": "nose", "x": 0.5, "y": 0.5, "score": 0.9}
    >>> pose = {"class_id": 0, "keypoints": [nose]}
    >>> draw_keypoints(Image.new("RGB", (64, 64)), [pose]).getpixel((32, 32))
    (254, 127, 120)
    """
    picture = image.convert("RGB")
    if not picture.width or not picture.height:
        return picture
    draw = ImageDraw.Draw(picture)
    line_px = line_width_px(picture.size)
    boxes = boxes_of(poses, picture.size) if named else []
    for box in boxes:
        draw_outline(draw, box, line_px)
    for pose in by_rank(poses):
        _draw_pose(draw, pose, picture.size, line_px)
    draw_plates(draw, boxes, picture.size)
    return picture


def _draw_pose(
    draw: ImageDraw.ImageDraw, pose: Mapping[str, Any], size_wh: tuple[int, int], line_px: int
) -> None:
    try:
        color: Rgb = class_color_rgb(int(pose["class_id"]))
        keypoints = list(pose["keypoints"] or ())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return
    points = [_point(keypoint, size_wh) for keypoint in keypoints]
    named = {name: xy for point in points if point is not None for name, xy in [point]}
    for one, other in LINES:
        if one in named and other in named:
            ends = (named[one], named[other])
            draw.line(ends, fill=BLACK, width=line_px + 3)
            draw.line(ends, fill=color, width=line_px + 1)
    # Many points are a face's mesh: dots must not become a blot.
    radius = line_px * (1.5 if len(points) <= 50 else 0.5)
    for point in points:
        if point is not None:
            x, y = point[1]
            draw.ellipse((x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1), WHITE)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)


def _point(
    keypoint: Mapping[str, Any], size_wh: tuple[int, int]
) -> tuple[str, tuple[float, float]] | None:
    try:
        name, x, y = keypoint["name"], float(keypoint["x"]), float(keypoint["y"])
        name = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        score = keypoint.get("score")
        if score is not None and not float(score) >= LEAST_SCORE:
            return None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    if not (math.isfinite(x) and math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1):
        return None
    width, height = size_wh
    return name, (x * width, y * height)
