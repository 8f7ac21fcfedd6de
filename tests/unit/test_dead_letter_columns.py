"""Dead letters: failed rows only, what came in unchanged, the same through Kafka and back."""

from __future__ import annotations

import datetime as dt
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sinks import dead_letters

RECEIVED = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000)

# Of the model's file, and of the model.
SHAS = ("ab", "cd")


def results(spark: SparkSession) -> DataFrame:
    rows: list[Any] = [
        ("kafka:t/0/1", b"k", b"good", "t", 0, 1, RECEIVED, None, "m", *SHAS),
        (
            "kafka:t/0/2",
            None,
            b"\xff\x00",
            "t",
            0,
            2,
            RECEIVED,
            ("truncated", "cut"),
            "m",
            "ab",
            "cd",
        ),
        ("kafka:t/1/3", b"", None, "t", 1, 3, RECEIVED, ("null_input", "none"), "m", *SHAS),
    ]
    return spark.createDataFrame(
        rows,
        "origin string, key binary, value binary, topic string, partition int, offset long, "
        "received timestamp, error struct<code:string,message:string>, model string, "
        "model_sha256 string, model_digest string",
    )


def expected(spark: SparkSession) -> DataFrame:
    head = [
        (
            b"\xff\x00",
            None,
            "kafka:t/0/2",
            "t",
            0,
            2,
            RECEIVED,
            "truncated",
            "cut",
            "m",
            "ab",
            "cd",
        ),
        (None, b"", "kafka:t/1/3", "t", 1, 3, RECEIVED, "null_input", "none", "m", *SHAS),
    ]
    return spark.createDataFrame(head, dead_letters.LETTER)


def test_failed_rows_alone_become_letters_with_what_came_in(spark: SparkSession) -> None:
    kept = dead_letters.with_payload_if_failed(results(spark), "value").drop("value")

    assert_df_equality(dead_letters.letters(kept), expected(spark), ignore_nullable=True)


def test_the_payload_of_good_rows_is_not_kept(spark: SparkSession) -> None:
    kept = dead_letters.with_payload_if_failed(results(spark), "value")

    assert [row.payload for row in kept.where("error IS NULL").collect()] == [None]


def test_letters_come_back_from_a_topic_as_they_went(spark: SparkSession) -> None:
    kept = dead_letters.with_payload_if_failed(results(spark), "value").drop("value")

    records = dead_letters.to_records(dead_letters.letters(kept))

    assert records.columns == ["key", "value", "headers"]
    assert_df_equality(dead_letters.from_records(records), expected(spark), ignore_nullable=True)


def test_the_time_of_a_letter_is_the_same_in_another_time_zone(spark: SparkSession) -> None:
    kept = dead_letters.with_payload_if_failed(results(spark), "value").drop("value")
    zone: Any = spark.conf.get("spark.sql.session.timeZone")
    records = dead_letters.to_records(dead_letters.letters(kept)).collect()
    schema = "key binary, value binary, headers array<struct<key:string,value:binary>>"

    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        back = dead_letters.from_records(spark.createDataFrame(records, schema))
        seconds = [row[0] for row in back.selectExpr("unix_micros(timestamp)").collect()]
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)

    assert seconds == [int(RECEIVED.astimezone().timestamp() * 1e6)] * 2


def test_files_give_letters_without_a_topic(spark: SparkSession) -> None:
    rows = [("file:/a.jpg", b"x", RECEIVED, ("undecodable", "bad"), "m", "ab")]
    failed = spark.createDataFrame(
        rows,
        "origin string, payload binary, received timestamp, "
        "error struct<code:string,message:string>, model string, model_sha256 string",
    )

    [letter] = dead_letters.letters(failed).collect()

    assert (letter.origin, letter.topic, letter.offset) == ("file:/a.jpg", None, None)
    assert bytes(letter.payload) == b"x"
