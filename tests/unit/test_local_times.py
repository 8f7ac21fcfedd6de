"""Around both changes of the clock, in any session's zone, each moment stays another moment."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.errors import ErrorCode
from pyspark_vision.messages import image_stream, json_fields, pictures, pycturestream
from pyspark_vision.messages.local_times import local_text
from pyspark_vision.messages.pycturestream import FrameFormat
from pyspark_vision.sinks import dead_letters
from pyspark_vision.sinks.json import json_sink
from pyspark_vision.transformations import mark_dropped

HALF_HOUR_US = 1_800_000_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def half_hours(year: int, month: int, day: int, hour: int) -> list[int]:
    """Eight moments from then on in UTC, in microseconds, each with a fraction."""
    first = dt.datetime(year, month, day, hour, tzinfo=dt.UTC) - EPOCH
    begin = first // dt.timedelta(microseconds=1) + 120_000
    return [begin + n * HALF_HOUR_US for n in range(8)]


# Of Zurich, New York, Adelaide (half hours), Lord Howe (by half an hour); Sao Paulo's last one.
MOMENTS_US = sorted(
    half_hours(2026, 3, 28, 23)
    + half_hours(2026, 10, 24, 10)  # the day before
    + half_hours(2026, 10, 24, 23)
    + half_hours(2026, 3, 8, 5)
    + half_hours(2026, 11, 1, 4)
    + half_hours(2026, 4, 4, 13)
    + half_hours(2026, 10, 3, 14)
    + half_hours(2019, 2, 17, 0)
    + half_hours(2018, 11, 4, 1)
    + [-1, 0, 253_402_300_799_999_999 - 86_400_000_000]
)
ZONES = [
    ("Europe/Zurich", "UTC"),
    ("UTC", "Europe/Zurich"),
    ("America/Sao_Paulo", "Europe/Zurich"),
    ("Europe/Zurich", "America/Sao_Paulo"),
    ("Australia/Lord_Howe", "Asia/Kolkata"),
    ("America/New_York", "Australia/Adelaide"),
    ("Europe/Zurich", "-03:30"),
]


@pytest.fixture
def session_zone(spark: SparkSession) -> Iterator[Callable[[str], None]]:
    """Sets the session's zone, for one test."""
    before = spark.conf.get("spark.sql.session.timeZone")
    yield lambda name: spark.conf.set("spark.sql.session.timeZone", name)
    spark.conf.set("spark.sql.session.timeZone", before or "UTC")


def zone(name: str) -> dt.tzinfo:
    if name[0] in "+-":
        return dt.datetime.fromisoformat(f"2026-01-01T00:00:00{name}").tzinfo or dt.UTC
    return ZoneInfo(name)


def local(moment_us: int, time_zone: str) -> str:
    """What Python says, in the events' format."""
    moment = (EPOCH + dt.timedelta(microseconds=moment_us)).astimezone(zone(time_zone))
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def micros(text: str) -> int:
    """The moment of text with an offset."""
    return (dt.datetime.fromisoformat(text) - EPOCH) // dt.timedelta(microseconds=1)


def received(spark: SparkSession, key: bytes = b"hall") -> DataFrame:
    """Records of Kafka, one for each moment."""
    moments = spark.createDataFrame([(us,) for us in MOMENTS_US], "us bigint").coalesce(1)
    place = [F.lit("t").alias("topic"), F.lit(0).alias("partition"), F.col("us").alias("offset")]
    return moments.select(
        F.concat(F.lit("kafka:t/0/"), "us").alias("origin"),
        F.lit(key).alias("key"),
        F.lit(b"jpeg").alias("value"),
        *place,
        F.timestamp_micros("us").alias("received"),
    )


def sent(spark: SparkSession, *texts: str) -> DataFrame:
    """Frames whose messages had these times."""
    rows = [(text, "hall") for text in texts]
    return spark.createDataFrame(rows, "timestamp_text string, camera_id string").coalesce(1)


def detected(frames: DataFrame) -> DataFrame:
    """Frames in which nothing was found."""
    nothing = "array<struct<class_id:int,label:string,score:float,xmin:float,ymin:float,"
    nothing += "xmax:float,ymax:float>>"
    return frames.select(
        "*",
        F.array().cast(nothing).alias("detections"),
        F.lit("demo").alias("model"),
        F.lit("ab").alias("model_sha256"),
        F.lit("cd").alias("model_digest"),
        json_fields.no_error().alias("error"),
        F.lit(None).cast("binary").alias("image"),
    )


@pytest.mark.parametrize(("session", "time_zone"), ZONES)
def test_events_and_results_have_the_local_time_of_the_named_zone(
    session: str, time_zone: str, spark: SparkSession, session_zone: Callable[[str], None]
) -> None:
    session_zone(session)
    how = FrameFormat(time_zone=time_zone, payload=pictures.IMAGE)
    frames = detected(pycturestream.read_frames(received(spark), how)).orderBy("offset")

    events = pycturestream.events(frames, 0.5, time_zone).collect()
    results = pycturestream.result_messages(frames, 0.5, 10_000).collect()
    moments = frames.select(F.unix_micros("timestamp")).collect()

    expected = [local(us, time_zone) for us in MOMENTS_US]
    assert [event.timestamp for event in events] == expected
    said = [json.loads(result.value)["timestamp"] for result in results]
    assert said == [text.replace(" ", "T") for text in expected]
    assert [moment[0] for moment in moments] == MOMENTS_US


@pytest.mark.parametrize(("session", "time_zone"), [ZONES[0], ZONES[1], ZONES[4]])
def test_frames_that_were_sent_with_an_offset_give_events_in_local_time(
    session: str, time_zone: str, spark: SparkSession, session_zone: Callable[[str], None]
) -> None:
    session_zone(session)
    texts = [
        (EPOCH + dt.timedelta(microseconds=us)).astimezone(zone("+02:00")).isoformat()
        for us in MOMENTS_US
    ]
    frames = detected(sent(spark, *texts))

    events = pycturestream.events(frames, 0.5, time_zone).collect()

    assert [event.timestamp for event in events] == [local(us, time_zone) for us in MOMENTS_US]


def test_local_text_as_sent_stays_with_six_digits(
    spark: SparkSession, session_zone: Callable[[str], None]
) -> None:
    session_zone("Europe/Zurich")
    expected = {
        "2026-10-25T02:30:00": "2026-10-25 02:30:00.000000",
        "2026-03-29T02:30:00.5": "2026-03-29 02:30:00.500000",  # the hour that was not
        "2026-11-21 08:00:00,25": "2026-11-21 08:00:00.250000",
        "2026-11-21T08:00:00.123456789": "2026-11-21 08:00:00.123456",
    }
    frames = spark.createDataFrame(
        [(text, "hall") for text in expected], "t string, camera_id string"
    )
    frames = detected(frames.coalesce(1).withColumnRenamed("t", "timestamp_text"))

    events = pycturestream.events(frames, 0.5, "Europe/Zurich").collect()

    assert [event.timestamp for event in events] == list(expected.values())


@pytest.mark.parametrize("session", ["UTC", "America/New_York"])
def test_text_of_the_hour_that_comes_twice_is_taken_as_the_first(
    session: str, spark: SparkSession, session_zone: Callable[[str], None]
) -> None:
    session_zone(session)
    texts = ["2026-10-25T01:59:59", "2026-10-25T02:30:00", "2026-10-25T03:00:00"]
    read = [
        F.unix_micros(json_fields.local_timestamp(F.lit(text), "Europe/Zurich")) for text in texts
    ]

    [found] = spark.range(1).select(*read).collect()

    assert list(found) == [
        micros(text)
        for text in (
            "2026-10-24T23:59:59+00:00",
            "2026-10-25T00:30:00+00:00",
            "2026-10-25T02:00:00+00:00",
        )
    ]


def test_no_moment_has_no_text(spark: SparkSession) -> None:
    text = local_text(F.lit(None).cast("timestamp"), "Europe/Zurich")

    assert spark.range(1).select(text).collect()[0][0] is None


@pytest.mark.parametrize("session", ["Europe/Zurich", "Australia/Lord_Howe"])
def test_json_lines_and_letters_say_which_moment_it_was(
    session: str, spark: SparkSession, session_zone: Callable[[str], None], tmp_path: Path
) -> None:
    session_zone(session)
    failed = received(spark).withColumn("error", json_fields.error(ErrorCode.UNDECODABLE, "bad"))

    json_sink(spark, str(tmp_path))(failed.select("received"), 0)
    records = dead_letters.to_records(dead_letters.letters(failed))
    letters = dead_letters.from_records(records).select(F.unix_micros("timestamp")).collect()

    [file] = (tmp_path / "batch_id=0").glob("*.json")
    lines = [json.loads(line)["received"] for line in file.read_text().splitlines()]
    assert [micros(line) for line in lines] == [us // 1000 * 1000 for us in MOMENTS_US]
    assert [letter[0] for letter in letters] == MOMENTS_US


def test_week_nines_results_say_which_moment_it_was(
    spark: SparkSession, session_zone: Callable[[str], None]
) -> None:
    session_zone("Europe/Zurich")
    columns = [
        F.col("received") if field.name == "processed_at" else F.lit(None).cast(field.dataType)
        for field in image_stream.RESULT
    ]
    named = [c.alias(f.name) for c, f in zip(columns, image_stream.RESULT, strict=True)]

    messages = image_stream.result_messages(received(spark).select(*named), 10_000).collect()

    said = [micros(json.loads(message.value)["processed_at"]) for message in messages]
    assert said == [us // 1000 * 1000 for us in MOMENTS_US]


def test_a_day_of_age_is_24_hours_on_the_day_that_has_25(
    spark: SparkSession, session_zone: Callable[[str], None]
) -> None:
    session_zone("Europe/Zurich")
    frames = pycturestream.read_frames(
        received(spark), FrameFormat(time_zone="UTC", payload=pictures.IMAGE)
    )
    [now_us] = half_hours(2026, 10, 25, 12)[:1]

    marked = mark_dropped(
        frames,
        key="origin",
        timestamp="timestamp",
        max_age_s=86_400,
        unless=F.lit(False),
        payload="value",
        now=F.timestamp_micros(F.lit(now_us)),
    )

    stale = {row.offset for row in marked.where("dropped = 'stale'").collect()}
    assert stale == {us for us in MOMENTS_US if us < now_us - 86_400_000_000}
