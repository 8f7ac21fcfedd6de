"""Segments, poses and lines of text in result messages, and how clients read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.types import ArrayType, BinaryType, StringType, StructField, StructType

from pyspark_vision import schemas
from pyspark_vision.clients.object_shapes import Keypoint, Mask
from pyspark_vision.clients.pycturestream import BadMessageError, DetectedObject
from pyspark_vision.clients.receiver.lines import result_line
from pyspark_vision.clients.stream_messages import (
    FailedResultError,
    read_frame,
    read_result,
    readable_parts,
)
from pyspark_vision.messages import pycturestream
from pyspark_vision.sinks.console import line_of

NO_BOX = dict.fromkeys(("xmin", "ymin", "xmax", "ymax"))
BOX = {"xmin": 0.0, "ymin": 0.5, "xmax": 0.25, "ymax": 1.0}
SKY = {"class_id": 2, "label": "sky", "score": 0.875, **BOX}
MASK = {"size": [2, 3], "counts": "132"}
NOSE = {"name": "nose", "x": 0.75, "y": 0.25, "score": 0.5}
EAR = {"name": "left_ear", "x": 1.25, "y": 0.125, "score": None}
CORNERS = [{"x": x, "y": y} for x, y in ((0.5, 0.5), (1.0, 0.5), (1.0, 0.75), (0.5, 0.75))]

SHAPES: dict[str, tuple[str, StructType, list[dict[str, Any]], list[DetectedObject]]] = {
    "segments": (
        "segments",
        schemas.SEGMENT,
        [{**SKY, "area": 3, "mask": MASK}, {**SKY, "score": None, "area": 0, "mask": None}],
        [
            DetectedObject(
                "sky", 0.88, ("bottom", "left"), (0.0, 0.5, 0.25, 1.0), 2, Mask((2, 3), "132")
            ),
            DetectedObject("sky", None, ("bottom", "left"), (0.0, 0.5, 0.25, 1.0), 2),
        ],
    ),
    "poses": (
        "poses",
        schemas.POSE,
        [
            {**SKY, "label": None, "keypoints": [NOSE]},
            {**SKY, "label": "person", **NO_BOX, "keypoints": [NOSE, EAR]},
        ],
        [
            DetectedObject(
                "#2",
                0.88,
                ("bottom", "left"),
                (0.0, 0.5, 0.25, 1.0),
                2,
                keypoints=(Keypoint("nose", 0.75, 0.25, 0.5),),
            ),
            DetectedObject(
                "person",
                0.88,
                ("top", "right"),
                None,
                2,
                keypoints=(
                    Keypoint("nose", 0.75, 0.25, 0.5),
                    Keypoint("left_ear", 1.25, 0.125, None),
                ),
            ),
        ],
    ),
    "lines": (
        "lines",
        schemas.TEXT_LINE,
        [
            {"text": "Spark", "score": 0.9666, "corners": CORNERS},
            {"text": "", "score": 0.0, "corners": CORNERS},
        ],
        [
            DetectedObject(
                text,
                score,
                ("middle", "right"),
                (0.5, 0.5, 1.0, 0.75),
                corners=((0.5, 0.5), (1.0, 0.5), (1.0, 0.75), (0.5, 0.75)),
            )
            for text, score in (("Spark", 0.97), ("", 0.0))
        ],
    ),
    "detections with points": (
        "detections",
        schemas.POSE,
        [{**SKY, "keypoints": [NOSE]}, {**SKY, "score": 0.5, "keypoints": [NOSE]}],
        [
            DetectedObject(
                "sky",
                0.88,
                ("bottom", "left"),
                (0.0, 0.5, 0.25, 1.0),
                2,
                keypoints=(Keypoint("nose", 0.75, 0.25, 0.5),),
            ),
        ],
    ),
}


def flat(spark: SparkSession, value: str, item: StructType, rows: list[Any]) -> DataFrame:
    """A frame for each list of items; ``None`` is a failed one."""
    texts = ("origin", "camera_id", "timestamp_text", "model", "model_digest")
    schema = StructType([StructField(name, StringType()) for name in texts])
    schema = schema.add("image", BinaryType()).add("error", schemas.ERROR)
    schema = schema.add(value, ArrayType(item))
    frames = []
    for number, items in enumerate(rows):
        moment = f"2026-11-21T08:00:0{number}"
        error = ("truncated", "cut") if items is None else None
        place = ("f", "hall", moment, "demo", "ab" * 32, bytearray(b"\xff\xd8" * 60))
        frames.append((*place, error, items))
    return spark.createDataFrame(frames, schema)


@pytest.mark.parametrize("kind", SHAPES)
def test_all_that_a_row_has_is_in_its_message_and_read_by_the_clients(
    spark: SparkSession, kind: str
) -> None:
    value, item, items, objects = SHAPES[kind]
    results = flat(spark, value, item, [items, [], None])

    sent = pycturestream.result_messages(results, 0.5, 10_000).collect()

    read = [read_result(row.value.encode()) for row in sent]
    assert [list(result.objects) for result in read] == [objects, []]
    assert all(result.jpeg == b"\xff\xd8" * 60 for result in read)
    events = [row.event_type for row in pycturestream.events(results, 0.5).collect()]
    assert events == [*(one.label for one in objects if one.label), "Nothing detected"]


def test_a_message_that_is_too_long_is_without_its_picture_and_then_without_masks(
    spark: SparkSession,
) -> None:
    _, item, items, _ = SHAPES["segments"]
    results = flat(spark, "segments", item, [items[:1]])

    def sent(most_bytes: int) -> dict[str, Any]:
        [row] = pycturestream.result_messages(results, 0.5, most_bytes).collect()
        fields: dict[str, Any] = json.loads(row.value)
        return fields

    whole = sent(1000)
    assert "image" in whole
    length = len(json.dumps({k: v for k, v in whole.items() if k != "image"}).replace(" ", ""))
    without_picture, bare = sent(length), sent(length - 1)
    assert "image" not in without_picture
    assert without_picture["objects"] == whole["objects"]
    [found] = bare["objects"]
    assert {**found, "mask": MASK} == whole["objects"][0]


def test_detections_are_sent_as_before(spark: SparkSession) -> None:
    results = flat(spark, "detections", schemas.DETECTION, [[SKY]])

    [row] = pycturestream.result_messages(results, 0.5, 10_000).collect()

    [found] = json.loads(row.value)["objects"]
    assert list(found) == ["label", "score", "sector", "box", "class_id"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"segments": [Row(label="sky", class_id=2, score=None)]}, "sky"),
        ({"poses": [Row(label=None, class_id=2, score=0.875)]}, "#2 0.88"),
        ({"lines": [Row(text="Spark\x1b 42", score=0.97)]}, "Spark� 42 0.97"),
        ({"lines": [Row(text="", score=0.1)]}, "no text 0.10"),
        ({"lines": []}, "nothing detected"),
        ({"segments": None, "error": Row(code="truncated", message="cut")}, "! truncated: cut"),
    ],
)
def test_the_console_says_what_was_found(fields: dict[str, Any], line: str) -> None:
    said = line_of(Row(**{"origin": "kafka:t/0/1", "error": None, **fields}))

    assert said.split(maxsplit=1) == ["t/0/1", line]


def message(**item: Any) -> bytes:
    fields = {"camera_id": "a", "timestamp": "2026-11-21T08:00:00", "objects": [item]}
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "shape",
    [
        {"mask": None},
        {"mask": {"size": [2, 3]}},
        {"mask": {"size": [10**9, 10**9], "counts": "0"}},
        {"mask": {"size": [-2, -3], "counts": "0"}},
        {"mask": {"size": [2, True], "counts": "0"}},
        {"mask": {"size": [2, 3], "counts": "é"}},
        {"mask": {"size": [2, 3], "counts": "0" * 2_000_000}},
        {"keypoints": "nose"},
        {"keypoints": [None, {"name": 3, "x": 0, "y": 0}, {"name": "a", "x": "0", "y": 0}]},
        {"keypoints": [{"name": "a", "x": float("nan"), "y": 0}, {"name": "a", "x": 10**400}]},
        {"corners": [[0, 0], [1, 0], [1, 1]]},
        {"corners": [[0, 0], [1, 0], [1, 1], [0, None]]},
        {"corners": [[0, 0], [1, 0], [1, 1], {"x": 0}]},
    ],
)
def test_what_is_no_shape_leaves_the_object_without_one(shape: dict[str, Any]) -> None:
    [found] = read_result(message(label="a", score=0.5, **shape)).objects

    assert found == DetectedObject("a", 0.5, None)
    assert not found.has_place


def classified(**fields: Any) -> bytes:
    whole = {
        "image_id": "i-1",
        "timestamp": "2026-11-21T08:00:00+00:00",
        "metadata": {"camera_id": "hall", "source": "camera"},
        "prediction_id": "p",
        "label": "car",
        "confidence": 0.91,
        "model_name": "demo",
        "error_message": None,
        **fields,
    }
    return json.dumps(whole).encode()


BEST = [{"class_id": 1, "label": "car", "score": 0.91}, {"class_id": 7, "score": 0.05}]


@pytest.mark.parametrize(
    ("fields", "camera_id", "classes"),
    [
        ({}, "hall", [("car", 0.91)]),
        ({"metadata": {"source": "simulator"}}, "simulator", [("car", 0.91)]),
        ({"metadata": None}, "images", [("car", 0.91)]),
        ({"predictions": BEST}, "hall", [("car", 0.91), ("#7", 0.05)]),
        ({"label": None, "confidence": None}, "hall", []),
    ],
)
def test_a_classification_is_a_result_of_classes(
    fields: dict[str, Any], camera_id: str, classes: list[tuple[str, float]]
) -> None:
    result = read_result(classified(**fields))

    assert (result.camera_id, result.timestamp) == (camera_id, "2026-11-21T08:00:00+00:00")
    assert [(one.label, one.score) for one in result.objects] == classes
    assert not any(one.has_place for one in result.objects)
    assert (result.model_name, result.jpeg) == ("demo", None)


def test_a_failed_classification_says_why() -> None:
    with pytest.raises(FailedResultError) as failed:
        read_result(classified(label=None, error_message="truncated: cut: off"))

    assert (failed.value.code, failed.value.message) == ("truncated", "cut: off")
    assert (failed.value.camera_id, failed.value.timestamp[:4]) == ("hall", "2026")


@pytest.mark.parametrize(
    "fields", [{"timestamp": None, "image_id": None}, {"confidence": "high"}, {"label": 3}]
)
def test_a_bad_classification_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessageError):
        read_result(classified(**fields))


def test_an_image_to_classify_is_a_frame_of_its_camera() -> None:
    image = {"image_id": "i-1", "image_data": "/9g=", "metadata": {"camera_id": "hall"}}

    assert read_frame(json.dumps(image).encode()) == ("hall", "i-1", b"\xff\xd8")
    bad = json.dumps({**image, "image_data": "%"}).encode()
    assert readable_parts(bad) == ("hall", "i-1", None)
    with pytest.raises(BadMessageError, match="image_data is not base64"):
        read_frame(bad)
    with pytest.raises(BadMessageError, match="image_data is missing"):
        read_frame(json.dumps({**image, "image_data": None}).encode())


def test_receive_prints_what_has_no_score_and_no_place() -> None:
    import datetime as dt

    moment = dt.datetime(2026, 11, 21, 8)
    sky = message(label="sky", class_id=2, mask=MASK, sector=["top", "left"])
    said = [result_line(read_result(value), moment) for value in (sky, classified())]

    assert said == [
        "2026-11-21 08:00:00.000 a: sky (top left)",
        "2026-11-21 08:00:00.000 hall: car 0.91",
    ]
