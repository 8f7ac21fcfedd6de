"""A batch is computed once, whoever reads its results."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sinks import OfFailures, Sink
from pyspark_vision.streaming.counts import Counts, Measures, measure_results
from pyspark_vision.streaming.metrics import StreamMetrics
from pyspark_vision.streaming.micro_batch import compute_batch
from pyspark_vision.streaming.running_stream import RunningStream
from pyspark_vision.streaming.signals import StopRequest

ROWS = 3
SCHEMA = "found array<int>, error struct<code:string,message:string>"


def sink(results: DataFrame, batch_id: int) -> None:
    results.write.format("noop").mode("overwrite").save()


def counted_elsewhere(results: DataFrame) -> tuple[Counts, Measures]:
    return Counts(rows=ROWS), Measures()


@pytest.mark.parametrize(
    ("sinks", "measure", "reads"),
    [
        (1, counted_elsewhere, False),
        (2, counted_elsewhere, False),
        (1, lambda results: measure_results(results, "found"), True),
    ],
)
def test_a_batch_is_computed_once_whoever_reads_its_results(
    sinks: int,
    measure: Callable[[DataFrame], tuple[Counts, Measures]],
    reads: bool,
    spark: SparkSession,
) -> None:
    computed = spark.sparkContext.accumulator(0)

    def infer(number: int) -> tuple[list[int], None]:
        computed.add(1)
        return [number], None

    results = spark.createDataFrame(spark.sparkContext.parallelize(range(ROWS)).map(infer), SCHEMA)

    report = compute_batch(
        results,
        0,
        sinks={str(number): sink for number in range(sinks)},
        measure=measure,
        reads=reads,
    )

    assert computed.value == ROWS
    assert report.counts.rows == ROWS
    assert not results.is_cached


@pytest.mark.parametrize(
    ("sinks", "expected"),
    [("", ["counted"]), ("a", ["a", "counted"]), ("ab", ["a", "counted", "b"])],
)
def test_a_batch_is_counted_once_and_before_its_second_sink(
    sinks: str, expected: list[str], spark: SparkSession
) -> None:
    """What a lost executor had for the second is computed, and would be counted, again."""
    done: list[str] = []

    def noting(name: str) -> Sink:
        return lambda results, batch_id: done.append(name)

    def measure(results: DataFrame) -> tuple[Counts, Measures]:
        done.append("counted")
        return Counts(rows=1), Measures()

    compute_batch(
        spark.range(1),
        0,
        sinks={name: noting(name) for name in sinks},
        measure=measure,
        reads=False,
    )

    assert done == expected


@pytest.mark.parametrize(
    ("failed", "expected"),
    [({}, ["results", "all"]), ({"truncated": 1}, ["results", "letters", "all"])],
)
def test_a_sink_of_failures_is_not_called_for_a_batch_without_one(
    failed: dict[str, int], expected: list[str], spark: SparkSession
) -> None:
    done: list[str] = []
    sinks: dict[str, Sink] = {
        "results": lambda results, batch_id: done.append("results"),
        "letters": OfFailures(lambda results, batch_id: done.append("letters")),
        "all": lambda results, batch_id: done.append("all"),
    }

    compute_batch(
        spark.range(1),
        0,
        sinks=sinks,
        measure=lambda results: (Counts(rows=1, failed=Counter(failed)), Measures()),
        reads=False,
    )

    assert done == expected


def test_a_row_that_a_table_refuses_is_a_failure_and_has_its_letter(spark: SparkSession) -> None:
    done: list[str] = []
    sinks: dict[str, Sink] = {
        "table": sink,
        "letters": OfFailures(lambda results, batch_id: done.append("letters")),
    }
    rows = [([1], None, None), ([2], None, "label is null"), ([3], None, None)]
    rows += [([], ("truncated", ""), "label is null"), ([], None, None)]  # type: ignore[list-item]
    results = spark.createDataFrame(rows, f"{SCHEMA}, refused string")

    report = compute_batch(
        results, 0, sinks=sinks, measure=lambda results: measure_results(results, "found")
    )

    assert done == ["letters"]
    assert report.counts == Counts(
        rows=5, with_result=2, failed=Counter({"table_refused": 1, "truncated": 1})
    )
    assert report.counts.without_result == 1


def test_a_sink_of_failures_that_is_the_first_one_is_called(spark: SparkSession) -> None:
    """It is what has the batch computed, and counted."""
    done: list[int] = []
    sinks = {"letters": OfFailures(lambda results, batch_id: done.append(batch_id))}

    compute_batch(
        spark.range(1),
        7,
        sinks=sinks,
        measure=lambda results: (Counts(rows=1), Measures()),
        reads=False,
    )

    assert done == [7]


def test_the_backlog_is_what_is_left_behind_a_batch(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    batch = spark.createDataFrame([([1], None)] * ROWS, SCHEMA)
    kafka = {"latestOffset": '{"frames": {"0": 30}}', "endOffset": {"frames": {"0": 10}}}
    stream = RunningStream(
        spark, StopRequest(), {}, StreamMetrics("job"), value="found", skips_lost=False
    )
    query: Any = SimpleNamespace(lastProgress={"sources": [kafka]})
    process: list[Callable[[DataFrame, int], None]] = []

    def start(batches: Callable[[DataFrame, int], None]) -> Any:
        process.append(batches)
        return query

    stream.begin(start, lambda records: records, lambda: True)
    with caplog.at_level(logging.INFO, "pyspark_vision.streaming"):
        process[0](batch, 0)

    [line] = [json.loads(record.getMessage()) for record in caplog.records]
    assert (line["rows"], line["backlog"]) == (ROWS, 20 - ROWS)
