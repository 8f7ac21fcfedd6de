"""Rows become Arrow arrays of the public schemas; null, empty and failed rows keep their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import DataType

from pyspark_vision import schemas
from pyspark_vision.executor import results
from pyspark_vision.executor.outputs.heads import Detections, Predictions, TextLines
from pyspark_vision.executor.outputs.poses import Poses
from pyspark_vision.executor.outputs.segments import Segments
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError, RowWarning, WarningCode

LABELS = {1: "cat", 2: "dog"}
FAILED = Row(error=RowError(ErrorCode.TRUNCATED, "JPEG: cut short"))


def predictions(*found: tuple[int, float]) -> Predictions:
    class_ids, scores = zip(*found, strict=True) if found else ((), ())
    return Predictions(np.array(class_ids, np.int32), np.array(scores, np.float32))


def detections(*found: tuple[int, float, tuple[float, ...]]) -> Detections:
    class_ids, scores, boxes = zip(*found, strict=True) if found else ((), (), ())
    return Detections(
        np.array(class_ids, np.int32),
        np.array(scores, np.float32),
        np.array(boxes, np.float32).reshape(-1, 4),
    )


def vector(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def same_type(found: pa.DataType, spark: pa.DataType) -> bool:
    """Equal but for nullability and the name that a list gives its item."""
    if pa.types.is_struct(found) and pa.types.is_struct(spark):
        return [f.name for f in found] == [f.name for f in spark] and all(
            same_type(mine.type, theirs.type) for mine, theirs in zip(found, spark, strict=True)
        )
    if pa.types.is_list(found) and pa.types.is_list(spark):
        return same_type(found.value_type, spark.value_type)
    return bool(found == spark)


def whole(name: str, values: pa.Array, rows: list[Row]) -> pa.StructArray:
    return results.result_array(name, values, rows, "pets", "ab12", "cd34")


@pytest.mark.parametrize(
    ("found", "schema"),
    [
        (results.ERROR_TYPE, schemas.ERROR),
        (results.WARNINGS_TYPE, schemas.WARNINGS),
        (results.DETECTION_TYPE, schemas.DETECTION),
        (results.PREDICTION_TYPE, schemas.PREDICTION),
        (results.SEGMENT_TYPE, schemas.SEGMENT),
        (results.POSE_TYPE, schemas.POSE),
        (results.IMAGE_TYPE, schemas.IMAGE),
        (results.ENCODED_TYPE, schemas.ENCODED),
        (results.FETCHED_TYPE, schemas.FETCHED),
        (whole("detections", results.detections_array([], {}), []).type, schemas.DETECTIONS),
        (
            whole("detections", results.detections_array([], {}, ["eye"]), []).type,
            schemas.DETECTIONS_WITH_KEYPOINTS,
        ),
        (whole("predictions", results.predictions_array([], {}), []).type, schemas.PREDICTIONS),
        (whole("segments", results.segments_array([], {}), []).type, schemas.SEGMENTS),
        (whole("poses", results.poses_array([], {}, ()), []).type, schemas.POSES),
        (whole("embedding", results.embeddings_array([]), []).type, schemas.EMBEDDING),
        (whole("lines", results.lines_array([]), []).type, schemas.TEXT_LINES),
        (results.text_result_array([], "pets", "ab12", "cd34").type, schemas.TEXT_EMBEDDING),
    ],
    ids=[
        *("error", "warnings", "detection", "prediction", "segment", "pose"),
        *("image", "encoded", "fetched"),
        *("detections", "faces", "predictions", "segments", "poses", "embedding", "lines"),
        "text_embedding",
    ],
)
def test_arrow_types_are_those_of_the_schemas(found: pa.DataType, schema: DataType) -> None:
    assert same_type(found, to_arrow_type(schema)), f"{found} is not {to_arrow_type(schema)}"


def test_segments_keep_their_masks_and_rows_without_any_their_place() -> None:
    found = Segments(
        np.array([2], np.int32),
        np.array([np.nan], np.float32),
        np.array([[0, 0, 0.5, 1]], np.float32),
        np.array([3], np.int32),
        ("132",),
        (2, 3),
    )
    empty = np.empty(0)
    none = Segments(empty, empty, np.empty((0, 4)), empty, (), (2, 3))

    rows = results.segments_array([Row(found), FAILED, Row(none)], LABELS).to_pylist()

    assert rows == [
        [
            {
                "class_id": 2,
                "label": "dog",
                "score": None,
                "xmin": 0.0,
                "ymin": 0.0,
                "xmax": 0.5,
                "ymax": 1.0,
                "area": 3,
                "mask": {"size": [2, 3], "counts": "132"},
            }
        ],
        None,
        [],
    ]


def test_points_have_names_or_numbers_and_no_score_where_there_is_none() -> None:
    found = Poses(
        np.array([1], np.int32),
        np.array([0.5], np.float32),
        np.full((1, 4), np.nan, np.float32),
        np.array([[[0.25, 0.5, 0.75], [0.5, 1, np.nan]]], np.float32),
    )
    none = Poses(np.empty(0), np.empty(0), np.empty((0, 4)), np.empty((0, 2, 3)))

    numbered = results.poses_array([Row(none), FAILED, Row(found)], LABELS, ()).to_pylist()
    named = results.poses_array([Row(found)], {}, ("nose", "tail")).to_pylist()

    assert numbered == [
        [],
        None,
        [
            {
                "class_id": 1,
                "label": "cat",
                "score": 0.5,
                "xmin": None,
                "ymin": None,
                "xmax": None,
                "ymax": None,
                "keypoints": [
                    {"name": "0", "x": 0.25, "y": 0.5, "score": 0.75},
                    {"name": "1", "x": 0.5, "y": 1.0, "score": None},
                ],
            }
        ],
    ]
    assert [point["name"] for point in named[0][0]["keypoints"]] == ["nose", "tail"]


def test_a_difference_of_types_is_seen() -> None:
    assert not same_type(results.PREDICTION_TYPE, to_arrow_type(schemas.DETECTION))


def test_predictions_of_each_row_stand_on_it() -> None:
    rows = [Row(predictions((2, 0.75), (1, 0.25))), FAILED, Row(predictions((1, 0.5)))]
    array = results.predictions_array(rows, LABELS)
    assert array.to_pylist() == [
        [
            {"class_id": 2, "label": "dog", "score": 0.75},
            {"class_id": 1, "label": "cat", "score": 0.25},
        ],
        None,
        [{"class_id": 1, "label": "cat", "score": 0.5}],
    ]


def test_detections_of_each_row_stand_on_it() -> None:
    rows = [FAILED, Row(detections((1, 0.5, (0.0, 0.25, 0.5, 1.0)))), FAILED]
    array = results.detections_array(rows, LABELS)
    box = {"xmin": 0.0, "ymin": 0.25, "xmax": 0.5, "ymax": 1.0}
    assert array.to_pylist() == [None, [{"class_id": 1, "label": "cat", "score": 0.5, **box}], None]


def test_embeddings_of_each_row_stand_on_it() -> None:
    rows = [Row(vector(1.0, 2.0)), FAILED, Row(vector(3.0, 4.0))]
    assert results.embeddings_array(rows).to_pylist() == [[1.0, 2.0], None, [3.0, 4.0]]


def test_lines_of_each_row_stand_on_it() -> None:
    corners = np.array([[[0, 0], [0.5, 0], [0.5, 0.25], [0, 0.25]]], np.float32)
    rows = [
        FAILED,
        Row(TextLines(("café 字",), np.array([0.75], np.float32), corners)),
        Row(TextLines((), np.empty(0, np.float32), np.empty((0, 4, 2), np.float32))),
    ]
    points = [{"x": x, "y": y} for x, y in ((0, 0), (0.5, 0), (0.5, 0.25), (0, 0.25))]
    assert results.lines_array(rows).to_pylist() == [
        None,
        [{"text": "café 字", "score": 0.75, "corners": points}],
        [],
    ]


def test_a_class_without_label_has_null() -> None:
    array = results.predictions_array([Row(predictions((9, 0.5)))], LABELS)
    assert array.to_pylist() == [[{"class_id": 9, "label": None, "score": 0.5}]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (results.detections_array([Row(detections()), FAILED], LABELS), [[], None]),
        (results.predictions_array([Row(predictions()), FAILED], LABELS), [[], None]),
        (results.detections_array([FAILED, Row(detections())], LABELS), [None, []]),
        (results.detections_array([FAILED, FAILED], LABELS), [None, None]),
        (results.predictions_array([FAILED, FAILED], LABELS), [None, None]),
        (results.embeddings_array([FAILED, FAILED]), [None, None]),
        (results.detections_array([], LABELS), []),
        (results.predictions_array([], LABELS), []),
        (results.embeddings_array([]), []),
    ],
)
def test_nothing_found_is_an_empty_list_and_failed_is_null(
    array: pa.Array, expected: list[Any]
) -> None:
    array.validate(full=True)
    assert array.to_pylist() == expected


def test_the_type_does_not_depend_on_what_was_found() -> None:
    some = results.detections_array([Row(detections((1, 0.5, (0, 0, 1, 1))))], LABELS)
    assert results.detections_array([FAILED], LABELS).type == some.type
    assert results.detections_array([], LABELS).type == some.type


def test_errors_are_null_or_code_and_message() -> None:
    assert results.error_array([Row(), FAILED]).to_pylist() == [
        None,
        {"code": "truncated", "message": "JPEG: cut short"},
    ]


def test_the_result_carries_size_model_and_error() -> None:
    rows = [Row(vector(1.0), 640, 480), FAILED]
    array = whole("embedding", results.embeddings_array(rows), rows)
    array.validate(full=True)
    model = {"model": "pets", "model_sha256": "ab12", "model_digest": "cd34"}
    assert array.to_pylist() == [
        {
            "embedding": [1.0],
            "width": 640,
            "height": 480,
            **model,
            "error": None,
            "warnings": None,
        },
        {
            "embedding": None,
            "width": None,
            "height": None,
            **model,
            "error": {"code": "truncated", "message": "JPEG: cut short"},
            "warnings": None,
        },
    ]


def test_warnings_are_null_or_codes_and_messages() -> None:
    two = (
        RowWarning(WarningCode.BOXES_CAPPED, "many"),
        RowWarning(WarningCode.BOXES_WITHOUT_AREA, "one"),
    )
    array = results.warnings_array([Row(), Row(warnings=two), FAILED])
    assert array.to_pylist() == [
        None,
        [
            {"code": "boxes_capped", "message": "many"},
            {"code": "boxes_without_area", "message": "one"},
        ],
        None,
    ]


def test_a_failure_of_the_model_keeps_the_size() -> None:
    rows = [Row(width=640, height=480, error=RowError(ErrorCode.MODEL_FAILED, "no"))]
    (row,) = whole("embedding", results.embeddings_array(rows), rows).to_pylist()
    assert (row["width"], row["height"], row["error"]["code"]) == (640, 480, "model_failed")


def test_no_row_gives_an_empty_result() -> None:
    assert whole("embedding", results.embeddings_array([]), []).to_pylist() == []
