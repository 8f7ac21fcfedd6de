"""What a job found in a frame as the ``objects`` of PyctureStream's result.

Each is ``{"label", "score", "sector": [v, h], "box": [xmin, ymin, xmax, ymax], "class_id"}``. A
segment has ``area`` and ``mask`` besides, a pose and a detection with points ``keypoints``, a line
of text, whose label is what it says, ``corners``. What there is none of is left out: a score, the
box of a pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DETECTIONS, SEGMENTS, POSES, LINES = "detections", "segments", "poses", "lines"
VALUES = (DETECTIONS, SEGMENTS, POSES, LINES)
"""The column of flat results that is read: the first of these."""

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# Of an object's fields, those that may be of any length.
_SHAPES = ("mask", "keypoints", "corners")
_VERTICAL = ("top", "middle", "bottom")
_HORIZONTAL = ("left", "center", "right")


def objects(results: DataFrame, score_threshold: float, *, shapes: bool = True) -> Column:
    """The array of objects of each row.

    ``shapes``: with masks, points and corners, which make a message long.
    """
    value = _value(results)
    names = _item_fields(results, value)
    return F.transform(
        _shown(value, score_threshold), lambda item: _object(item, value, names, shapes)
    )


def labels(results: DataFrame, score_threshold: float) -> Column:
    """The labels of the same objects; not of a line in which nothing was read."""
    value = _value(results)
    texts = F.transform(_shown(value, score_threshold), lambda item: _label(item, value))
    return F.filter(texts, lambda label: label != "") if value == LINES else texts


def has_shapes(results: DataFrame) -> bool:
    """Whether objects have masks, points or corners."""
    return any(name in _SHAPES for name in _item_fields(results, _value(results)))


def _value(results: DataFrame) -> str:
    return next(name for name in VALUES if name in results.columns)


def _item_fields(results: DataFrame, value: str) -> Sequence[str]:
    kind: Any = results.schema[value].dataType
    names: list[str] = kind.elementType.names
    return names


def _shown(value: str, score_threshold: float) -> Column:
    """Of detections those above the threshold once rounded, as PyctureStream has them; of all else
    what the row has."""
    if value != DETECTIONS:
        return F.col(value)
    return F.filter(value, lambda item: _score(item) > score_threshold)


def _score(item: Column) -> Column:
    return F.round(item["score"].cast("double"), 2)


def _label(item: Column, value: str) -> Column:
    if value == LINES:
        return item["text"]
    return F.coalesce(item["label"], F.concat(F.lit("#"), item["class_id"].cast("string")))


def _object(item: Column, value: str, names: Sequence[str], shapes: bool) -> Column:
    xmin, ymin, xmax, ymax = sides = _sides(item, value)
    box = F.array(*sides)
    if value == POSES:
        # Without a box it is where its points are.
        box = F.when(item["xmin"].isNotNull(), box)
        xmin, xmax = (_coalesced(own, item, "x", end) for own, end in ((xmin, 0), (xmax, 1)))
        ymin, ymax = (_coalesced(own, item, "y", end) for own, end in ((ymin, 0), (ymax, 1)))
    fields = [
        _label(item, value).alias("label"),
        _score(item).alias("score"),
        F.array(_third(ymin, ymax, _VERTICAL), _third(xmin, xmax, _HORIZONTAL)).alias("sector"),
        box.alias("box"),
    ]
    if value != LINES:
        fields.append(item["class_id"].alias("class_id"))
    if "area" in names:
        fields.append(item["area"].alias("area"))
    for name in _SHAPES if shapes else ():
        if name in names:
            shape = _corners(item) if name == "corners" else item[name]
            fields.append(shape.alias(name))
    return F.struct(*fields)


def _sides(item: Column, value: str) -> list[Column]:
    if value != LINES:
        return [item[side] for side in _SIDES]
    xs = F.transform(item["corners"], lambda corner: corner["x"])
    ys = F.transform(item["corners"], lambda corner: corner["y"])
    return [F.array_min(xs), F.array_min(ys), F.array_max(xs), F.array_max(ys)]


def _coalesced(side: Column, pose: Column, axis: str, end: int) -> Column:
    places = F.transform(pose["keypoints"], lambda point: point[axis])
    return F.coalesce(side, F.array_max(places) if end else F.array_min(places))


def _corners(line: Column) -> Column:
    return F.transform(line["corners"], lambda corner: F.array(corner["x"], corner["y"]))


def _third(low: Column, high: Column, names: Sequence[str]) -> Column:
    """Where the middle of the box lies: the name of that third of the picture."""
    third = F.least(F.floor((low + high) / 2 * 3), F.lit(2))
    return F.when(third <= 0, names[0]).when(third == 1, names[1]).otherwise(names[2])
