"""Which letters of a folder were put back, whatever files they stand in by now."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.sinks.dead_letters import LETTER
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.streaming import put_back

WHEN = dt.datetime(2026, 11, 21, 8)
# The sha256 of its file, its digest; no subscription of Pub/Sub.
MODEL = ("ab", "cd", None)


def letters(
    spark: SparkSession, *offsets: int, code: str = "truncated", model: str = "m"
) -> DataFrame:
    rows = [
        (b"p", None, f"kafka:t/0/{offset}", "t", 0, offset, WHEN, code, "cut", model, *MODEL)
        for offset in offsets
    ]
    return spark.createDataFrame(rows, LETTER).coalesce(1)


def put_back_now(spark: SparkSession, folder: Path) -> list[int]:
    """What a run of `replay` finds; it notes that as done."""
    found = spark.read.parquet(str(folder / "letters"))
    known = put_back.with_identity(found.select("*", F.col("_metadata.file_path").alias("file")))
    checkpoint = str(folder / "replay")
    put_back.take_over(spark, known, checkpoint)
    fresh = put_back.not_put_back(spark, known, checkpoint).persist()
    offsets = sorted(row["offset"] for row in fresh.collect())
    put_back.remember(spark, fresh, checkpoint)
    fresh.unpersist()
    return offsets


def test_a_batch_that_is_written_again_under_another_name_is_put_back_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    sink = parquet_sink(spark, str(tmp_path / "letters"))
    sink(letters(spark, 1, 2), 0)
    first = put_back_now(spark, tmp_path)
    # Replayed with a new model, and what was transient has become something else.
    sink(letters(spark, 1, 2, code="crashed", model="n"), 0)
    sink(letters(spark, 3), 1)

    assert (first, put_back_now(spark, tmp_path)) == ([1, 2], [3])
    assert put_back_now(spark, tmp_path) == []


def test_letters_of_one_message_by_two_models_are_two(spark: SparkSession, tmp_path: Path) -> None:
    sink = parquet_sink(spark, str(tmp_path / "letters"))
    sink(letters(spark, 1), 0)
    first = put_back_now(spark, tmp_path)
    sink(letters(spark, 1, model="n"), 1)

    assert (first, put_back_now(spark, tmp_path)) == ([1], [1])


def test_letters_that_say_no_origin_are_known_by_what_came_in(
    spark: SparkSession, tmp_path: Path
) -> None:
    unknown = {"origin": F.lit(None).cast("string"), "timestamp": F.lit(None).cast("timestamp")}
    sink = parquet_sink(spark, str(tmp_path / "letters"))
    sink(letters(spark, 1, 1, 2).withColumns(unknown), 0)
    first = put_back_now(spark, tmp_path)
    sink(letters(spark, 1, 1, 2).withColumns(unknown), 0)

    assert (first, put_back_now(spark, tmp_path)) == ([1, 1, 2], [])


def test_what_an_earlier_version_has_put_back_is_not_put_back_again(
    spark: SparkSession, tmp_path: Path
) -> None:
    sink = parquet_sink(spark, str(tmp_path / "letters"))
    sink(letters(spark, 1, 2), 0)
    sink(letters(spark, 3), 1)
    stream = spark.readStream.schema(LETTER).parquet(str(tmp_path / "letters")).writeStream
    stream = stream.option("checkpointLocation", str(tmp_path / "replay")).trigger(
        availableNow=True
    )
    stream.foreachBatch(lambda batch, _: None).start().awaitTermination()
    sink(letters(spark, 1, 2), 0)  # by files these would be new
    sink(letters(spark, 4), 2)

    assert put_back_now(spark, tmp_path) == [4]
    assert put_back_now(spark, tmp_path) == []
