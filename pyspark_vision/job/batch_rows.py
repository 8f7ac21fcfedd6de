"""Which rows a batch job's output has, and which of its failed ones are to be made anew.

``OUTPUT/_failed`` holds the size and time that failed files had, batch by batch, and their codes
(which CSV has no column for).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from pyspark_vision.columns.compatibility import error_condition
from pyspark_vision.errors import ErrorCode
from pyspark_vision.sinks import delta
from pyspark_vision.sinks.csv import csv_sink
from pyspark_vision.sinks.csv_format import OWN_FILES
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sources.listed_files import key_column, key_of
from pyspark_vision.spark.hadoop import list_names, literal
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row, SparkSession

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sources.listed_files import ListedFile

# What may be otherwise the next time without a change of the file: all that has to do with getting
# it, credentials that had expired among them.
TRANSIENT = frozenset({ErrorCode.FETCH_FAILED, ErrorCode.FETCH_DENIED, ErrorCode.FETCH_NOT_FOUND})
ALL_CODES = frozenset(ErrorCode)

# Of a job whose output is a Delta table: the rows know their batch, and one commit removes some.
DELTA = "delta"

_FAILED = "_failed"
_RECORD = "origin string, code string, size bigint, modified_ms bigint"


@dataclass(frozen=True)
class Rows:
    """The rows at an output: ``key, failed, code, size, modified_ms, batch_id``; ``None``: none."""

    table: DataFrame | None
    next_batch: int


@dataclass(frozen=True)
class Split:
    """A batch of files by what is at the output.

    ``again`` are those with a failed row that is to be made anew, and where those rows are.
    """

    new: list[ListedFile]
    again: list[tuple[ListedFile, frozenset[int]]]
    were_there: int
    duplicates: int


def read_rows(session: SparkSession, output: str, file_format: str) -> Rows:
    """What is at ``output``, kept for :func:`split`."""
    if file_format == DELTA:
        if not delta.is_there(session, output):
            return Rows(None, 0)
        rows = session.read.format(DELTA).load(output)
        code = F.col("error.code")
        return _rows(session, output, rows, failed=F.col("error").isNotNull(), code=code)
    # Not what the user may have put beside the batches.
    batches = [f"{literal(output)}/batch_id=*"]
    # Spark logs a page for a path that is not there, and for a pattern by itself.
    if not is_connect(session):
        names = [name for name in list_names(session, output) or [] if name.startswith("batch_id=")]
        if not names:
            return Rows(None, 0)
        batches = [literal(f"{output}/{name}") for name in sorted(names)]
    try:
        return _read_rows(session, output, file_format, batches)
    except AnalysisException as error:
        if error_condition(error) == "PATH_NOT_FOUND":  # no batch yet
            return Rows(None, 0)
        raise


def _read_rows(
    session: SparkSession, output: str, file_format: str, batches: Sequence[str]
) -> Rows:
    reader = session.read.option("basePath", output)
    if file_format == "parquet":
        schema = "origin string, error struct<code string>, batch_id int"
        rows = reader.schema(schema).parquet(*batches)
        failed, code = F.col("error").isNotNull(), F.col("error.code")
    else:
        # By their places: the columns of vectors are many. The first is empty in a failed row.
        schema = "origin string, label string, x0 string, batch_id int"
        rows = reader.schema(schema).options(**OWN_FILES).csv(list(batches))
        failed, code = F.col("x0").isNull(), F.lit(None).cast("string")
    return _rows(session, output, rows, failed=failed, code=code)


def _rows(
    session: SparkSession, output: str, rows: DataFrame, *, failed: Column, code: Column
) -> Rows:
    rows = rows.select("batch_id", "origin", failed.alias("failed"), code.alias("own_code"))
    last = rows.agg(F.max("batch_id")).first()
    if last is None or last[0] is None:
        return Rows(None, 0)
    record = _record(session, f"{output}/{_FAILED}")
    # Asked once per batch: kept, on disk where memory is short.
    table = rows.join(record, ["batch_id", "origin"], "left").select(
        key_column(F.col("origin")).alias("key"),
        "failed",
        F.coalesce("own_code", "code").alias("code"),
        "size",
        "modified_ms",
        "batch_id",
    )
    return Rows(table.persist(), last[0] + 1)


def split(
    session: SparkSession,
    files: Iterable[ListedFile],
    rows: Rows,
    retried: frozenset[ErrorCode] | None,
) -> Split:
    """Files without a row, files whose failed row is to be made anew, and how many are done.

    A failed row is made anew for the codes ``retried``, and where the file has another size or
    time than it had; for ``None`` it stays. A file that stands here twice, in whatever spelling, is
    taken once.
    """
    by_key: dict[str, ListedFile] = {}
    duplicates = 0
    for file in files:
        first = by_key.setdefault(key_of(file.origin), file)
        duplicates += first is not file
    if rows.table is None:
        return Split(list(by_key.values()), [], 0, duplicates)
    asked = session.createDataFrame([(key,) for key in by_key], "key string")
    there = defaultdict(list)
    for row in rows.table.join(F.broadcast(asked), "key", "left_semi").collect():
        there[row.key].append(row)
    new = [file for key, file in by_key.items() if key not in there]
    again = []
    for key, known in there.items():
        file = by_key[key]
        if retried is not None and all(_is_retried(row, file, retried) for row in known):
            again.append((file, frozenset(row.batch_id for row in known)))
    return Split(new, again, len(there) - len(again), duplicates)


def remove(
    session: SparkSession,
    output: str,
    file_format: str,
    rows: Sequence[tuple[ListedFile, frozenset[int]]],
) -> None:
    """Remove rows from the folders of their batches, each of which is replaced whole.

    Who is killed after that finds the files without a row, and makes it.
    """
    if file_format == DELTA:
        _remove_from_table(session, output, rows)
        return
    keys = defaultdict(list)
    for file, batch_ids in rows:
        for batch_id in batch_ids:
            keys[batch_id].append((key_of(file.origin),))
    sink = parquet_sink if file_format == "parquet" else csv_sink
    write = sink(session, output)
    for batch_id, removed in keys.items():
        there = _batch(session, output, file_format, batch_id)
        gone = F.broadcast(session.createDataFrame(removed, "key string"))
        write(there.join(gone, key_column(F.col("origin")) == gone["key"], "left_anti"), batch_id)


def _remove_from_table(
    session: SparkSession, output: str, rows: Sequence[tuple[ListedFile, frozenset[int]]]
) -> None:
    keys = [(key_of(file.origin), batch) for file, batches in rows for batch in batches]
    asked = F.broadcast(session.createDataFrame(keys, "key string, batch_id int"))
    there = session.read.format(DELTA).load(output).select("origin", "batch_id")
    gone = there.withColumn("key", key_column(F.col("origin"))).join(asked, ["key", "batch_id"])
    delta.remove(session, output, gone.select("origin", "batch_id").distinct())


def failures_sink(session: SparkSession, output: str, files: Iterable[ListedFile]) -> Sink:
    """A sink that notes of a batch's failed rows what their files were like."""
    by_origin: Mapping[str, ListedFile] = {file.origin: file for file in files}
    write = parquet_sink(session, f"{output}/{_FAILED}")

    def sink(results: DataFrame, batch_id: int) -> None:
        failed = results.where(F.col("error").isNotNull()).select("origin", "error.code")
        record = [
            (origin, code, by_origin[origin].size, by_origin[origin].modified_ms)
            for origin, code in failed.collect()
        ]
        if record:
            write(session.createDataFrame(record, _RECORD).coalesce(1), batch_id)

    return sink


def _is_retried(row: Row, file: ListedFile, retried: frozenset[ErrorCode]) -> bool:
    if not row.failed:
        return False
    code, size, modified_ms = row.code, row.size, row.modified_ms
    if code is None:  # CSV of an older version
        return retried >= ALL_CODES
    changed = None not in (modified_ms, file.modified_ms) and (size, modified_ms) != (
        file.size,
        file.modified_ms,
    )
    return code in retried or changed


def _batch(session: SparkSession, output: str, file_format: str, batch_id: int) -> DataFrame:
    options = {} if file_format == "parquet" else OWN_FILES
    folder = literal(f"{output}/batch_id={batch_id}")
    return session.read.format(file_format).options(**options).load(folder)


def _record(session: SparkSession, folder: str) -> DataFrame:
    nothing = session.createDataFrame([], f"{_RECORD}, batch_id int")
    # Spark logs a page for a path that is not there.
    if not is_connect(session) and list_names(session, folder) is None:
        return nothing
    try:
        record = session.read.schema(f"{_RECORD}, batch_id int").parquet(literal(folder))
        record.columns  # noqa: B018  a Connect session looks now
        return record
    except AnalysisException as error:
        if error_condition(error) != "PATH_NOT_FOUND":
            raise
        return nothing
