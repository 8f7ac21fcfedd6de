"""Messages that are not the seeds', in Spark; and what those of the seeds that are refused say."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import gzip
import json
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from schema_registries import avro, framed

from pyspark_vision import schemas
from pyspark_vision.columns.udf import vision_udf
from pyspark_vision.executor.messages.form import Field, Kind, Layer, MessageForm
from pyspark_vision.messages import (
    image_stream,
    message_forms,
    pictures,
    pycturestream,
    record_headers,
)
from pyspark_vision.messages.pycturestream import FrameFormat

HEADERS = "array<struct<key:string,value:binary>>"
RECORD = "origin string, key binary, value binary, topic string, partition int, offset long, "
RECORD += f"received timestamp, headers {HEADERS}"
RECEIVED = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000)
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(60))
TEXT = base64.b64encode(JPEG).decode()
GOOD = {"image": TEXT, "timestamp": "2026-11-21T08:00:00.5", "camera_id": "front"}
PATHS = (
    Field("image", Kind.PICTURE, ("payload", "frame", "data")),
    Field("camera_id", Kind.TEXT, ("device.id",)),
    Field("timestamp", Kind.TIMESTAMP, ("ts",)),
)


def records(
    spark: SparkSession, *values: bytes | None, headers: Any = None, key: bytes | None = None
) -> DataFrame:
    rows = [
        (f"kafka:t/0/{offset}", key, value, "t", 0, offset, RECEIVED, headers)
        for offset, value in enumerate(values)
    ]
    return spark.createDataFrame(rows, RECORD)


def frames(records: DataFrame, **how: Any) -> list[Any]:
    """Frames with their pictures, in order."""
    format = FrameFormat(**{"time_zone": "Europe/Zurich", **how})
    parsed = pycturestream.read_frames(records, format)
    parsed = parsed.withColumn("dropped", F.lit(None).cast("string"))
    return pycturestream.with_picture(parsed, format).orderBy("offset").collect()


def nested(**changed: Any) -> bytes:
    message = {"payload": {"frame": {"data": TEXT}}, "device.id": 7, "ts": 1763712000123}
    return json.dumps({**message, **changed}).encode()


@pytest.mark.every_spark
def test_frames_are_read_by_paths_with_numbers_as_ids_and_times(spark: SparkSession) -> None:
    form = MessageForm(PATHS, 1000, frozenset({Layer.GZIP}), timestamp_unit="ms", coerce=True)
    sent = (
        nested(),
        gzip.compress(nested(ts="2026-11-21T08:00:00.5")),
        nested(ts="yesterday"),
        nested(payload=None),
        None,
        b"",
        b"x" * 1001,
    )

    rows = frames(records(spark, *sent), form=form)

    first, second = rows[:2]
    assert [row.camera_id for row in rows[:2]] == ["7", "7"]
    # As PyctureStream has times: local, without an offset.
    assert first.timestamp_text == "2025-11-21T09:00:00.123000"
    when = dt.datetime(2025, 11, 21, 8, 0, 0, 123_000, tzinfo=dt.UTC)
    assert first.timestamp.astimezone(dt.UTC) == when
    assert second.timestamp_text == "2026-11-21T08:00:00.5"
    when = dt.datetime(2026, 11, 21, 7, 0, 0, 500_000, tzinfo=dt.UTC)
    assert second.timestamp.astimezone(dt.UTC) == when
    for row in rows[:2]:
        assert (bytes(row.picture.content), row.picture.error, row.problem) == (JPEG, None, None)
    assert [(row.picture.content, row.picture.error.code) for row in rows[2:]] == [
        (None, "bad_message"),
        (None, "bad_message"),
        (None, "null_input"),
        (None, "empty_input"),
        (None, "too_many_bytes"),
    ]
    assert "timestamp yesterday is not ISO-8601" in rows[2].problem.message
    assert "no payload.frame.data" in rows[3].problem.message


def test_what_is_dropped_and_what_failed_has_no_picture_and_pictures_their_type(
    spark: SparkSession,
) -> None:
    how = FrameFormat(time_zone="UTC", form=MessageForm(PATHS, 1000, timestamp_unit="ms"))
    read = pycturestream.read_frames(records(spark, nested(**{"device.id": "a"})), how)

    made = pycturestream.with_picture(read.withColumn("dropped", F.lit("stale")), how)

    assert [row.picture for row in made.collect()] == [None]
    assert made.schema["picture"].dataType.simpleString() == schemas.ENCODED.simpleString()
    assert "_content" not in made.columns


def test_camera_and_time_are_the_records_own_where_messages_lack_them(spark: SparkSession) -> None:
    form = MessageForm((Field("image", Kind.PICTURE, ("data",)),), 1000)
    sent = json.dumps({"data": TEXT}).encode()

    [row] = frames(records(spark, sent, key=b"hall"), form=form)

    assert (row.camera_id, row.timestamp_text) == ("hall", "2026-11-21T09:00:00.250000")
    assert bytes(row.picture.content) == JPEG
    form = MessageForm((Field("image_data", Kind.PICTURE, ("data",)), IMAGES[3]), 1000)
    [row] = image_stream.read_images(records(spark, sent, key=b"one"), 1000, form).collect()
    assert (row.image_id, row.sent_at) == ("one", "2026-11-21T08:00:00.250000Z")


def test_a_records_bytes_are_week_nines_picture_and_its_key_or_a_header_the_id(
    spark: SparkSession,
) -> None:
    def read(given: DataFrame, form: MessageForm | None = None) -> list[Any]:
        images = image_stream.read_images(given, 1000, form, pictures.IMAGE)
        return images.orderBy("offset").collect()

    good, null, large = read(records(spark, JPEG, None, b"x" * 1001, key=b"one"))
    [unnamed] = read(records(spark, JPEG))

    assert (good.image_id, good.sent_at) == ("one", "2026-11-21T08:00:00.250000Z")
    assert (bytes(good.picture.content), good.picture.error, good.metadata) == (JPEG, None, None)
    assert (null.picture.content, null.picture.error) == (None, None)  # as of any null picture
    assert large.picture.error.code == "too_many_bytes"
    assert (unnamed.picture.content, unnamed.picture.error.code) == (None, "bad_message")
    assert unnamed.picture.error.message == "the record has no key"
    fields = (
        Field("image_id", Kind.TEXT, ("id",), is_header=True, required=False),
        Field("timestamp", Kind.TIMESTAMP, ("ts",), is_header=True, required=False),
    )
    sent = records(spark, JPEG, headers=[("id", b"two"), ("ts", b"1763712000")], key=b"one")
    [row] = read(sent, MessageForm(fields, 1000, timestamp_unit="s"))
    assert (row.image_id, row.sent_at) == ("two", "2025-11-21T08:00:00.000000Z")
    assert bytes(row.picture.content) == JPEG


def test_a_uri_is_found_by_a_path_too(spark: SparkSession) -> None:
    fields = (Field("image", Kind.URI, ("payload", "uri")), *PATHS[1:])
    how = FrameFormat(
        time_zone="UTC",
        payload=pictures.URI,
        form=MessageForm(fields, 1000, timestamp_unit="ms", coerce=True),
    )
    sent = (nested(payload={"uri": "s3://b/k"}), nested())
    read = pycturestream.read_frames(records(spark, *sent), how)
    read = read.withColumn("dropped", F.lit(None).cast("string"))
    fetched = F.struct(
        F.col("uri").cast("binary").alias("content"),
        F.lit(None).cast(schemas.ERROR).alias("error"),
        F.lit(1).alias("attempts"),
    )

    good, bad = pycturestream.with_picture(read, how, fetched).orderBy("offset").collect()

    assert bytes(good.picture.content) == b"s3://b/k"
    assert bad.picture.error.code == "bad_message"
    assert "no payload.uri" in bad.picture.error.message


def test_where_the_value_is_the_picture_headers_have_its_camera_and_time(
    spark: SparkSession,
) -> None:
    form = MessageForm(
        (
            Field("camera_id", Kind.TEXT, ("camera",), is_header=True),
            Field("timestamp", Kind.TIMESTAMP, ("ts",), is_header=True),
        ),
        1000,
        timestamp_unit="s",
    )
    given = [("camera", b"old"), ("ts", b"1763712000"), ("camera", b"hall")]
    sent = records(spark, JPEG, headers=given).unionAll(
        records(spark, JPEG, headers=[("camera", None)])
    )

    good, bad = frames(sent.orderBy("headers"), payload=pictures.IMAGE, form=form)[::-1]

    assert good.camera_id == "hall"
    assert good.timestamp_text == "2025-11-21T09:00:00.000000"
    assert bytes(good.picture.content) == JPEG
    assert bad.picture.error.code == "bad_message"
    assert "no header camera" in bad.picture.error.message


IMAGES = (
    Field("image_id", Kind.TEXT, ("id",), required=False),
    Field("image_data", Kind.PICTURE, ("picture",)),
    Field("timestamp", Kind.TIMESTAMP, ("ts",), required=False),
    Field("metadata", Kind.MAP, ("meta",), required=False),
)
SCHEMA = {
    "type": "record",
    "name": "Image",
    "fields": [
        {"name": "id", "type": ["null", "string"]},
        {"name": "picture", "type": ["null", "bytes"]},
        {"name": "ts", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "meta", "type": ["null", {"type": "map", "values": "string"}]},
    ],
}


@pytest.mark.every_spark
def test_images_of_avro_with_raw_bytes_are_week_nines(spark: SparkSession) -> None:
    layers = frozenset({Layer.CONFLUENT})
    form = MessageForm(IMAGES, 1000, layers, avro_schema=json.dumps(SCHEMA))
    when = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=dt.UTC)
    whole = {"id": "one", "picture": JPEG, "ts": when, "meta": {"a": "b"}}
    bare = {"id": None, "picture": JPEG, "ts": None, "meta": None}
    sent = (
        framed(1, avro(SCHEMA, whole)),
        framed(1, avro(SCHEMA, bare)),
        framed(1, avro(SCHEMA, {**whole, "picture": None})),
        framed(1, b"\x07"),
        None,
    )

    read = image_stream.read_images(records(spark, *sent, key=b"key"), 1000, form)

    shown = ("image_id", "sent_at", "metadata", "picture.content")
    expected = spark.createDataFrame(
        [
            ("one", "2026-11-21T08:00:00.250000Z", {"a": "b"}, JPEG, None),
            ("key", None, None, JPEG, None),
            ("key", None, None, None, "bad_message"),
            ("key", None, None, None, "bad_message"),
            ("key", None, None, None, "null_input"),
        ],
        "image_id string, sent_at string, metadata map<string,string>, content binary, code string",
    )
    found = read.orderBy("offset").select(*shown, F.col("picture.error.code").alias("code"))
    assert_df_equality(found, expected, ignore_nullable=True)


def test_headers_become_columns_of_text_and_the_last_of_a_name_counts(spark: SparkSession) -> None:
    given = [("trace-id", b"a"), ("trace-id", b"b"), ("raw", b"\xff%"), ("none", None)]
    sent = records(spark, b"1", headers=given).unionAll(records(spark, b"2"))

    read = record_headers.with_header_columns(sent, ("trace-id", "raw", "none"))

    columns = ("header_trace_id", "header_raw", "header_none")
    assert record_headers.columns_in(read) == list(columns)
    found = read.orderBy("value").select(*columns).collect()
    assert [tuple(row) for row in found] == [("b", "%FF%25", None), (None, None, None)]


REFUSED = [
    (gzip.compress(json.dumps(GOOD).encode()), "`unpack` gzip reads"),
    (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "`unpack` bom reads"),
    (json.dumps(GOOD).encode("utf-16"), "`unpack` bom reads"),
    (str(json.dumps(GOOD).encode()).encode(), "`unpack` python-bytes reads"),
    (framed(1, json.dumps(GOOD).encode()), "`unpack` confluent reads"),
    (framed(1, b"\x02\x04\x06"), "`schema_registry` URL"),
    (JPEG, "`payload` image reads"),
    (base64.b64encode(json.dumps(GOOD).encode()), "`unpack` base64 reads"),
    (json.dumps(json.dumps(GOOD)).encode(), "`unpack` json-text reads"),
    (b" [" + json.dumps(GOOD).encode() + b"]", "`unwrap` 0 reads a list of one"),
    (json.dumps({**GOOD, "camera_id": 7}).encode(), "`coerce` takes numbers as ids"),
    (json.dumps({**GOOD, "timestamp": 17}).encode(), "`timestamp_unit` s, ms, us or ns"),
    (json.dumps({**GOOD, "timestamp": 1.5}).encode(), "`timestamp_unit` s, ms, us or ns"),
    (json.dumps({**GOOD, "timestamp": "17.5"}).encode(), "with `coerce` reads digits"),
    (json.dumps({"payload": GOOD}).encode(), "no camera_id: it has payload; `field` camera_id"),
    (json.dumps({**GOOD, "image": None, "a": 1}).encode(), "no image: it has image, timestamp"),
    (json.dumps({**GOOD, "image": JPEG.hex()}).encode(), "`unpack` hex reads"),
    (json.dumps({**GOOD, "image": JPEG[:9].hex().upper()}).encode(), "`unpack` hex reads"),
    (json.dumps({**GOOD, "image": "0x" + JPEG.hex()}).encode(), "`unpack` hex reads"),
    (json.dumps({**GOOD, "image": "\\x" + JPEG.hex()}).encode(), "`unpack` hex reads"),
    (json.dumps({**GOOD, "image": str(JPEG)}).encode(), "`unpack` python-bytes reads"),
]


def test_a_frame_that_is_refused_says_which_option_reads_it(spark: SparkSession) -> None:
    rows = frames(records(spark, *(value for value, _ in REFUSED)))

    assert len(rows) == len(REFUSED)
    for row, (_, said) in zip(rows, REFUSED, strict=True):
        assert row.picture.content is None
        assert said in row.picture.error.message


def test_an_image_of_week_nine_that_is_refused_says_it_too(spark: SparkSession) -> None:
    good = {"image_id": "one", "image_data": TEXT}
    sent = (
        gzip.compress(json.dumps(good).encode()),
        json.dumps({**good, "image_data": JPEG.hex()}).encode(),
        json.dumps({**good, "timestamp": 17}).encode(),
        json.dumps({"image_id": "one", "data": TEXT}).encode(),
        json.dumps(good).encode(),
    )

    rows = image_stream.read_images(records(spark, *sent), 1000).orderBy("offset").collect()

    assert [(row.picture.error or ("",))[0] for row in rows] == [
        "bad_message",
        "bad_base64",
        "bad_message",
        "bad_message",
        "",
    ]
    words = ("`unpack` gzip", "`unpack` hex", "`timestamp_unit`", "`field` image_data=PATH")
    for row, said in zip(rows, words, strict=False):
        assert said in row.picture.error.message


def test_messages_of_the_seeds_go_through_no_python_and_others_once(
    spark: SparkSession, capsys: Any
) -> None:
    form = MessageForm(IMAGES, 1000, frozenset({Layer.GZIP}))
    sent = records(spark, b"{}")

    image_stream.read_images(sent, 1000).explain()
    of_seed = capsys.readouterr().out
    image_stream.read_images(sent, 1000, form).explain()
    of_others = capsys.readouterr().out

    assert "EvalPython" not in of_seed
    assert of_others.count("EvalPython") == 1


@pytest.mark.every_spark
def test_the_way_through_pandas_reads_the_same(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = (*IMAGES[1:], Field("image_id", Kind.TEXT, ("id",), is_header=True, required=False))
    form = MessageForm(fields, 1000, timestamp_unit="ms")
    whole = {"picture": TEXT, "ts": 1763712000123, "meta": {"a": "b", "c": None}}
    sent = [json.dumps(whole).encode(), json.dumps({"picture": TEXT}).encode(), b"{", None]
    given = records(spark, *sent, headers=[("id", b"one")]).coalesce(1)

    def rows() -> list[Any]:
        return image_stream.read_images(given, 1000, form).orderBy("offset").collect()

    by_arrow = rows()
    pandas_udf = functools.partial(vision_udf, arrow_native=False)
    monkeypatch.setattr(message_forms, "vision_udf", pandas_udf)

    assert rows() == by_arrow
    assert by_arrow[0].metadata == {"a": "b", "c": None}
    assert by_arrow[0].sent_at == "2025-11-21T08:00:00.123000Z"
    assert [row.picture.content is None for row in by_arrow] == [False, False, True, True]
