"""DataFrame -> DataFrame: expected rows stand beside the input."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.transformations import (
    explode_detections,
    explode_predictions,
    flatten_result,
    mark_dropped,
    newest_per_key,
    split_failed,
)

pytestmark = pytest.mark.every_spark

CAT = (16, "cat", 0.5, 0.0, 0.25, 0.5, 1.0)
DOG = (17, "dog", 0.75, 0.5, 0.5, 1.0, 1.0)
TRUNCATED = ("truncated", "JPEG: image file is truncated")


def detections(found: Any, error: Any = None) -> tuple[Any, ...]:
    return (found, 640, 480, "demo", "ab12", "cd34", error, None)


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
    rows = [("a", ([(3, "x", 0.5), (1, "y", 0.25)], 4, 4, "m", "s", "d", None, None))]
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
        "warnings",
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


@pytest.fixture(scope="module")
def classified(spark: SparkSession) -> DataFrame:
    rows = [("a", ([(3, "x", 0.5)], 4, 5, "m", "s", "d", None, None))]
    return spark.createDataFrame(rows, schema_of("origin string", schemas.PREDICTIONS))


@pytest.mark.parametrize(
    ("call", "there", "message"),
    [
        (flatten_result, ["width"], "flatten_result: the column 'width' would be there twice"),
        (flatten_result, ["error", "model"], "the columns 'error', 'model' would be there twice"),
        (flatten_result, ["Predictions"], "'Predictions' would be there twice"),
        (flatten_result, ["warnings"], "'warnings' would be there twice"),
        (explode_predictions, ["label"], "explode_predictions: the column 'label' would be"),
        (explode_predictions, ["Label", "RANK"], "the columns 'Label', 'RANK' would be there"),
        (explode_predictions, ["class_id"], r"as explode_predictions\(df, prefix='found_'\)"),
    ],
)
def test_a_column_that_would_be_there_twice_is_named(
    call: Any, there: list[str], message: str, classified: DataFrame
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        call(classified.withColumns({name: F.lit(1) for name in there}))


def test_explode_detections_names_the_column_that_would_be_there_twice(results: DataFrame) -> None:
    with pytest.raises(InvalidOptionError, match="the columns 'Score', 'xmin' would be"):
        explode_detections(results.withColumns({"Score": F.lit(1), "xmin": F.lit(2)}))


def test_a_prefix_that_gives_a_name_that_is_there_is_refused(classified: DataFrame) -> None:
    there = classified.withColumn("Found_Label", F.lit("mine"))
    with pytest.raises(InvalidOptionError, match="'Found_Label' would be .*prefix='new_'"):
        explode_predictions(there, prefix="found_")


def test_with_a_prefix_both_columns_of_a_name_are_written_and_read_back(
    classified: DataFrame, results: DataFrame, tmp_path: Path
) -> None:
    mine = {"label": F.lit("mine"), "width": F.lit(1), "error": F.lit("own"), "Rank": F.lit(9)}
    exploded = classified.withColumns(mine).transform(explode_predictions, prefix="found_")
    flat = results.withColumns(mine).transform(flatten_result, prefix="found_")
    objects = results.withColumns(mine).transform(explode_detections, prefix="found_")
    assert exploded.columns == [
        *("origin", "label", "width", "error", "Rank"),
        *("found_rank", "found_class_id", "found_label", "found_score"),
    ]
    session = classified.sparkSession
    for name, df in (("exploded", exploded), ("flat", flat), ("objects", objects)):
        df.write.parquet(str(tmp_path / name))
    read = {
        name: session.read.parquet(str(tmp_path / name)).collect()
        for name in ("exploded", "flat", "objects")
    }
    assert [(row["label"], row["found_label"]) for row in read["exploded"]] == [("mine", "x")]
    assert [row["found_rank"] for row in read["exploded"]] == [1]
    assert {(row["width"], row["found_width"]) for row in read["flat"]} == {(1, 640)}
    assert {row["error"] for row in read["flat"]} == {"own"}
    assert [row["found_label"] for row in read["objects"]] == ["dog", "cat"]


def test_names_that_differ_by_case_are_two_where_spark_says_so(classified: DataFrame) -> None:
    session = classified.sparkSession
    session.conf.set("spark.sql.caseSensitive", "true")
    try:
        exploded = classified.withColumn("Label", F.lit("mine")).transform(explode_predictions)
        (row,) = exploded.collect()
        with pytest.raises(InvalidOptionError, match="'label' would be there twice"):
            explode_predictions(classified.withColumn("label", F.lit("mine")))
    finally:
        session.conf.unset("spark.sql.caseSensitive")
    assert (row["Label"], row["label"]) == ("mine", "x")


def test_columns_with_the_names_of_those_on_the_way_are_kept(classified: DataFrame) -> None:
    mine = {"_position": F.lit("p"), "_item": F.lit("i"), "_rank": F.lit("r")}
    (row,) = classified.withColumns(mine).transform(explode_predictions).collect()
    assert (row["_position"], row["_item"], row["_rank"], row["label"]) == ("p", "i", "r", "x")
    (row,) = classified.withColumns(mine).transform(newest_per_key, "origin", "_item").collect()
    assert row["_rank"] == "r"


def frames(spark: SparkSession) -> DataFrame:
    at = datetime(2026, 1, 1, 12, 0, 0)
    return spark.createDataFrame(
        [("door", at, "o", "v", "mine", "own")],
        "camera string, at timestamp, origin string, value string, _stale string, _rank string",
    )


def marked(df: DataFrame) -> DataFrame:
    return mark_dropped(
        df, key="camera", timestamp="at", max_age_s=1, unless=F.lit(False), payload="value"
    )


def test_mark_dropped_keeps_columns_with_the_names_of_its_own(spark: SparkSession) -> None:
    (row,) = marked(frames(spark)).collect()
    assert (row["_stale"], row["_rank"], row["dropped"]) == ("mine", "own", "stale")


def test_mark_dropped_does_not_replace_a_column_dropped(spark: SparkSession) -> None:
    with pytest.raises(InvalidOptionError, match="'Dropped' is there already: rename or drop"):
        marked(frames(spark).withColumn("Dropped", F.lit("mine")))
