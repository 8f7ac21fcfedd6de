"""Every public StructType: what the functions take and return."""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    FloatType,
    IntegerType,
    StringType,
    StructField,
    StructType,
)


def _struct(**fields: DataType) -> StructType:
    return StructType([StructField(name, data_type) for name, data_type in fields.items()])


ERROR = _struct(code=StringType(), message=StringType())
"""Why a row has no result: a code of :class:`errors.ErrorCode` and a text for a person."""

WARNINGS = ArrayType(_struct(code=StringType(), message=StringType()))
"""What a row's result lacks: codes of :class:`errors.WarningCode`, texts for a person. Null where
nothing is to be said, never empty."""

IMAGE = _struct(
    width=IntegerType(), height=IntegerType(), data=BinaryType(), error=ERROR, warnings=WARNINGS
)
"""An upright picture: ``height * width * 3`` bytes, RGB, rows first; or an error. ``warnings``:
what it lacks."""

SPARK_IMAGE = _struct(
    origin=StringType(),
    height=IntegerType(),
    width=IntegerType(),
    nChannels=IntegerType(),
    mode=IntegerType(),
    data=BinaryType(),
)
"""A picture as ``spark.read.format("image")`` gives it: BGR, of OpenCV's modes."""

ENCODED = _struct(content=BinaryType(), error=ERROR)
"""A picture's bytes as a store or a message gave them, or why there are none."""

FETCHED = StructType([*ENCODED, StructField("attempts", IntegerType())])
"""What ``fetch_object`` returns: the object's bytes, or why there are none, and how often it was
asked for; more than 1 where a request failed."""

DETECTION = _struct(
    class_id=IntegerType(),
    label=StringType(),
    score=FloatType(),
    xmin=FloatType(),
    ymin=FloatType(),
    xmax=FloatType(),
    ymax=FloatType(),
)
"""One box, normalized to [0,1] of the upright picture; ``label`` null if the id has none."""

KEYPOINT = _struct(name=StringType(), x=FloatType(), y=FloatType(), score=FloatType())
"""One named point, normalized to the upright picture: 0 is its left or upper edge, 1 its right or
lower one. A point may lie outside, where a model says so. ``name`` is the model's, or the point's
number; ``score`` is null where the model gives none."""

POSE = StructType([*DETECTION, StructField("keypoints", ArrayType(KEYPOINT))])
"""One person, hand or other thing with its points, in the model's order; a box as of a detection,
null where the model gives none."""

MASK = _struct(size=ArrayType(IntegerType()), counts=StringType())
"""Pixels of the upright picture, run-length encoded as COCO does: ``size`` is its height and width,
``counts`` the compressed string of ``maskApi``. ``pycocotools.mask.decode(mask.asDict())`` gives
``(height, width)`` of 0 and 1."""

SEGMENT = StructType([*DETECTION, StructField("area", IntegerType()), StructField("mask", MASK)])
"""The pixels of one object, or of all of a class; ``area`` is how many. The box is normalized as
that of a detection, and holds all of them. ``score`` is null where the model gives none."""

PREDICTION = _struct(class_id=IntegerType(), label=StringType(), score=FloatType())
"""One class of a classifier."""

POINT = _struct(x=FloatType(), y=FloatType())
"""A place in a picture, normalized to [0,1] of the upright picture."""

TEXT_LINE = _struct(text=StringType(), score=FloatType(), corners=ArrayType(POINT))
"""One line of text: the mean score of its characters, and the four corners around it, clockwise
from the top left of the text as it is read (of a line that stands on its head: its lower right)."""


def _result(name: str, data_type: DataType) -> StructType:
    return StructType(
        [
            StructField(name, data_type),
            StructField("width", IntegerType()),
            StructField("height", IntegerType()),
            StructField("model", StringType()),
            StructField("model_sha256", StringType()),
            StructField("model_digest", StringType()),
            StructField("error", ERROR),
            StructField("warnings", WARNINGS),
        ]
    )


DETECTIONS = _result("detections", ArrayType(DETECTION))
"""What ``detect_objects`` returns; ``detections`` is empty for none, null with an error."""

DETECTIONS_WITH_KEYPOINTS = _result("detections", ArrayType(POSE))
"""What ``detect_objects`` returns with a model whose spec names keypoints, such as faces' eyes."""

PREDICTIONS = _result("predictions", ArrayType(PREDICTION))
"""What ``classify_image`` returns, best first."""

SEGMENTS = _result("segments", ArrayType(SEGMENT))
"""What ``segment_image`` returns, best first; ``segments`` is empty for none, null with an error.
"""

POSES = _result("poses", ArrayType(POSE))
"""What ``detect_keypoints`` returns, best first; ``poses`` is empty for none, null with an error.
"""

EMBEDDING = _result("embedding", ArrayType(FloatType()))
"""What ``embed_image`` returns."""

TEXT_LINES = _result("lines", ArrayType(TEXT_LINE))
"""What ``read_text`` returns; ``lines`` is empty for none, null with an error."""

TEXT_EMBEDDING = StructType([f for f in EMBEDDING if f.name not in ("width", "height")])
"""What ``embed_text`` returns: as ``embed_image``, but for the picture's size."""

TIMINGS = _struct(decode_ms=FloatType(), model_ms=FloatType(), attempts=IntegerType())
"""What each has at its end with ``timings=True``: decoding and resizing, and the image's
share of its engine batch, null where it did not come to that; ``attempts`` is 1, or more where the
object was asked for again or Spark ran the task again (the larger number of the two)."""
