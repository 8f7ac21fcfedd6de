"""Draw poses on a picture: points, the lines between them, and the boxes that have one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from pyspark_vision.executor.drawing.draw import (
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
# More points are a face's mesh: dots must not become a blot.
MOST_LARGE_POINTS = 50

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
        for first, other in _SIDES:
            yield f"{side}_{first}", f"{side}_{other}"
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
    width, height = size_wh
    drawable, lines = points_and_lines(keypoints)
    points = [(x * width, y * height) for x, y in drawable]
    for first, other in lines:
        draw.line((points[first], points[other]), fill=BLACK, width=line_px + 3)
        draw.line((points[first], points[other]), fill=color, width=line_px + 1)
    radius = line_px * (1.5 if len(keypoints) <= MOST_LARGE_POINTS else 0.5)
    for x, y in points:
        draw.ellipse((x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1), WHITE)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)


def points_and_lines(
    keypoints: Sequence[Mapping[str, Any]],
) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    """The points that are drawn, in parts of the picture, and which of them a line joins.

    >>> eyes = [{"name": "left_eye", "x": 0.6, "y": 0.5}, {"name": "right_eye", "x": 2, "y": 0.5}]
    >>> points_and_lines([{"name": "nose", "x": 0.5, "y": 0.5, "score": 0.9}, *eyes])
    ([(0.5, 0.5), (0.6, 0.5)], [(0, 1)])
    """
    points: list[tuple[float, float]] = []
    by_name: dict[str, int] = {}
    for keypoint in keypoints:
        point = _point(keypoint)
        if point is not None:
            by_name[point[0]] = len(points)
            points.append(point[1])
    joined = [(by_name[a], by_name[b]) for a, b in LINES if a in by_name and b in by_name]
    return points, joined


def _point(keypoint: Mapping[str, Any]) -> tuple[str, tuple[float, float]] | None:
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
    return name, (x, y)
