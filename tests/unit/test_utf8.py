"""Keys that are no UTF-8 become text that every reader of Parquet and JSON takes."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.messages import image_stream, pictures, pycturestream
from pyspark_vision.messages.pycturestream import FrameFormat
from pyspark_vision.messages.topics import LETTER_HEADER_PREFIX
from pyspark_vision.messages.utf8 import text_of
from pyspark_vision.sinks import dead_letters
from pyspark_vision.sinks.json import json_sink
from pyspark_vision.sinks.parquet import parquet_sink

STRAY = {
    b"\xff": "%FF",
    b"cam\xe9ra": "cam%E9ra",
    b"\xc3\xa9\xe9": "é%E9",
    b"\xff100%": "%FF100%25",
    b"\xc0\x80": "%C0%80",  # overlong
    b"\xe0\x9f\xbf": "%E0%9F%BF",
    b"\xed\xa0\x80": "%ED%A0%80",  # half of a surrogate pair
    b"\xf4\x90\x80\x80": "%F4%90%80%80",  # beyond Unicode
    b"\xf0\x9f\x98": "%F0%9F%98",  # cut
    b"\x80\n\x00a": "%80\n\x00a",
    b"\xe2\x82\xac\xe2\x82": "€%E2%82",
    b"\xf0\x9f\x98\x80\xfe": "\U0001f600%FE",
}
VALID = ["", "hall", "Zürich", "100%", "%FF", "\U0001f600", "a\nb", "\x00"]
VALID += ["\ud7ff\ue000\U0010ffff"]


def keyed(spark: SparkSession, *keys: bytes | None, value: bytes = b"jpeg") -> DataFrame:
    received = dt.datetime(2026, 11, 21, 8)
    rows = [(f"kafka:t/0/{i}", key, value, "t", 0, i, received) for i, key in enumerate(keys)]
    return spark.createDataFrame(
        rows,
        "origin string, key binary, value binary, topic string, partition int, offset long, "
        "received timestamp",
    )


@pytest.mark.every_spark
def test_valid_text_stays_and_stray_bytes_are_written_as_escapes(spark: SparkSession) -> None:
    expected = {**{text.encode(): text for text in VALID}, **STRAY}
    records = keyed(spark, *expected, None)

    rows = records.select("key", text_of(F.col("key")).alias("text")).collect()

    assert {bytes(row.key): row.text for row in rows if row.key is not None} == expected
    assert [row.text for row in rows if row.key is None] == [None]


def test_other_stray_bytes_are_other_text_and_an_url_decoder_gives_them_back(
    spark: SparkSession,
) -> None:
    keys = [bytes([byte]) + tail for byte in range(128, 256) for tail in (b"", b"%", b"\xff", b"a")]

    rows = keyed(spark, *keys).select("key", text_of(F.col("key")).alias("text")).collect()

    stray = [row for row in rows if not is_utf8(bytes(row.key))]
    assert len({row.text for row in stray}) == len(stray) > 256
    assert all(unquote_to_bytes(row.text) == bytes(row.key) for row in stray)


def is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def cameras(spark: SparkSession) -> DataFrame:
    how = FrameFormat(time_zone="UTC", payload=pictures.IMAGE, cameras=("hall", "t"))
    return pycturestream.read_frames(keyed(spark, b"\xff\xfe", b"hall", b"\xff\xfd", None), how)


@pytest.fixture
def expected_cameras() -> list[str]:
    return ["%FF%FE", "hall", "%FF%FD", "t"]


def test_pandas_and_pyarrow_read_the_cameras_of_keys_that_are_no_text(
    spark: SparkSession, tmp_path: Path, expected_cameras: list[str]
) -> None:
    frames = cameras(spark).orderBy("offset").coalesce(1)

    parquet_sink(spark, str(tmp_path / "out"))(frames, 0)

    folder = tmp_path / "out" / "batch_id=0"
    assert pq.read_table(folder)["camera_id"].to_pylist() == expected_cameras
    assert list(pd.read_parquet(folder)["camera_id"]) == expected_cameras
    said = "camera_id %FF%FE is not expected"
    assert pq.read_table(folder)["problem"].to_pylist()[0]["message"] == said
    assert list(frames.toPandas()["camera_id"]) == expected_cameras


def test_json_lines_with_such_cameras_are_utf8(
    spark: SparkSession, tmp_path: Path, expected_cameras: list[str]
) -> None:
    frames = cameras(spark).orderBy("offset").coalesce(1)

    json_sink(spark, str(tmp_path / "out"))(frames, 0)

    [file] = (tmp_path / "out" / "batch_id=0").glob("*.json")
    lines = file.read_bytes().decode("utf-8").splitlines()
    assert [json.loads(line)["camera_id"] for line in lines] == expected_cameras


@pytest.mark.parametrize(
    "value",
    [
        b'{"image_data": "aGk="}',
        b'{"image_data": "aGk=", "metadata": {"a": "\xff"}}',
        b'{"image_data": "aGk=", "metadata": {"a\\ud800": "\\udfff"}}',
        b'{"image_data": "\\ud800"}',
        b"\xff",
    ],
)
def test_week_nines_image_id_of_a_key_is_utf8_in_good_and_bad_messages(
    value: bytes, spark: SparkSession
) -> None:
    images = image_stream.read_images(keyed(spark, b"id\xff", value=value), 1000)

    [row] = images.select(
        "image_id", F.is_valid_utf8(F.to_json(F.struct("metadata", "sent_at")))
    ).collect()

    assert (row[0], row[1]) == ("id%FF", True)


def test_the_texts_of_a_letter_with_foreign_headers_are_utf8(spark: SparkSession) -> None:
    headers = [(LETTER_HEADER_PREFIX + "origin", b"kafka:\xff"), ("other", b"\xff")]
    records = spark.createDataFrame(
        [(b"k", b"v", headers)],
        "key binary, value binary, headers array<struct<key:string,value:binary>>",
    )

    [letter] = dead_letters.from_records(records).collect()

    assert letter.origin == "kafka:%FF"
    assert letter.topic is None
