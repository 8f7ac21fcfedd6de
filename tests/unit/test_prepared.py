"""A transformation that is made once does the same to every frame of the same columns."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.spark.prepared import prepared

SCHEMA = "n int, text string"


def frame(spark: SparkSession, *rows: tuple[int | None, str | None]) -> DataFrame:
    return spark.createDataFrame(list(rows), SCHEMA)


def doubled(rows: DataFrame) -> DataFrame:
    twice = rows.withColumn("twice", F.col("n") * 2).where(F.col("text").isNotNull())
    return twice.select(*[name for name in rows.columns if name != "text"], "twice")


def test_later_frames_get_what_the_first_one_got(spark: SparkSession) -> None:
    calls: list[list[str]] = []

    def noted(rows: DataFrame) -> DataFrame:
        calls.append(rows.columns)
        return doubled(rows)

    transform = prepared(noted)
    batches = (
        frame(spark, (1, "a"), (2, None)),
        frame(spark, (3, "b"), (None, "c")),
        frame(spark),
    )

    for batch in batches:
        assert_df_equality(transform(batch), doubled(batch))
    assert calls == [["n", "text"]]


def test_what_is_bound_to_one_frame_is_refused(spark: SparkSession) -> None:
    other = frame(spark, (1, "a"))
    rows = frame(spark, (1, "a"))

    with pytest.raises(TypeError, match=r"column text .* use F\.col"):
        prepared(lambda one: one.where(one.text.isNotNull()))(rows)
    with pytest.raises(TypeError, match="union of two frames cannot be prepared"):
        prepared(lambda one: one.union(one.where("n > 1")))(rows)
    assert prepared(lambda one: one.crossJoin(other.select("text")))(rows).count() == 1
