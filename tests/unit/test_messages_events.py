"""The course's messages, in all their variants, become rows of one table or errors."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from chispa import assert_df_equality
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages import events
from pyspark_vision.messages.events import EventFormat
from pyspark_vision.streaming.counts import Counts, measure_results

RECEIVED = dt.datetime(2026, 11, 21, 8, 0, 0, 123000)
RECORDS = (
    "origin string, key binary, value binary, topic string, partition int, offset bigint, "
    "received timestamp"
)
TABLE = (
    "raw_event string, timestamp timestamp, Accept string, Host string, User_Agent string, "
    "Cache_Control string, event_type string, description string, metadata string, "
    "kafka_topic string, kafka_partition int, kafka_offset bigint"
)
FIELDS = ("Accept", "Host", "User_Agent", "Cache_Control", "event_type", "description", "metadata")


def records(spark: SparkSession, *values: bytes | None) -> DataFrame:
    rows = [
        (f"kafka:events/0/{i}", None, None if v is None else bytearray(v), "events", 0, i, RECEIVED)
        for i, v in enumerate(values)
    ]
    return spark.createDataFrame(rows, RECORDS)


def expected(spark: SparkSession, *rows: tuple[str, dict[str, str]]) -> DataFrame:
    """Rows of a raw event and its fields that are not null, at offsets 0, 1, …"""
    whole = [
        (raw, RECEIVED, *(fields.get(name) for name in FIELDS), "events", 0, offset)
        for offset, (raw, fields) in enumerate(rows)
    ]
    return spark.createDataFrame(whole, TABLE)


def table(spark: SparkSession, *values: bytes | None, **how: Any) -> DataFrame:
    return events.table(events.read_events(records(spark, *values), EventFormat(**how)))


def column(df: DataFrame, name: str) -> list[Any]:
    return [row[0] for row in df.orderBy("kafka_offset").select(name).collect()]


def test_every_variant_of_the_course_is_a_row_of_one_table(spark: SparkSession) -> None:
    variants: list[tuple[str, dict[str, str]]] = [
        ("default", {"event_type": "default"}),
        ("purchased_sword", {"event_type": "purchased_sword"}),
        ('{"event_type": "default"}', {"event_type": "default"}),
        ('{"event_type": "purchase_sword"}', {"event_type": "purchase_sword"}),
        (
            '{"Host": "localhost:5000", "event_type": "purchase_sword", "Accept": "*/*", '
            '"User-Agent": "curl/7.47.0"}',
            {
                "Host": "localhost:5000",
                "event_type": "purchase_sword",
                "Accept": "*/*",
                "User_Agent": "curl/7.47.0",
            },
        ),
        (
            '{"Host": "user1.comcast.com", "User-Agent": "ApacheBench/2.3", "event_type": '
            '"purchase_knife", "description": "very sharp knife", "Accept": "*/*", '
            '"Cache-Control": "no-cache"}',
            {
                "Host": "user1.comcast.com",
                "User_Agent": "ApacheBench/2.3",
                "event_type": "purchase_knife",
                "description": "very sharp knife",
                "Accept": "*/*",
                "Cache_Control": "no-cache",
            },
        ),
        (
            '{"event_type": "join_guild", "metadata": {"guild": "thieves", "members": [1, 2]}}',
            {"event_type": "join_guild", "metadata": '{"guild":"thieves","members":[1,2]}'},
        ),
    ]

    found = table(spark, *(raw.encode() for raw, _ in variants))

    assert_df_equality(found, expected(spark, *variants), ignore_nullable=True)


def test_a_missing_field_is_null_and_a_new_one_is_in_raw_event(spark: SparkSession) -> None:
    raw = '{"event_type": "default", "Host": null, "mood": "good"}'

    found = table(spark, raw.encode(), b"{}")

    assert_df_equality(
        found, expected(spark, (raw, {"event_type": "default"}), ("{}", {})), ignore_nullable=True
    )


def test_raw_event_is_exactly_what_came(spark: SparkSession) -> None:
    sent = ['\t{"event_type" : "d\u00e9",\r\n "n": 1.500}\n', " default\n", '{"a":1,"a":2}']

    found = table(spark, *(text.encode() for text in sent))

    assert column(found, "raw_event") == sent
    assert column(found, "event_type") == ["dé", "default", None]


def test_a_value_that_is_no_text_is_its_json_text(spark: SparkSession) -> None:
    values = {
        b'{"metadata": {"a": [1, true, null, "x"]}}': '{"a":[1,true,null,"x"]}',
        b'{"metadata": []}': "[]",
        b'{"metadata": 12345678901234567890123}': "12345678901234567890123",
        b'{"metadata": false}': "false",
        b'{"metadata": ""}': "",
        b'{"metadata": null}': None,
    }

    found = table(spark, *values)

    assert column(found, "metadata") == list(values.values())


def test_field_names_have_their_case(spark: SparkSession) -> None:
    found = table(spark, b'{"host": "a", "HOST": "b", "EVENT_TYPE": "c"}')

    assert column(found, "Host") == [None]
    assert column(found, "event_type") == [None]


def object_of(length: int) -> bytes:
    """An event of so many bytes."""
    around = len(b'{"event_type": ""}')
    return b'{"event_type": "' + b"x" * (length - around) + b'"}'


LIMIT = 20_000
MESSAGES: list[tuple[bytes | None, str | None]] = [
    (None, "null_input"),
    (b"", "empty_input"),
    (b" \n", "bad_message"),
    (b"[]", "bad_message"),
    (b"[[]]", "bad_message"),
    (b"\0", "bad_message"),
    (b'{"event_type": "d\xff"}', "bad_message"),
    (b"defa\xfflt", "bad_message"),
    ('{"event_type": "default"}'.encode("utf-16"), "bad_message"),
    (b'{"event_type": "default"', "bad_message"),
    (b'{"event_type": "default}', "bad_message"),
    (b'{"event_type": }', "bad_message"),
    (b'{"event_type": "default",}', "bad_message"),
    (b"{'event_type': 'default'}", "bad_message"),
    (b'{"event_type": "default"} and more', "bad_message"),
    (b'{"event_type": "default"}{"event_type": "other"}', "bad_message"),
    (b'{"event_type": "default"}, {"event_type": "other"}', "bad_message"),
    (b'{"event_type": "default"}], [{}', "bad_message"),
    (b'{"event_type": "default"}, "x": {}', "bad_message"),
    (b'[{"event_type": "default"}]', "bad_message"),
    (b'"default"', "bad_message"),
    (b"7", "bad_message"),
    (b"-1.5e3", "bad_message"),
    (b"null", "bad_message"),
    (b"true", "bad_message"),
    (b"two words", "bad_message"),
    (b"default\ndefault", "bad_message"),
    (b"purchase-sword", "bad_message"),
    (b"7swords", "bad_message"),
    (b'{"x":' * 2000 + b"1" + b"}" * 2000, "bad_message"),
    (object_of(LIMIT + 1), "too_many_bytes"),
    (b"x" * (LIMIT + 1), "too_many_bytes"),
    (object_of(LIMIT), None),
    (b"x" * LIMIT, None),
]
"""Messages, and the codes that they get."""


def test_what_is_no_event_has_an_error_and_no_row(spark: SparkSession) -> None:
    sent = [message for message, _ in MESSAGES]
    read = events.read_events(records(spark, *sent), EventFormat(max_message_bytes=LIMIT)).cache()

    codes = [row.code for row in read.orderBy("offset").select("error.code").collect()]

    assert list(zip(sent, codes, strict=True)) == MESSAGES
    good = [offset for offset, (_, code) in enumerate(MESSAGES) if code is None]
    assert column(events.table(read), "kafka_offset") == good
    read.unpersist()


def test_a_replaced_field_has_its_value_in_every_event(spark: SparkSession) -> None:
    sent = [b"default", b'{"Host": "a", "event_type": "x"}', b'{"event_type": "y"}', b"{", None]

    found = table(spark, *sent, replaced={"Host": "moe", "Cache-Control": ""})

    assert column(found, "Host") == ["moe"] * 3
    assert column(found, "Cache_Control") == [""] * 3
    assert column(found, "event_type") == ["default", "x", "y"]
    assert column(found, "raw_event") == [message.decode() for message in sent[:3] if message]


def test_a_replaced_event_type_counts_for_the_choice_of_types(spark: SparkSession) -> None:
    read = events.read_events(
        records(spark, b"default", b"{}"), EventFormat(replaced={"event_type": "seen"})
    )

    assert events.table_of_types(read, ["seen"]).count() == 2
    assert events.table_of_types(read, ["default"]).count() == 0


def test_events_are_chosen_by_their_exact_type(spark: SparkSession) -> None:
    sent = [b"purchased_sword", b'{"event_type": "purchase_sword"}', b"Purchased_Sword", b"{}", b""]
    read = events.read_events(records(spark, *sent), EventFormat())

    chosen = events.table_of_types(read, ["purchase_sword", "purchased_sword"])

    assert column(chosen, "kafka_offset") == [0, 1]
    assert chosen.schema == events.table(read).schema


def test_no_records_are_no_rows_of_the_same_columns(spark: SparkSession) -> None:
    assert_df_equality(table(spark), expected(spark), ignore_nullable=True)


def test_chosen_fields_become_columns_with_names_that_need_no_quotes(spark: SparkSession) -> None:
    message = b'{"event_type": "x", "X-Forwarded.For": "a", "`q`": "b", "\xc3\xa9": "c"}'

    found = table(spark, message, fields=("X-Forwarded.For", "`q`", "é"))

    assert found.columns[2:-3] == ["X_Forwarded_For", "_q_", "_", "event_type"]
    assert found.select("X_Forwarded_For", "_q_", "_", "event_type").first() == ("a", "b", "c", "x")


def test_hives_parser_takes_every_column_but_timestamp_without_quotes(spark: SparkSession) -> None:
    hive: Any = spark._jvm
    parser = hive.org.apache.hadoop.hive.ql.parse.ParseDriver()
    names = [name for name in table(spark).columns if name != "timestamp"]

    parser.parse(f"select {', '.join(names)}, `timestamp` from extracted_events")

    with pytest.raises(Py4JJavaError, match="ParseException"):
        parser.parse("select timestamp from extracted_events")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"fields": ("User-Agent", "user_agent")}, "as is field User-Agent"),
        ({"fields": ("Host", "Host")}, "as is field Host"),
        ({"fields": ("Event-Type",)}, "as is field Event-Type"),
        ({"fields": ("Timestamp",)}, "as is the column timestamp of every table"),
        ({"fields": ("batch_id",)}, "as is the column batch_id of every table"),
        ({"fields": ("",)}, "a field's name is empty"),
        ({"replaced": {"host": "moe"}}, "cannot set host: .* these are Accept, Host, User-Agent"),
    ],
)
def test_fields_that_cannot_be_columns_are_refused(how: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        EventFormat(**how)


def test_events_and_errors_are_counted(spark: SparkSession) -> None:
    sent = [b"default", b"{}", b"", b"[", b"{"]
    read = events.read_events(records(spark, *sent), EventFormat())

    counts, _ = measure_results(read, "event")

    assert counts == Counts(5, 2, counts.failed)
    assert counts.summary("messages", "events") == (
        "messages in 5, events 2, failed 3 (bad_message 2, empty_input 1)"
    )
