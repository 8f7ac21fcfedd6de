"""Dead letters: failed rows only, what came in unchanged, the same through Kafka and back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.messages.record_headers import of_attributes
from pyspark_vision.sinks import dead_letters

RECEIVED = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000)

# Of the model's file, and of the model.
SHAS = ("ab", "cd")
RESULT = (
    "origin string, key binary, value binary, topic string, partition int, offset long, "
    "received timestamp, error struct<code:string,message:string>, model string, "
    "model_sha256 string, model_digest string"
)


def results(spark: SparkSession) -> DataFrame:
    rows: list[Any] = [
        ("kafka:t/0/1", b"k", b"good", "t", 0, 1, RECEIVED, None, "m", *SHAS),
        ("kafka:t/0/2", None, b"\xff\x00", "t", 0, 2, RECEIVED, ("truncated", "cut"), "m", *SHAS),
        ("kafka:t/1/3", b"", None, "t", 1, 3, RECEIVED, ("null_input", "none"), "m", *SHAS),
    ]
    return spark.createDataFrame(rows, RESULT)


def expected(spark: SparkSession) -> DataFrame:
    head = [
        (b"\xff\x00", None, "kafka:t/0/2", "t", 0, 2, RECEIVED, "truncated", "cut", "m", *SHAS),
        (None, b"", "kafka:t/1/3", "t", 1, 3, RECEIVED, "null_input", "none", "m", *SHAS),
    ]
    of_no_subscription = [(*letter, None) for letter in head]
    return spark.createDataFrame(of_no_subscription, dead_letters.LETTER)


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
    back = dead_letters.from_records(records).drop("payload_left_out", "headers")
    assert_df_equality(back, expected(spark), ignore_nullable=True)


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


@pytest.mark.parametrize(
    ("max_bytes", "key_bytes", "message_chars", "left_out"),
    [
        (3000, 300, 1000, {}),
        (2000, 300, 1000, {"payload_left_out": 900}),
        (1700, None, 200, {"payload_left_out": 900, "key_left_out": 300}),
    ],
)
def test_a_letter_leaves_out_what_its_topic_does_not_take_and_says_how_much(
    max_bytes: int,
    key_bytes: int | None,
    message_chars: int,
    left_out: dict[str, int],
    spark: SparkSession,
) -> None:
    error = ("truncated", "m" * 1000)
    row = ("kafka:t/0/1", b"k" * 300, b"v" * 900, "t", 0, 1, RECEIVED, error, "m", *SHAS)
    letter = dead_letters.letters(
        dead_letters.with_payload_if_failed(spark.createDataFrame([row], RESULT), "value")
    )

    [record] = dead_letters.to_records(letter, max_bytes).collect()

    headers = {
        header.key.removeprefix("pyspark_vision."): bytes(header.value).decode()
        for header in record.headers
    }
    assert {name: int(headers[name]) for name in headers if "left_out" in name} == left_out
    assert (record.value is None) == ("payload_left_out" in left_out)
    assert (record.key and len(record.key)) == key_bytes
    assert len(headers["error_message"]) == message_chars


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


def test_headers_that_a_job_read_go_with_the_letter_and_come_back_without_its_own(
    spark: SparkSession,
) -> None:
    own = [("trace", b"1"), ("pyspark_vision.replay_of", b"kafka:t/0/1"), ("none", None)]
    given = F.array(*(F.struct(F.lit(k), F.lit(v)) for k, v in own)).cast(dead_letters.HEADERS_TYPE)
    # The second failed row has none.
    headers = F.when(F.col("offset") < 3, given)
    read = results(spark).withColumn("headers", headers)
    kept = dead_letters.with_payload_if_failed(read, "value").drop("value")

    letters = dead_letters.letters(kept)
    records = dead_letters.to_records(letters)
    back = dead_letters.from_records(records).orderBy("offset").collect()
    [small, _] = dead_letters.to_records(letters, 500).collect()

    assert kept.where("error IS NULL").select("headers").collect() == [(None,)]
    assert [tuple(one) for one in back[0].headers] == [("trace", b"1"), ("none", None)]
    assert back[1].headers == []
    assert back[0].error_code == "truncated"
    # Of a topic that takes little, what says why it failed comes first.
    assert {one.key.split(".")[0] for one in small.headers} == {"pyspark_vision"}


def test_a_letter_of_pubsub_has_its_subscription_and_its_attributes_as_headers(
    spark: SparkSession,
) -> None:
    sub = "projects/p/subscriptions/s"
    with_attributes = results(spark).selectExpr(
        "*", f"'{sub}' AS subscription", "map('eventType', 'ü', 'none', null) AS attributes"
    )
    headers = of_attributes(F.col("attributes"))
    kept = dead_letters.with_payload_if_failed(
        with_attributes.withColumn("headers", headers).drop("attributes"), "value"
    )

    letters = dead_letters.letters(kept)
    back = dead_letters.from_records(dead_letters.to_records(letters)).collect()

    for letter in (*letters.collect(), *back):
        assert letter.subscription == sub
        assert [tuple(one) for one in letter.headers] == [
            ("eventType", "ü".encode()), ("none", None),
        ]  # fmt: skip
