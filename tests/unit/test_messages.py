"""Messages of the seed systems: every field that can be wrong is that row's error, nothing else."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.messages import image_stream, json_fields, pictures, pycturestream
from pyspark_vision.messages.pycturestream import FrameFormat
from pyspark_vision.sinks.json import json_sink

RECORD = "origin string, key binary, value binary, topic string, partition int, offset long, "
RECORD += "received timestamp"
RECEIVED = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000)
GOOD = {"image": "aGk=", "timestamp": "2026-11-21T08:00:00.5", "camera_id": "front"}


def records(spark: SparkSession, *values: bytes | None, key: bytes | None = None) -> DataFrame:
    rows = [
        (f"kafka:t/0/{offset}", key, value, "t", 0, offset, RECEIVED)
        for offset, value in enumerate(values)
    ]
    return spark.createDataFrame(rows, RECORD)


def read(spark: SparkSession, *values: bytes | None, **how: Any) -> list[Any]:
    """Frames with their pictures, in order."""
    frames = FrameFormat(**{"time_zone": "UTC", **how})
    parsed = pycturestream.read_frames(records(spark, *values), frames)
    parsed = parsed.withColumn("dropped", F.lit(None).cast("string"))
    return pycturestream.with_picture(parsed, frames).orderBy("offset").collect()


def message(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def less(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        (None, "null_input", "has no value"),
        (b"", "empty_input", "is empty"),
        (b"not json", "bad_message", "not a JSON object"),
        (b"[]", "bad_message", "not a JSON object"),
        (b"7", "bad_message", "not a JSON object"),
        (b"null", "bad_message", "not a JSON object"),
        (b'"text"', "bad_message", "not a JSON object"),
        (message()[:-1], "bad_message", "not a JSON object"),
        (message() + b" more", "bad_message", "more behind its first JSON object"),
        (message() + message(), "bad_message", "more behind its first JSON object"),
        (message() + b"\r\n" + message(), "bad_message", "more behind its first JSON object"),
        (message() + b"," + message(), "bad_message", "more behind its first JSON object"),
        (message() + b"], [" + message(), "bad_message", "more behind its first JSON object"),
        (message() + b"x}", "bad_message", "more behind its first JSON object"),
        (b"null," + message(), "bad_message", "not a JSON object"),
        (b"[" + message() + b"]", "bad_message", "not a JSON object, but a list"),
        (repr(GOOD).encode(), "bad_message", "not a JSON object"),
        (b"\xff\xfe" + message(), "bad_message", "not UTF-8"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "bad_message", "not a JSON object"),
        (message(image="x" * 2000), "too_many_bytes", "max_message_bytes=1000"),
        (less("image"), "bad_message", "no image"),
        (less("timestamp"), "bad_message", "no timestamp"),
        (less("camera_id"), "bad_message", "no camera_id"),
        (b"{}", "bad_message", "no camera_id"),
        (message(image=None), "bad_message", "no image"),
        (message(camera_id=None), "bad_message", "no camera_id"),
        (message(camera_id=7), "bad_message", "camera_id is bigint; it must be string"),
        (message(camera_id=["a"]), "bad_message", "it must be string"),
        (message(timestamp=1700000000), "bad_message", "timestamp is bigint; it must be string"),
        (message(timestamp="yesterday"), "bad_message", "timestamp yesterday is not ISO-8601"),
        (message(timestamp="2026-13-01T00:00:00"), "bad_message", "is not ISO-8601"),
        (message(camera_id="attic"), "bad_message", "camera_id attic is not expected"),
        (message(image="!!!"), "bad_base64", "not base64"),
        (message(image="a"), "bad_base64", "not base64"),
        (message(image={"a": 1}), "bad_base64", "not base64"),
        (message(image="data:image/png,plain"), "bad_base64", "not base64"),
    ],
)
@pytest.mark.every_spark
def test_a_message_that_is_no_frame_is_an_error_of_its_own(
    value: bytes | None, code: str, said: str, spark: SparkSession
) -> None:
    # Ten thousand brackets are more than the limit of the others, and must be parsed all the same.
    limit = 1000 if value is None or len(value) < 50_000 else 100_000

    [row] = read(spark, value, cameras=("front", "back"), max_message_bytes=limit)

    assert row.picture.content is None
    assert row.picture.error.code == code
    assert said in row.picture.error.message


@pytest.mark.parametrize(
    "text",
    [
        *("aGk=", "aGk", " aG\nk=\r\n", "data:image/jpeg;base64,aGk=", "data:;base64,aGk"),
        " DATA:image/jpeg;Base64,aGk=\n",
    ],
)
def test_base64_is_read_with_and_without_padding_breaks_and_as_a_data_uri(
    text: str, spark: SparkSession
) -> None:
    [row] = read(spark, message(image=text))

    assert row.picture.error is None
    assert bytes(row.picture.content) == b"hi"


@pytest.mark.parametrize("half", [b"\\ud800", b"a\\uDFFF?"])
@pytest.mark.every_spark
def test_half_of_a_character_is_no_id(half: bytes, spark: SparkSession) -> None:
    [row] = read(spark, message().replace(b"front", half))

    assert row.picture.error.code == "bad_message"
    assert row.picture.error.message in (
        "the message is not a JSON object",
        "camera_id has half of a character, which no text holds",
    )


@pytest.mark.every_spark
def test_whole_characters_are_an_id_in_whatever_escapes(spark: SparkSession) -> None:
    [row] = read(spark, message().replace(b"front", b"\\ud83d\\uDE00?"))

    assert (row.camera_id, row.problem) == ("\U0001f600?", None)


def test_encoded_texts_in_a_row_are_read_as_one(spark: SparkSession) -> None:
    [row] = read(spark, message(image="aGk=aGk="))

    assert bytes(row.picture.content) == b"hihi"


def test_the_url_safe_alphabet_is_read_too(spark: SparkSession) -> None:
    content = bytes(range(248, 256))

    [row] = read(spark, message(image=base64.urlsafe_b64encode(content).decode()))

    assert bytes(row.picture.content) == content


def test_a_good_frame_keeps_its_text_and_gets_a_time(spark: SparkSession) -> None:
    [row] = read(spark, message(extra={"a": [1]}), time_zone="Europe/Zurich")

    assert (row.camera_id, row.timestamp_text) == ("front", "2026-11-21T08:00:00.5")
    assert row.problem is None
    moment = dt.datetime(2026, 11, 21, 7, 0, 0, 500_000, tzinfo=dt.UTC)
    assert row.timestamp.astimezone(dt.UTC) == moment


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-21T08:00:00.123456", "2026-11-21T07:00:00.123456"),
        ("2026-11-21T08:00:00", "2026-11-21T07:00:00"),
        ("2026-11-21 08:00:00,5", "2026-11-21T07:00:00.500000"),
        ("2026-11-21T08:00", "2026-11-21T07:00:00"),
        ("2026-11-21T08:00Z", "2026-11-21T08:00:00"),
        ("2026-11-21 08:00+02:00", "2026-11-21T06:00:00"),
        ("2026-11-21T08:00-0200", "2026-11-21T10:00:00"),
        ("2026-11-21T08:00.5", None),
        ("2026-11-21T08", None),
        ("2026-11-21T08:0", None),
        ("2026-07-21T08:00:00", "2026-07-21T06:00:00"),
        ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00"),
        ("2026-11-21T08:00:00.5z", "2026-11-21T08:00:00.500000"),
        ("2026-11-21T08:00:00+02:00", "2026-11-21T06:00:00"),
        ("9999-12-31T00:00:00", "9999-12-30T23:00:00"),
        ("9999-12-31T23:59:59-10:00", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("0000-01-01T00:00:00Z", None),
        ("2026-11-21", None),
        ("08:00:00", None),
        ("2026-02-30T08:00:00", None),
        ("now", None),
        ("", None),
        (None, None),
    ],
)
def test_timestamps_without_an_offset_are_local_to_the_named_zone(
    text: str | None, utc: str | None, spark: SparkSession
) -> None:
    frame = spark.createDataFrame([(text,)], "t string")
    zone = F.lit(spark.conf.get("spark.sql.session.timeZone"))
    moment = json_fields.local_timestamp(F.col("t"), "Europe/Zurich")

    [row] = frame.select(F.to_utc_timestamp(moment, zone).cast("string").alias("utc")).collect()

    expected = utc and dt.datetime.fromisoformat(utc)
    assert (row.utc and dt.datetime.fromisoformat(row.utc)) == expected


def test_with_payload_image_the_value_is_the_picture_and_the_key_its_camera(
    spark: SparkSession,
) -> None:
    frames = FrameFormat(time_zone="UTC", payload=pictures.IMAGE, max_message_bytes=10)
    table = records(spark, b"jpeg", None, b"x" * 11, key=b"hall").withColumn(
        "key", F.when(F.col("offset") < 2, F.col("key"))
    )
    parsed = pycturestream.read_frames(table, frames).withColumn(
        "dropped", F.lit(None).cast("string")
    )

    rows = pycturestream.with_picture(parsed, frames).orderBy("offset").collect()

    assert [row.camera_id for row in rows] == ["hall", "hall", "t"]
    assert [row.timestamp for row in rows] == [RECEIVED] * 3
    assert bytes(rows[0].picture.content) == b"jpeg"
    assert (rows[1].picture.content, rows[1].picture.error) == (None, None)
    assert rows[2].picture.error.code == "too_many_bytes"


def flat(
    spark: SparkSession, detections: list[tuple[Any, ...]] | None, **changed: Any
) -> DataFrame:
    values = {
        "origin": "kafka:t/1/7",
        "topic": "t",
        "partition": 1,
        "offset": 7,
        "camera_id": "front",
        "timestamp_text": "2026-11-21T08:00:00",
        "detections": detections,
        "model": "demo",
        "model_sha256": "cd" * 32,
        "model_digest": "ab" * 32,
        "error": None if detections is not None else ("truncated", "cut"),
        "image": bytearray(b"\xff\xd8" * 60),
        **changed,
    }
    schema = (
        "origin string, topic string, partition int, offset long, camera_id string, "
        "timestamp_text string, detections array<struct<class_id:int,label:string,score:float,"
        "xmin:float,ymin:float,xmax:float,ymax:float>>, model string, model_sha256 string, "
        "model_digest string, "
        "error struct<code:string,message:string>, image binary"
    )
    return spark.createDataFrame([tuple(values.values())], schema)


@pytest.mark.parametrize(
    ("box", "sector"),
    [
        ((0.0, 0.0, 0.2, 0.2), ["top", "left"]),
        ((0.4, 0.4, 0.6, 0.6), ["middle", "center"]),
        ((0.8, 0.8, 1.0, 1.0), ["bottom", "right"]),
        ((0.9, 0.0, 1.0, 0.2), ["top", "right"]),
        ((1.0, 1.0, 1.0, 1.0), ["bottom", "right"]),
        ((0.0, 0.5, 0.5, 1.0), ["bottom", "left"]),
    ],
)
def test_the_sector_is_where_the_middle_of_the_box_lies(
    box: tuple[float, ...], sector: list[str], spark: SparkSession
) -> None:
    results = flat(spark, [(3, "cat", 0.876, *box)])

    [row] = pycturestream.result_messages(results, 0.5, 10_000).collect()

    [found] = json.loads(row.value)["objects"]
    assert found == {
        "label": "cat",
        "score": 0.88,
        "sector": sector,
        "box": pytest.approx(box),
        "class_id": 3,
    }
    assert row.key == "t-1-7-demo@abababababab"


def test_scores_are_compared_after_rounding_and_labels_are_never_null(
    spark: SparkSession,
) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    results = flat(spark, [(1, "a", 0.504, *box), (2, None, 0.506, *box)])

    [row] = pycturestream.result_messages(results, 0.5, 10_000).collect()
    [event] = pycturestream.events(results, 0.5).collect()

    assert [(o["label"], o["score"]) for o in json.loads(row.value)["objects"]] == [("#2", 0.51)]
    assert event.event_type == "#2"


def test_a_result_is_sent_without_its_picture_where_it_would_be_too_large(
    spark: SparkSession,
) -> None:
    results = flat(spark, [])

    [whole] = pycturestream.result_messages(results, 0.5, 10_000).collect()
    [small] = pycturestream.result_messages(results, 0.5, 200).collect()

    assert base64.b64decode(json.loads(whole.value)["image"], validate=True) == b"\xff\xd8" * 60
    assert "image" not in json.loads(small.value)
    assert json.loads(small.value)["objects"] == []


def test_a_result_whose_picture_could_not_be_drawn_is_sent_without_it(spark: SparkSession) -> None:
    results = flat(spark, []).withColumn("image", F.lit(None).cast("binary"))

    [row] = pycturestream.result_messages(results, 0.5, 10_000).collect()

    assert "image" not in json.loads(row.value)
    assert json.loads(row.value)["objects"] == []


def test_the_documented_line_makes_one_json_array_of_the_events_sink(
    spark: SparkSession, root: Path, tmp_path: Path
) -> None:
    text = (root / "docs" / "streams.md").read_text(encoding="utf-8")
    [line] = re.findall(r"```sh\n(python -c '.*?events\.json)\n```", text, re.DOTALL)
    later = [("boat \u2028é", "2026-11-27 08:00:02.500000", "yard")]
    earlier = [("Nothing detected", "2026-11-27 08:00:00.000000", "gate")]
    sink = json_sink(spark, str(tmp_path / "events"))
    for batch_id, events in ((9, later), (10, earlier)):
        sink(
            spark.createDataFrame(events, "event_type string, timestamp string, camera_id string"),
            batch_id,
        )

    subprocess.run(line, shell=True, cwd=tmp_path, check=True)

    expected = [
        dict(zip(("event_type", "timestamp", "camera_id"), event, strict=True))
        for event in (*earlier, *later)
    ]
    assert json.loads((tmp_path / "events.json").read_text()) == expected


def test_failed_frames_give_no_result_message_and_no_event(spark: SparkSession) -> None:
    results = flat(spark, None)

    assert pycturestream.result_messages(results, 0.5, 10_000).count() == 0
    assert pycturestream.events(results, 0.5).count() == 0


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-21T08:00:00.123456", "2026-11-21 08:00:00.123456"),
        ("2026-11-21T08:00:00", "2026-11-21 08:00:00.000000"),
        ("2026-11-21T08:00", "2026-11-21 08:00:00.000000"),
        ("2026-11-21T08:00Z", "2026-11-21 08:00:00.000000"),
    ],
)
def test_events_name_what_was_seen_or_that_nothing_was(
    text: str, time: str, spark: SparkSession
) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    two = flat(spark, [(1, "cat", 0.9, *box), (1, "cat", 0.8, *box)], timestamp_text=text)
    none = flat(spark, [], timestamp_text=text)

    found = pycturestream.events(two.unionAll(none), 0.5)

    assert_df_equality(
        found,
        spark.createDataFrame(
            [("cat", time, "front"), ("cat", time, "front"), ("Nothing detected", time, "front")],
            "event_type string, timestamp string, camera_id string",
        ),
        ignore_nullable=True,
    )


@pytest.mark.parametrize(
    ("changed", "image_id", "metadata", "code"),
    [
        ({}, "one", {"a": "b"}, None),
        ({"image_id": None}, "key", {"a": "b"}, None),
        ({"metadata": None}, "one", None, None),
        ({"metadata": {"n": 1}}, "one", {"n": "1"}, None),
        ({"metadata": {}}, "one", {}, None),
        ({"metadata": "x"}, "one", None, "bad_message"),
        ({"image_id": 5}, "5", {"a": "b"}, "bad_message"),
        ({"timestamp": 5}, "one", {"a": "b"}, "bad_message"),
        ({"timestamp": None}, "one", {"a": "b"}, None),
        ({"image_data": None}, "one", {"a": "b"}, "bad_message"),
        ({"image_data": "?"}, "one", {"a": "b"}, "bad_base64"),
    ],
)
@pytest.mark.every_spark
def test_week_nines_message_is_read_field_by_field(
    changed: dict[str, Any],
    image_id: str,
    metadata: dict[str, str] | None,
    code: str | None,
    spark: SparkSession,
) -> None:
    sent = {
        "image_id": "one",
        "image_data": "aGk=",
        "timestamp": "2026-11-21T08:00:00",
        "metadata": {"a": "b"},
        **changed,
    }
    table = records(spark, json.dumps(sent).encode(), key=b"key")

    [row] = image_stream.read_images(table, 1000).collect()

    assert (row.image_id, row.metadata) == (image_id, metadata)
    assert (row.picture.error and row.picture.error.code) == code
    assert (row.picture.content is None) == (code is not None)


def test_week_nines_message_without_id_and_key_is_refused(spark: SparkSession) -> None:
    [row] = image_stream.read_images(records(spark, b'{"image_data": "aGk="}'), 1000).collect()

    assert row.picture.error.code == "bad_message"
    assert "no image_id" in row.picture.error.message


@pytest.mark.parametrize(
    "value",
    [
        b'{"image_id": "\xff", "image_data": "aGk="}',
        b'{"image_data": "aGk=", "image_id": "\xc3"}',
        b'{"\xa9": 1, "image_data": "aGk=", "image_id": "a"}',
        b'{"image_id": "a", "image_data": "aG\xffk="}',
        b'{"image_id": "a", "image_data": "aG\\/=", "other": "\xff"}',
        b'{"image_id": "a", "image_data": "", "other": "\xff"}',
        b'{"image_id": "a", "image_data": null, "other": "\xff"}',
        b'{"image_id": "\xff"}',
    ],
)
def test_bytes_that_are_not_utf8_are_found_before_in_and_behind_a_picture(
    value: bytes, spark: SparkSession
) -> None:
    [row] = image_stream.read_images(records(spark, value), 1000).collect()

    assert row.picture.error.code == "bad_message"
    assert "not UTF-8" in row.picture.error.message


def test_pictures_have_the_type_that_image_functions_take(spark: SparkSession) -> None:
    table = image_stream.read_images(records(spark, b"{}"), 1000)

    assert table.schema["picture"].dataType.simpleString() == schemas.ENCODED.simpleString()


def test_a_picture_field_that_is_no_text_is_left_to_the_decoder(spark: SparkSession) -> None:
    [row] = read(spark, message(image=True))

    # The four letters of `true` are base64; that they are no picture the decoder says.
    assert row.picture.error is None
    assert bytes(row.picture.content) == base64.b64decode("true")


def test_a_label_message_above_the_limit_is_sent_without_its_metadata(spark: SparkSession) -> None:
    row = {"image_id": "1", "prediction_id": "p", "label": "cat", "metadata": {"note": "x" * 500}}
    results = spark.createDataFrame([row], image_stream.RESULT)

    [whole] = image_stream.result_messages(results, 10_000).collect()
    [small] = image_stream.result_messages(results, 600).collect()

    assert json.loads(whole.value)["metadata"] == {"note": "x" * 500}
    assert json.loads(small.value) == {**json.loads(whole.value), "metadata": None}
    assert small.key == "p"
