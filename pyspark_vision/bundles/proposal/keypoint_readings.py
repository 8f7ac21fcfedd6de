"""How the outputs of models that find points can be read: MoveNet, MediaPipe, YOLO's poses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyspark_vision.bundles.keypoint_names import (
    COCO_POINTS,
    MEDIAPIPE_HAND_POINTS,
    MEDIAPIPE_POSE_POINTS,
)
from pyspark_vision.bundles.proposal.reading import Reading, shown
from pyspark_vision.bundles.proposal.table_readings import shortened, table_readings, tables_of
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.executor.outputs.raw_heads import TABLES

# TensorFlow Hub, "MoveNet": pixels of 0..255, resized with padding (`tf.image.resize_with_pad`).
_MOVENET = {
    "keypoint_names": COCO_POINTS,
    "keypoint_format": "yxs",
    "coordinates": "normalized",
    "box_format": "yxyx",
    "normalization": "none",
    "resize": "letterbox",
}
_SINGLE_POSE = (1, 1, len(COCO_POINTS), 3)
# Points of 17 * 3 numbers, a box and a score, of six persons.
_MULTI_POSE = (1, 6, 56)


@dataclass(frozen=True)
class _Landmarks:
    """A landmark model of MediaPipe: how many numbers its points are, and what they are."""

    numbers: tuple[int, ...]
    what: str
    format: str
    score_kind: str
    names: tuple[str, ...] = ()
    has_sides: bool = False


# mediapipe/modules: pose_landmark, hand_landmark and face_landmark `…_cpu.pbtxt`. Inputs in 0..1
# with the picture's proportions kept, points in pixels of the input; the presence of a face is a
# logit (`TensorsToFloatsCalculator` with SIGMOID).
_MEDIAPIPE = (
    _Landmarks((195,), "pose", "xyzvp", "probability", MEDIAPIPE_POSE_POINTS),
    _Landmarks((63,), "hand", "xyz", "probability", MEDIAPIPE_HAND_POINTS, has_sides=True),
    _Landmarks((1404, 1434), "face", "xyz", "sigmoid"),
)


def keypoint_readings(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    """The readings of a model's outputs as points, the more likely first.

    Arguments as of :func:`readings.readings`.
    """
    if contents.roles or contents.layer or contents.task not in (None, "keypoints"):
        return
    if contents.task == "keypoints":
        yield from _table(contents, input_hw, classes, dict(contents.fields))
        return
    yield from _movenet(contents)
    yield from _mediapipe(contents)
    yield from _table(
        contents, input_hw, 1, {"keypoint_names": COCO_POINTS, "keypoint_format": "xys"}
    )


def _movenet(contents: ModelFound) -> Iterator[Reading]:
    settled = ("normalization", "box_format", "coordinates", "keypoint_format")
    for output in contents.outputs if len(contents.outputs) == 1 else ():
        for shape, role in ((_SINGLE_POSE, "keypoints"), (_MULTI_POSE, "multipose")):
            if tuple(map(abs, output.shape)) == shape:
                why = f"{shown(output)}: 17 points as y, x and score, as MoveNet"
                fields = {**_MOVENET, **({"stride": 32} if role == "multipose" else {})}
                yield Reading("keypoints", ((role, output.name),), why, fields, True, settled)


def _mediapipe(contents: ModelFound) -> Iterator[Reading]:
    """Points beside the presence of the whole; of two outputs of one size the first by name."""
    outputs = sorted(contents.outputs, key=lambda tensor: (len(tensor.name), tensor.name))
    presences = [tensor for tensor in outputs if _numbers(tensor) == 1]
    for kind in _MEDIAPIPE:
        points = [tensor for tensor in outputs if _numbers(tensor) in kind.numbers]
        # World landmarks have the same size as those of the picture, in metres.
        for tensor in points if presences else ():
            fields = {
                "keypoint_names": kind.names,
                "keypoint_format": kind.format,
                "coordinates": "pixel",
                "score_kind": kind.score_kind,
                "normalization": "unit",
                "resize": "letterbox",
                "resize_filter": "opencv_bilinear",
            }
            roles = [("keypoints", tensor.name), ("presence", presences[0].name)]
            if kind.has_sides and len(presences) > 1:
                roles.append(("handedness", presences[1].name))
            yield Reading(
                "keypoints",
                tuple(roles),
                f"{shown(tensor)} beside {shown(presences[0])}: points of a {kind.what}, as "
                "MediaPipe",
                fields,
                is_certain=True,
                settled=("normalization", "coordinates", "keypoint_format"),
            )


def _table(
    contents: ModelFound,
    input_hw: tuple[int, int],
    classes: int | None,
    points: Mapping[str, Any],
) -> Iterator[Reading]:
    """YOLO's: a table of boxes with points at its rows' ends."""
    tables = tables_of(contents, input_hw)
    if len(tables) != 1 or "keypoint_names" not in points:
        return
    columns = len(points["keypoint_names"]) * len(points["keypoint_format"])
    is_known = contents.task == "keypoints"
    table = tables[0]
    for reduced in shortened(table, columns):
        for reading in table_readings(reduced, input_hw, classes, ultralytics=is_known):
            (role, _) = reading.roles[0]
            if role not in TABLES or (role == "yolov8") != (reduced.shape[2] == table.shape[2]):
                continue
            # By itself a table of one class with 17 points is as wide as one of 52 classes.
            fields = {**reading.fields, **(points if not is_known else {})}
            yield replace(
                reading,
                task="keypoints",
                roles=((role, table.name),),
                why=f"{shown(table)}: boxes with {len(points['keypoint_names'])} points each",
                fields=fields,
                is_certain=is_known,
            )


def _numbers(tensor: TensorFound) -> int:
    """How many numbers an output has for a picture."""
    return math.prod(tensor.shape[1:])
