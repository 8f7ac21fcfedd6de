"""DataFrame -> DataFrame, for ``df.transform(function, …)``: what comes after the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.sql.window import Window

from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import DropReason, InvalidOptionError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_RESULT_FIELDS = ("detections", "predictions", "segments", "poses", "embedding", "lines")
# Where the order of the items says something, and becomes a column.
_RANKED = ("predictions", "lines")


def flatten_result(df: DataFrame, column: str = "result", *, prefix: str = "") -> DataFrame:
    """The fields of a result struct as columns of their own, in place of the struct.

    ``origin, result`` becomes ``origin, detections, width, height, model, model_sha256,
    model_digest, error, warnings``. ``prefix`` goes before each of the new names;
    raises where one is there already.
    """
    _result_field(df, column)
    others = [name for name in df.columns if name != column]
    fields = _fields(df, column)
    _refuse_second("flatten_result", df, others, fields, prefix)
    new = [F.col(f"{quoted(column)}.{quoted(name)}").alias(prefix + name) for name in fields]
    return df.select(*map(quoted, others), *new)


def explode_detections(
    df: DataFrame, column: str = "result", *, keep_empty: bool = False, prefix: str = ""
) -> DataFrame:
    """One row per detected object: ``class_id, label, score, xmin, ymin, xmax, ymax``.

    ``column`` is the struct of ``detect_objects``; the other columns stay, the struct goes. An
    image without an object, or with an error, gives no row; with ``keep_empty`` it gives one row
    of nulls. Use :func:`split_failed` first where errors matter. ``prefix`` goes before each of
    the new names; raises where one is there already.
    """
    return _exploded("explode_detections", df, column, "detections", keep_empty, prefix)


def explode_predictions(
    df: DataFrame, column: str = "result", *, keep_empty: bool = False, prefix: str = ""
) -> DataFrame:
    """One row per predicted class, with its ``rank`` from 1: ``rank, class_id, label, score``.

    It does what :func:`explode_detections` does, for the struct of ``classify_image``.
    """
    return _exploded("explode_predictions", df, column, "predictions", keep_empty, prefix)


def explode_segments(
    df: DataFrame, column: str = "result", *, keep_empty: bool = False, prefix: str = ""
) -> DataFrame:
    """One row per segment: ``class_id, label, score, xmin, ymin, xmax, ymax, area, mask``.

    It does what :func:`explode_detections` does, for the struct of ``segment_image``.
    """
    return _exploded("explode_segments", df, column, "segments", keep_empty, prefix)


def explode_poses(
    df: DataFrame, column: str = "result", *, keep_empty: bool = False, prefix: str = ""
) -> DataFrame:
    """One row per pose: ``class_id, label, score, xmin, ymin, xmax, ymax, keypoints``.

    It does what :func:`explode_detections` does, for the struct of ``detect_keypoints``.
    """
    return _exploded("explode_poses", df, column, "poses", keep_empty, prefix)


def explode_lines(
    df: DataFrame, column: str = "result", *, keep_empty: bool = False, prefix: str = ""
) -> DataFrame:
    """One row per line of text, with its ``rank`` from 1 in reading order: ``rank, text, score,
    corners``.

    It does what :func:`explode_detections` does, for the struct of ``read_text``.
    """
    return _exploded("explode_lines", df, column, "lines", keep_empty, prefix)


def split_failed(df: DataFrame, column: str = "result") -> tuple[DataFrame, DataFrame]:
    """(rows without an error, rows with one), all columns kept; no row is in both or in neither.

    ``column`` is a struct with an ``error`` field, or a flat ``error`` column itself
    (``column="error"``). Persist ``df`` first if the model should run once for both halves.
    """
    error = "error" if column == "error" else f"{quoted(column)}.error"
    _require(df, column)
    if column != "error":
        _require_field(df, column, "error")
    return df.where(F.col(error).isNull()), df.where(F.col(error).isNotNull())


def newest_per_key(df: DataFrame, key: str, timestamp: str) -> DataFrame:
    """The row with the latest ``timestamp`` of each ``key``; ties keep one of them.

    A null timestamp is older than any other; rows with a null key form one group. Use it on batches
    (and inside ``foreachBatch``): a stream of its own has no newest row yet.
    """
    _require(df, key)
    _require(df, timestamp)
    rank = _unused("_rank", df.columns)
    newest_first = Window.partitionBy(quoted(key)).orderBy(
        F.col(quoted(timestamp)).desc_nulls_last()
    )
    ranked = df.withColumn(rank, F.row_number().over(newest_first))
    return ranked.where(F.col(rank) == 1).drop(rank)


def mark_dropped(
    df: DataFrame,
    *,
    key: str | None,
    timestamp: str,
    max_age_s: float | None,
    unless: Column,
    payload: str,
    now: Column | None = None,
) -> DataFrame:
    """Add ``dropped``: null, ``"stale"`` (older than ``max_age_s``, ``None``: never) or
    ``"superseded"``.

    A row is superseded if it is not the newest of its ``key`` among those that are not stale; where
    times are equal the last ``offset`` (or ``origin``) is the newest. Without a ``key`` (``None``)
    no row is superseded: rows are not compared, so ``df`` may be a stream. Rows for which
    ``unless`` holds (failed ones) are never dropped and supersede nothing. No row is removed, so
    that what is dropped can be counted; its ``payload`` becomes null. ``now`` is the time of the
    query. Raises where a column ``dropped`` is there already.
    """
    for name in (*([] if key is None else [key]), timestamp, payload):
        _require(df, name)
    there = _same_names(df, df.columns, ["dropped"])
    if there:
        raise InvalidOptionError(
            f"mark_dropped adds a column 'dropped', and {', '.join(map(repr, there))} is there "
            "already: rename or drop it first"
        )
    is_stale, rank = _unused("_stale", df.columns), _unused("_rank", df.columns)
    stale = F.lit(False)
    if max_age_s is not None:
        # Not an interval: Spark takes its days from the calendar, where one may have 25 hours.
        age_limit_us = F.lit(float(max_age_s) * 1e6).cast("bigint")
        now_us = F.unix_micros(F.current_timestamp() if now is None else now)
        oldest = F.timestamp_micros(now_us - age_limit_us)
        stale = ~unless & (F.col(quoted(timestamp)) < oldest)
    # Dropped pictures are not carried to the shuffle.
    marked = df.withColumn(is_stale, F.coalesce(stale, F.lit(False))).withColumn(
        payload, F.when(~F.col(is_stale), F.col(quoted(payload)))
    )
    if key is None:
        dropped = F.when(F.col(is_stale), DropReason.STALE.value)
        return marked.withColumn("dropped", dropped).drop(is_stale)
    competes = ~unless & ~F.col(is_stale)
    # What does not compete stands alone: in one group it would be sorted by one task.
    place = F.col("offset") if "offset" in df.columns else F.col("origin")
    group = F.when(competes, F.col(quoted(key)))
    alone = F.when(~competes, F.col("origin"))
    newest_first = Window.partitionBy(group, alone).orderBy(
        F.col(quoted(timestamp)).desc_nulls_last(), place.desc()
    )
    ranked = marked.withColumn(rank, F.row_number().over(newest_first))
    superseded = competes & (F.col(rank) > 1)
    dropped = F.when(F.col(is_stale), DropReason.STALE.value).when(
        superseded, DropReason.SUPERSEDED.value
    )
    return (
        ranked.withColumn("dropped", dropped)
        .withColumn(payload, F.when(F.col("dropped").isNull(), F.col(quoted(payload))))
        .drop(is_stale, rank)
    )


def _exploded(
    function: str, df: DataFrame, column: str, field: str, keep_empty: bool, prefix: str
) -> DataFrame:
    if _result_field(df, column) != field:
        raise InvalidOptionError(
            f"column {column!r} holds {_result_field(df, column)}, not {field}"
        )
    names = [name for name in df.columns if name != column]
    items: Any = df.schema[column].dataType[field].dataType  # type: ignore[index]
    fields: list[str] = items.elementType.names
    ranked = ["rank"] if field in _RANKED else []
    _refuse_second(function, df, names, [*ranked, *fields], prefix)
    position, item = _unused("_position", names), _unused("_item", names)
    others = list(map(quoted, names))
    explode = F.posexplode_outer if keep_empty else F.posexplode
    exploded = df.select(*others, explode(f"{quoted(column)}.{field}").alias(position, item))
    rank = [(F.col(position) + 1).alias(prefix + name) for name in ranked]
    new = [F.col(f"{item}.{quoted(name)}").alias(prefix + name) for name in fields]
    return exploded.select(*others, *rank, *new)


def _refuse_second(
    function: str, df: DataFrame, others: list[str], fields: list[str], prefix: str
) -> None:
    """Raise if a new column would stand beside one that Spark cannot tell from it."""
    there = _same_names(df, others, [prefix + name for name in fields])
    if there:
        names, column = ", ".join(map(repr, there)), "column" if len(there) == 1 else "columns"
        raise InvalidOptionError(
            f"{function}: the {column} {names} would be there twice; give the new ones a prefix, "
            f"as {function}(df, prefix={'found_' if prefix != 'found_' else 'new_'!r}), or drop "
            "the old ones first"
        )


def _same_names(df: DataFrame, there: list[str], new: list[str]) -> list[str]:
    """Those of ``there`` that are also in ``new``, as Spark compares names."""
    exact = str(df.sparkSession.conf.get("spark.sql.caseSensitive")).lower() == "true"
    added = {name if exact else name.lower() for name in new}
    return [name for name in there if (name if exact else name.lower()) in added]


def _unused(name: str, columns: list[str]) -> str:
    """``name``, longer where a column has it: for one that is gone at the end."""
    taken = {column.lower() for column in columns}
    while name in taken:
        name += "_"
    return name


def _fields(df: DataFrame, column: str) -> list[str]:
    data_type = df.schema[column].dataType
    return data_type.names if isinstance(data_type, StructType) else []


def _result_field(df: DataFrame, column: str) -> str:
    _require(df, column)
    names = _fields(df, column)
    for field in _RESULT_FIELDS:
        if field in names:
            return field
    raise InvalidOptionError(
        f"column {column!r} is {df.schema[column].dataType.simpleString()}; it must be the struct "
        "that classify_image, detect_objects, segment_image, detect_keypoints, embed_image or "
        "read_text returns"
    )


def _require_field(df: DataFrame, column: str, field: str) -> None:
    if field not in _fields(df, column):
        raise InvalidOptionError(
            f"column {column!r} is {df.schema[column].dataType.simpleString()}; it must be a "
            f"struct with the field {field!r}"
        )


def _require(df: DataFrame, column: str) -> None:
    if column not in df.columns:
        raise InvalidOptionError(f"no column {column!r}; there are {', '.join(df.columns)}")
