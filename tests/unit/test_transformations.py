"""DataFrame -> DataFrame: expected rows stand beside the input."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision import schemas
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.transformations import (
    explode_detections,
    explode_predictions,
    flatten_result,
    newest_per_key,
    split_failed,
)

CAT = (16, "cat", 0.5, 0.0, 0.25, 0.5, 1.0)
DOG = (17, "dog", 0.75, 0.5, 0.5, 1.0, 1.0)
TRUNCATED = ("truncated", "JPEG: image file is truncated")


def detections(found: Any, error: Any = None) -> tuple[Any, ...]:
    return (found, 640, 480, "demo", "ab12", "cd34", error)


@pytest.fixture(scope="module")
def results(spark: SparkSession) -> DataFrame:
    rows = [
        ("two", detections([DOG, CAT])),
        ("none", detections([])),
        ("bad", detections(None, TRUNCATED)),
    ]
    return spark.createDataFrame(rows, schema_of("origin string", schemas.DETECTIONS))


def schema_of(first: str, result: Any) -> str:
    return f"{first}, result {result.simpleString()}"


def test_explode_detections_gives_one_row_per_object(
    spark: SparkSession, results: DataFrame
) -> None:
    expected = spark.createDataFrame(
        [("two", *DOG), ("two", *CAT)],
        "origin string, class_id int, label string, score float, xmin float, ymin float, "
        "xmax float, ymax float",
    )

    exploded = results.transform(explode_detections)

    assert_df_equality(exploded, expected, ignore_nullable=True)


def test_explode_detections_can_keep_images_without_objects(results: DataFrame) -> None:
    exploded = results.transform(explode_detections, keep_empty=True)

    rows = [(row["origin"], row["label"]) for row in exploded.collect()]
    assert rows == [("two", "dog"), ("two", "cat"), ("none", None), ("bad", None)]


def test_explode_predictions_ranks_classes_from_one(spark: SparkSession) -> None:
    rows = [("a", ([(3, "x", 0.5), (1, "y", 0.25)], 4, 4, "m", "s", None))]
    df = spark.createDataFrame(rows, schema_of("origin string", schemas.PREDICTIONS))
    expected = spark.createDataFrame(
        [("a", 1, 3, "x", 0.5), ("a", 2, 1, "y", 0.25)],
        "origin string, rank int, class_id int, label string, score float",
    )

    exploded = df.transform(explode_predictions)

    assert_df_equality(exploded, expected, ignore_nullable=True)


def test_explode_of_no_rows_is_empty(results: DataFrame) -> None:
    assert results.limit(0).transform(explode_detections).collect() == []


def test_split_failed_puts_each_row_into_one_half(results: DataFrame) -> None:
    good, bad = split_failed(results)

    assert [row["origin"] for row in good.collect()] == ["two", "none"]
    assert [row["origin"] for row in bad.collect()] == ["bad"]


def test_split_failed_takes_flat_results(results: DataFrame) -> None:
    good, bad = split_failed(results.transform(flatten_result), "error")

    assert [row["origin"] for row in good.collect()] == ["two", "none"]
    assert [row["error"]["code"] for row in bad.collect()] == ["truncated"]


def test_flatten_result_keeps_all_other_columns(results: DataFrame) -> None:
    flat = results.transform(flatten_result)

    assert flat.columns == [
        "origin",
        "detections",
        "width",
        "height",
        "model",
        "model_sha256",
        "model_digest",
        "error",
    ]
    assert flat.count() == 3


def test_newest_per_key_keeps_the_latest_row_of_each_key(spark: SparkSession) -> None:
    schema = "camera string, at timestamp, frame int"
    rows = [
        ("door", datetime(2026, 1, 1, 12, 0, 0), 1),
        ("door", datetime(2026, 1, 1, 12, 0, 3), 2),
        ("door", None, 3),
        ("gate", None, 4),
        (None, datetime(2026, 1, 1, 12, 0, 1), 5),
    ]
    expected = [rows[4], rows[1], rows[3]]

    newest = spark.createDataFrame(rows, schema).transform(newest_per_key, "camera", "at")

    assert_df_equality(
        newest, spark.createDataFrame(expected, schema), ignore_row_order=True, ignore_nullable=True
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda df: explode_detections(df, "nope"), "no column 'nope'; there are origin, result"),
        (lambda df: explode_detections(df, "origin"), "'origin' is string; it must be the struct"),
        (lambda df: explode_predictions(df), "holds detections, not predictions"),
        (lambda df: split_failed(df, "origin"), "'origin' is string; .*'error'"),
        (lambda df: newest_per_key(df, "origin", "at"), "no column 'at'"),
    ],
)
def test_a_wrong_column_names_what_is_there(call: Any, message: str, results: DataFrame) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        call(results)
