"""Arrow types of what the UDFs return, and how rows become arrays.

The types repeat ``pyspark_vision.schemas`` in Arrow's terms; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pyspark_vision.executor.arrow_arrays import lists, numbers, strings, structs
from pyspark_vision.executor.outputs.heads import Detections, Predictions, TextLines
from pyspark_vision.executor.outputs.poses import Poses
from pyspark_vision.executor.outputs.segments import Segments
from pyspark_vision.executor.row_errors import RowError, RowWarning

ERROR_TYPE = pa.struct([("code", pa.string()), ("message", pa.string())])
WARNINGS_TYPE = pa.list_(pa.struct([("code", pa.string()), ("message", pa.string())]))
DETECTION_TYPE = pa.struct(
    [
        ("class_id", pa.int32()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("xmin", pa.float32()),
        ("ymin", pa.float32()),
        ("xmax", pa.float32()),
        ("ymax", pa.float32()),
    ]
)
KEYPOINT_TYPE = pa.struct(
    [("name", pa.string()), ("x", pa.float32()), ("y", pa.float32()), ("score", pa.float32())]
)
POSE_TYPE = pa.struct([*DETECTION_TYPE, ("keypoints", pa.list_(KEYPOINT_TYPE))])
MASK_TYPE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
SEGMENT_TYPE = pa.struct([*DETECTION_TYPE, ("area", pa.int32()), ("mask", MASK_TYPE)])
POSES_TYPE = pa.list_(POSE_TYPE)
SEGMENTS_TYPE = pa.list_(SEGMENT_TYPE)
PREDICTION_TYPE = pa.struct(
    [("class_id", pa.int32()), ("label", pa.string()), ("score", pa.float32())]
)
POINT_TYPE = pa.struct([("x", pa.float32()), ("y", pa.float32())])
TEXT_LINE_TYPE = pa.struct(
    [("text", pa.string()), ("score", pa.float32()), ("corners", pa.list_(POINT_TYPE))]
)
IMAGE_TYPE = pa.struct(
    [
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("data", pa.binary()),
        ("error", ERROR_TYPE),
        ("warnings", WARNINGS_TYPE),
    ]
)

# Of Spark's own image source: what a UDF gets, too.
SPARK_IMAGE_TYPE = pa.struct(
    [
        ("origin", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("nChannels", pa.int32()),
        ("mode", pa.int32()),
        ("data", pa.binary()),
    ]
)

ENCODED_TYPE = pa.struct([("content", pa.binary()), ("error", ERROR_TYPE)])
# Not what a UDF returns, but what fetch_object's gets.
REFERENCE_TYPE = pa.struct([("uri", pa.string()), ("generation", pa.string())])
FETCHED_TYPE = pa.struct([*ENCODED_TYPE, ("attempts", pa.int32())])


def source_type(names: Iterable[str]) -> pa.StructType:
    """The type of what an image function reads, of a struct with these fields.

    Without fields where it is none of them.
    """
    names = set(names)
    known = (
        (SPARK_IMAGE_TYPE, "nChannels"),
        (IMAGE_TYPE, "data"),
        (FETCHED_TYPE, "content"),
        (REFERENCE_TYPE, "uri"),
    )
    for type_, field_of_its_own in known:
        if field_of_its_own in names:
            return pa.struct([field for field in type_ if field.name in names])
    return pa.struct([])


Labels = dict[int, str]


@dataclass(frozen=True)
class Row:
    """One image's outcome: a value, or an error; the size and what it cost as far as known.

    ``decode_ms``: decoding and resizing; ``model_ms``: the image's share of its engine batch.
    """

    value: Any = None
    width: int | None = None
    height: int | None = None
    error: RowError | None = None
    decode_ms: float | None = None
    model_ms: float | None = None
    warnings: tuple[RowWarning, ...] = ()


def result_array(
    name: str,
    values: pa.Array,
    rows: Sequence[Row],
    model: str,
    sha256: str,
    digest: str,
    *,
    attempts: Sequence[int] | None = None,
) -> pa.StructArray:
    """The row contract: the value under ``name``, size, model, error and warnings.

    With ``attempts`` of each row it ends with what the row cost (``schemas.TIMINGS``).
    """
    fields = {
        name: values,
        "width": numbers([row.width for row in rows], pa.int32()),
        "height": numbers([row.height for row in rows], pa.int32()),
        **_common_fields(rows, model, sha256, digest),
    }
    if attempts is not None:
        fields["decode_ms"] = numbers([row.decode_ms for row in rows], pa.float32())
        fields["model_ms"] = numbers([row.model_ms for row in rows], pa.float32())
        fields["attempts"] = numbers(attempts, pa.int32())
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))


def text_result_array(rows: Sequence[Row], model: str, sha256: str, digest: str) -> pa.StructArray:
    """The row contract of texts, which have no size: ``schemas.TEXT_EMBEDDING``."""
    fields = {"embedding": embeddings_array(rows), **_common_fields(rows, model, sha256, digest)}
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))


def _common_fields(
    rows: Sequence[Row], model: str, sha256: str, digest: str
) -> dict[str, pa.Array]:
    return {
        "model": strings([model] * len(rows)),
        "model_sha256": strings([sha256] * len(rows)),
        "model_digest": strings([digest] * len(rows)),
        "error": error_array(rows),
        "warnings": warnings_array(rows),
    }


def error_array(rows: Sequence[Row]) -> pa.Array:
    """``error`` of each row: null, or its code and message."""
    errors = [row.error for row in rows]
    codes = strings([None if error is None else error.code.value for error in errors])
    messages = strings([None if error is None else _writable(error.message) for error in errors])
    return structs([codes, messages], ERROR_TYPE, [error is None for error in errors])


def _writable(text: str) -> str:
    """Halves of surrogate pairs, of which Python makes bytes of file names, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def warnings_array(rows: Sequence[Row]) -> pa.Array:
    """``warnings`` of each row: null, or a list that is not empty."""
    warnings = [warning for row in rows for warning in row.warnings]
    columns = [
        strings([warning.code.value for warning in warnings]),
        strings([warning.message for warning in warnings]),
    ]
    items = structs(columns, WARNINGS_TYPE.value_type, [False] * len(warnings))
    return lists([len(row.warnings) or None for row in rows], items)


def detections_array(
    rows: Sequence[Row], labels: Labels, keypoint_names: Sequence[str] = ()
) -> pa.Array:
    """Rows of :class:`heads.Detections` -> ``list<DETECTION_TYPE>``; null where none.

    With ``keypoint_names`` -> ``list<POSE_TYPE>``: each detection with its points.
    """

    def columns(row_values: Sequence[Detections]) -> list[pa.Array]:
        return [
            *_boxed(row_values, labels),
            *([_keypoints(row_values, keypoint_names)] if keypoint_names else []),
        ]

    item = POSE_TYPE if keypoint_names else DETECTION_TYPE
    return _list_array(rows, item, columns, lambda row_value: len(row_value.scores))


def _keypoints(row_values: Sequence[Detections], names: Sequence[str]) -> pa.Array:
    """``list<KEYPOINT_TYPE>`` of each detection, whose points have no scores."""
    points = np.concatenate(
        [row_value.keypoints for row_value in row_values if row_value.keypoints is not None]
    )
    flat = points.reshape(-1, 2)
    columns = [
        strings([*names] * len(points)),
        numbers(flat[:, 0], pa.float32()),
        numbers(flat[:, 1], pa.float32()),
        pa.nulls(len(flat), pa.float32()),
    ]
    items = structs(columns, KEYPOINT_TYPE, [False] * len(flat))
    return lists([len(names)] * len(points), items)


def predictions_array(rows: Sequence[Row], labels: Labels) -> pa.Array:
    """Rows of :class:`heads.Predictions` -> ``list<PREDICTION_TYPE>``; null where none."""

    def columns(row_values: Sequence[Predictions]) -> list[pa.Array]:
        class_ids = np.concatenate([row_value.class_ids for row_value in row_values])
        return _scored(
            class_ids, np.concatenate([row_value.scores for row_value in row_values]), labels
        )

    return _list_array(rows, PREDICTION_TYPE, columns, lambda row_value: len(row_value.scores))


def segments_array(rows: Sequence[Row], labels: Labels) -> pa.Array:
    """Rows of :class:`segments.Segments` -> ``list<SEGMENT_TYPE>``; null where none."""

    def columns(row_values: Sequence[Segments]) -> list[pa.Array]:
        areas = np.concatenate([row_value.areas for row_value in row_values])
        sizes = np.array(
            [side for row_value in row_values for side in row_value.hw * len(row_value.counts)],
            np.int32,
        )
        counts = [text for row_value in row_values for text in row_value.counts]
        masks = structs(
            [lists([2] * len(counts), numbers(sizes, pa.int32())), strings(counts)],
            MASK_TYPE,
            [False] * len(counts),
        )
        return [*_boxed(row_values, labels), numbers(areas, pa.int32()), masks]

    return _list_array(rows, SEGMENT_TYPE, columns, lambda row_value: len(row_value.scores))


def poses_array(rows: Sequence[Row], labels: Labels, names: Sequence[str]) -> pa.Array:
    """Rows of :class:`poses.Poses` -> ``list<POSE_TYPE>``; null where none.

    ``names``: of the points; without, they are numbered from 0.
    """

    def columns(row_values: Sequence[Poses]) -> list[pa.Array]:
        lengths = [len(points) for row_value in row_values for points in row_value.points]
        points = np.concatenate([row_value.points.reshape(-1, 3) for row_value in row_values])
        known = [names or [str(n) for n in range(count)] for count in lengths]
        items = structs(
            [
                strings([name for of_pose in known for name in of_pose]),
                *(_or_null(points[:, i]) for i in range(3)),
            ],
            KEYPOINT_TYPE,
            [False] * len(points),
        )
        return [*_boxed(row_values, labels), lists(lengths, items)]

    return _list_array(rows, POSE_TYPE, columns, lambda row_value: len(row_value.scores))


def lines_array(rows: Sequence[Row]) -> pa.Array:
    """Rows of :class:`heads.TextLines` -> ``list<TEXT_LINE_TYPE>``; null where none."""

    def columns(row_values: Sequence[TextLines]) -> list[pa.Array]:
        points = np.concatenate([row_value.corners for row_value in row_values]).reshape(-1, 2)
        xy = [numbers(points[:, axis], pa.float32()) for axis in range(2)]
        count = len(points) // 4
        return [
            strings([text for row_value in row_values for text in row_value.texts]),
            numbers(np.concatenate([row_value.scores for row_value in row_values]), pa.float32()),
            lists([4] * count, structs(xy, POINT_TYPE, [False] * len(points))),
        ]

    return _list_array(rows, TEXT_LINE_TYPE, columns, lambda row_value: len(row_value.texts))


def embeddings_array(rows: Sequence[Row]) -> pa.Array:
    """Rows of ``(D,)`` float32 vectors -> ``list<float>``; null where none."""
    vectors = [row.value for row in rows if row.value is not None]
    flat = np.concatenate(vectors) if vectors else np.empty(0, np.float32)
    return lists(_lengths(rows, len), numbers(flat, pa.float32()))


def _boxed(row_values: Sequence[Any], labels: Labels) -> list[pa.Array]:
    class_ids = np.concatenate([row_value.class_ids for row_value in row_values])
    xyxy = np.concatenate([row_value.xyxy for row_value in row_values])
    return [
        *_scored(class_ids, np.concatenate([row_value.scores for row_value in row_values]), labels),
        *(_or_null(xyxy[:, i]) for i in range(4)),
    ]


def _or_null(values: Any) -> pa.Array:
    """float32; NaN, which is none, as null."""
    if not np.isnan(values).any():
        return numbers(values, pa.float32())
    nothing = np.isnan(values).tolist()
    known = zip(values.tolist(), nothing, strict=True)
    return numbers([None if none else value for value, none in known], pa.float32())


def _scored(class_ids: Any, scores: Any, labels: Labels) -> list[pa.Array]:
    names = [labels.get(class_id) for class_id in class_ids.tolist()]
    return [
        numbers(class_ids, pa.int32()),
        strings(names),
        _or_null(scores),
    ]


def _list_array(
    rows: Sequence[Row],
    item: pa.StructType,
    columns: Callable[[Sequence[Any]], list[pa.Array]],
    length: Callable[[Any], int],
) -> pa.Array:
    values = [row.value for row in rows if row.value is not None]
    arrays = columns(values) if values else [pa.nulls(0, field.type) for field in item]
    items = structs(arrays, item, [False] * len(arrays[0]))
    return lists(_lengths(rows, length), items)


def _lengths(rows: Sequence[Row], length: Callable[[Any], int]) -> list[int | None]:
    return [None if row.value is None else length(row.value) for row in rows]
