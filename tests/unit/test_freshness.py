"""What is dropped for freshness is marked, counted and never computed; nothing else is touched."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.streaming.counts import Counts, measure_results
from pyspark_vision.streaming.runner import run_batch
from pyspark_vision.transformations import mark_dropped

NOW = datetime(2026, 11, 21, 8, 0, 0)
SCHEMA = "origin string, offset long, camera string, at timestamp, value binary, bad boolean"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def marked(
    spark: SparkSession, *rows: tuple[Any, ...], key: str | None = "camera"
) -> dict[int, tuple[str | None, Any]]:
    """(camera, at, bad) in the order of their offsets -> offset: (dropped, payload)."""
    full = [
        (f"t/{offset}", offset, camera, at, b"x", bad)
        for offset, (camera, at, bad) in enumerate(rows)
    ]
    frame = mark_dropped(
        spark.createDataFrame(full, SCHEMA),
        key=key,
        timestamp="at",
        max_age_s=5,
        unless=F.col("bad"),
        payload="value",
        now=F.lit(NOW),
    )
    assert frame.columns == ["origin", "offset", "camera", "at", "value", "bad", "dropped"]
    return {
        row.offset: (row.dropped, row.value and bytes(row.value))
        for row in frame.orderBy("offset").collect()
    }


def test_the_newest_of_each_key_stays_and_the_rest_is_marked(spark: SparkSession) -> None:
    found = marked(
        spark,
        ("front", ago(3), False),
        ("front", ago(1), False),
        ("front", ago(2), False),
        ("back", ago(5), False),
        ("back", ago(6), False),
    )

    assert found == {
        0: ("superseded", None),
        1: (None, b"x"),
        2: ("superseded", None),
        3: (None, b"x"),
        4: ("stale", None),
    }


def test_without_a_key_only_what_is_old_is_marked(spark: SparkSession) -> None:
    found = marked(
        spark,
        ("front", ago(3), False),
        ("front", ago(1), False),
        ("front", ago(6), False),
        ("front", ago(6), True),
        ("front", None, False),
        key=None,
    )

    assert found == {
        0: (None, b"x"),
        1: (None, b"x"),
        2: ("stale", None),
        3: (None, b"x"),
        4: (None, b"x"),
    }


def test_failed_rows_are_never_dropped_and_supersede_nothing(spark: SparkSession) -> None:
    found = marked(
        spark,
        ("front", ago(3), False),
        ("front", ago(1), True),
        ("front", ago(100), True),
        (None, None, True),
        (None, None, True),
    )

    assert {offset: dropped for offset, (dropped, _) in found.items()} == dict.fromkeys(range(5))
    assert {payload for _, payload in found.values()} == {b"x"}


def test_of_equal_times_the_last_offset_is_the_newest(spark: SparkSession) -> None:
    found = marked(spark, ("a", ago(1), False), ("a", ago(1), False))

    assert [dropped for dropped, _ in found.values()] == ["superseded", None]


def test_rows_from_the_future_and_without_a_key_or_time_are_kept(spark: SparkSession) -> None:
    found = marked(spark, ("a", ago(-100), False), (None, ago(1), False), ("b", None, False))

    assert [dropped for dropped, _ in found.values()] == [None] * 3


def test_an_empty_batch_stays_empty(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], SCHEMA)

    marks = mark_dropped(
        frame, key="camera", timestamp="at", max_age_s=5, unless=F.col("bad"), payload="value"
    )

    assert marks.collect() == []


def test_a_column_that_is_not_there_is_named(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], SCHEMA)

    with pytest.raises(InvalidOptionError, match="no column 'cam'"):
        mark_dropped(frame, key="cam", timestamp="at", max_age_s=5, unless=F.lit(False), payload="")


def counted(spark: SparkSession) -> DataFrame:
    rows: list[Any] = [
        ([1], None, None),
        ([], None, None),
        (None, ("truncated", "x"), None),
        (None, ("null_input", "x"), "stale"),
        (None, ("null_input", "x"), "superseded"),
        (None, ("null_input", "x"), "stale"),
    ]
    schema = "found array<int>, error struct<code:string,message:string>, dropped string"
    return spark.createDataFrame(rows, schema)


def test_counts_tell_dropped_from_failed(spark: SparkSession) -> None:
    counts, _ = measure_results(counted(spark), "found")

    assert counts.summary("frames", "detected") == (
        "frames in 6, detected 1, failed 1 (truncated 1), dropped 3 (stale 2, superseded 1), "
        "nothing in 1"
    )


def test_what_was_lost_before_it_was_read_did_not_come_in() -> None:
    dropped = Counter(stale=2, lost_with_topic=6)

    counts = Counts(rows=5, with_result=1, failed=Counter(truncated=1), dropped=dropped)

    assert counts.summary("frames", "detected") == (
        "frames in 5, detected 1, failed 1 (truncated 1), dropped 2 (stale 2), nothing in 1, "
        "lost 6 (lost_with_topic 6)"
    )


def test_sinks_get_what_was_not_dropped_and_a_failing_sink_fails_the_batch(
    spark: SparkSession,
) -> None:
    got: list[Any] = []

    def collect(results: DataFrame, batch_id: int) -> None:
        got.append((batch_id, results.columns, results.count()))

    def fail(results: DataFrame, batch_id: int) -> None:
        raise OSError("disk full")

    run_batch(counted(spark), 7, {"a": collect, "b": collect}, value="found")
    with pytest.raises(OSError, match="disk full"):
        run_batch(counted(spark), 8, {"a": fail}, value="found")

    assert got == [(7, ["found", "error"], 3)] * 2
