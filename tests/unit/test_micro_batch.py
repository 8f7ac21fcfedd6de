"""A batch is computed once, whoever reads its results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.streaming.counts import Counts, Measures, measure_results
from pyspark_vision.streaming.micro_batch import compute_batch

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
