"""Rows at a batch job's output: which are there, which are made anew, and that none comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from pyspark_vision.errors import ErrorCode
from pyspark_vision.job import batch_rows
from pyspark_vision.job.batch_rows import ALL_CODES, TRANSIENT, Rows, read_rows, split
from pyspark_vision.sinks.csv import csv_sink
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sources.listed_files import ListedFile

ROW = (
    "origin string, label string, embedding array<float>, error struct<code:string,message:string>"
)


def file(name: str, size: int | None = 1, modified_ms: int | None = 1000) -> ListedFile:
    return ListedFile(f"file:/in/{name}", f"file:///in/{name}", size, modified_ms)


def write(
    spark: SparkSession,
    output: Path,
    batch_id: int,
    rows: dict[str, str | None],
    *,
    file_format: str = "parquet",
    notes: bool = True,
) -> None:
    """A batch with these codes, and the note of what its failed files were like."""
    data = [
        (file(name).origin, "in", None if code else [1.0], {"code": code} if code else None)
        for name, code in rows.items()
    ]
    results = spark.createDataFrame(data, ROW)
    if notes:
        batch_rows.failures_sink(spark, str(output), map(file, rows))(results, batch_id)
    if file_format == "parquet":
        parquet_sink(spark, str(output))(results, batch_id)
    else:
        flat = results.selectExpr("origin", "label", "embedding[0] as x0", "embedding[0] as x1")
        csv_sink(spark, str(output))(flat, batch_id)


def names(files: Any) -> list[str]:
    return sorted(one.origin.rsplit("/", 1)[-1] for one in files)


def origins(output: Path) -> list[str]:
    return sorted(row["origin"][9:] for row in pq.read_table(output).to_pylist())


@contextmanager
def logged(spark: SparkSession) -> Iterator[Any]:
    """What the JVM logs meanwhile, as a ``java.io.StringWriter``."""
    jvm: Any = spark.sparkContext._jvm
    log4j = jvm.org.apache.logging.log4j
    writer = jvm.java.io.StringWriter()
    layout = log4j.core.layout.PatternLayout.createDefaultLayout()
    make = log4j.core.appender.WriterAppender.createAppender
    appender = make(layout, None, writer, "test", False, True)
    appender.start()
    root = log4j.LogManager.getContext(False).getRootLogger()
    level = root.getLevel().name()
    root.addAppender(appender)
    spark.sparkContext.setLogLevel("WARN")
    try:
        yield writer
    finally:
        spark.sparkContext.setLogLevel(level)
        root.removeAppender(appender)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_spark_logs_nothing_of_an_output_that_is_new_or_has_no_failures(
    file_format: str, spark: SparkSession, tmp_path: Path
) -> None:
    with logged(spark) as log:
        new = read_rows(spark, str(tmp_path / "out"), file_format)
        write(spark, tmp_path / "out", 0, {"a": None}, file_format=file_format, notes=False)
        begun = read_rows(spark, str(tmp_path / "out"), file_format)
        said = log.toString()
        missing = spark.read.schema("a int")
        with pytest.raises(AnalysisException):
            missing.parquet(str(tmp_path / "none"))

    assert (new, begun.next_batch) == (Rows(None, 0), 1)
    assert "FileNotFoundException" not in said
    assert "FileNotFoundException" in log.toString()  # it would have been seen


def test_without_rows_all_files_are_new_and_each_is_taken_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    again = ListedFile("file:///in/a.jpg", "file:///in/a.jpg")
    objects = [ListedFile(uri, uri) for uri in ("s3a://b/k", "s3://b/k", "s3://b/K")]

    found = split(spark, [file("a.jpg"), again, *objects], Rows(None, 0), TRANSIENT)

    assert names(found.new) == ["K", "a.jpg", "k"]
    assert (found.again, found.were_there, found.duplicates) == ([], 0, 2)


@pytest.mark.parametrize("file_format", ["parquet", pytest.param("csv", marks=pytest.mark.slow)])
def test_failed_fetches_are_made_anew_and_bad_pictures_when_they_have_changed(
    file_format: str, spark: SparkSession, tmp_path: Path
) -> None:
    rows = {"good": None, "cut": "truncated", "late": "fetch_failed", "gone": "fetch_not_found"}
    write(spark, tmp_path, 0, rows, file_format=file_format)
    write(
        spark, tmp_path, 3, {"denied": "fetch_denied", "cut-2": "truncated", "zero": "empty_input"}
    )
    if file_format == "csv":
        write(spark, tmp_path, 3, {"denied": "fetch_denied"}, file_format="csv")
    rows_there = read_rows(spark, str(tmp_path), file_format)

    same = split(spark, [*map(file, rows), file("denied"), file("new")], rows_there, TRANSIENT)
    changed = split(
        spark, [file("good", 2), file("cut", 2), file("late", 1, 2000)], rows_there, frozenset()
    )
    all_codes = split(spark, map(file, rows), rows_there, ALL_CODES)

    assert rows_there.next_batch == 4
    assert names(same.new) == ["new"]
    assert {(one.origin[9:], batches) for one, batches in same.again} == {
        ("late", frozenset({0})),
        ("gone", frozenset({0})),
        ("denied", frozenset({3})),
    }
    assert same.were_there == 2
    assert names(one for one, _ in changed.again) == ["cut", "late"]
    assert names(one for one, _ in all_codes.again) == ["cut", "gone", "late"]


@pytest.mark.slow
def test_failed_rows_of_an_older_version_are_made_anew_by_their_codes_alone(
    spark: SparkSession, tmp_path: Path
) -> None:
    codes = {"good": None, "cut": "truncated", "late": "fetch_failed"}
    write(spark, tmp_path / "parquet", 0, codes, notes=False)
    write(spark, tmp_path / "csv", 0, codes, notes=False, file_format="csv")
    files = [file(name, 99) for name in codes]

    found = {
        (kind, len(retried)): names(
            one
            for one, _ in split(
                spark, files, read_rows(spark, str(tmp_path / kind), kind), retried
            ).again
        )
        for kind in ("parquet", "csv")
        for retried in (TRANSIENT, ALL_CODES)
    }

    assert found == {
        ("parquet", len(TRANSIENT)): ["late"],
        ("csv", len(TRANSIENT)): [],
        ("parquet", len(ALL_CODES)): ["cut", "late"],
        ("csv", len(ALL_CODES)): ["cut", "late"],
    }


@pytest.mark.slow
def test_removed_rows_leave_their_batches_and_no_others(
    spark: SparkSession, tmp_path: Path
) -> None:
    output = tmp_path / "out [1]"
    write(spark, output, 0, {"a": None, "b": "fetch_failed"})
    write(spark, output, 1, {"c": "fetch_failed"})
    write(spark, output, 2, {"d": None, "e": "truncated"})
    untouched = [path.stat().st_mtime_ns for path in output.glob("batch_id=2/*.parquet")]

    gone = [(file("b"), frozenset({0})), (file("c"), frozenset({1})), (file("d"), frozenset({1}))]
    batch_rows.remove(spark, str(output), "parquet", gone)

    assert origins(output) == ["a", "d", "e"]
    assert untouched == [path.stat().st_mtime_ns for path in output.glob("batch_id=2/*.parquet")]
    # As after a kill behind it: what has no row is new.
    rows = read_rows(spark, str(output), "parquet")
    assert names(split(spark, map(file, "abcde"), rows, TRANSIENT).new) == ["b", "c"]
    assert rows.next_batch == 3


def test_odd_names_stand_in_csv_as_they_are(spark: SparkSession, tmp_path: Path) -> None:
    odd = ["blank.jpg ", 'quo"te,.jpg', "back\\slash.jpg", "line\nbreak.jpg", "caf\u00e9.jpg"]
    write(spark, tmp_path, 0, dict.fromkeys(odd), file_format="csv")
    rows = read_rows(spark, str(tmp_path), "csv")

    found = split(spark, map(file, odd), rows, TRANSIENT)

    assert (found.new, found.were_there) == ([], len(odd))


def test_every_code_of_getting_a_file_is_tried_again_but_for_one_that_stays_replaced() -> None:
    of_fetching = {code for code in ErrorCode if code.startswith("fetch_")}

    assert of_fetching - {ErrorCode.FETCH_REPLACED} == TRANSIENT
