"""Identical frames of a camera are left out for a while; nothing else is, ever."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from job_scripts import detect_arguments, job
from pictures import scene_jpeg
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages import pictures
from pyspark_vision.messages.planned_time import PLANNED
from pyspark_vision.streaming import dedupe
from pyspark_vision.streaming.dedupe import SeenFrames, mark_duplicates

NOW_MS = 1_795_000_000_000
PICTURE = schemas.ENCODED.simpleString()
FRAMES = (
    f"origin string, offset long, camera_id string, timestamp timestamp, picture {PICTURE}, "
    "value binary, dropped string, planned_ms long"
)
SEEN = "frame_key binary, seen_ms long"
STILL, MOVED = scene_jpeg(1), scene_jpeg(2)
BAD = ("bad_base64", "the image is not base64")


def key(camera: str, content: bytes) -> bytes:
    """As it is kept: sha256 of the picture's sha256 and the camera."""
    return hashlib.sha256(hashlib.sha256(content).digest() + camera.encode()).digest()


def frames(spark: SparkSession, *rows: Any, planned_ms: int = NOW_MS) -> DataFrame:
    """(camera, content or error[, dropped]), a second apart, under offsets from 0."""
    full = []
    for offset, (camera, picture, *dropped) in enumerate(rows):
        is_error = isinstance(picture, tuple)
        encoded = (None, picture) if is_error else (picture, None)
        at = datetime(2026, 11, 21, 8) + timedelta(seconds=offset)
        place = (f"kafka:t/0/{offset}", offset, camera, at, encoded)
        full.append((*place, b"message", *(dropped or [None]), planned_ms))
    return spark.createDataFrame(full, FRAMES)


def dropped(marked: DataFrame) -> list[str | None]:
    """By offset; what is dropped has lost its payload, and nothing else has."""
    rows = marked.orderBy("offset").collect()
    for row in rows:
        if row.dropped == "duplicate":
            assert (row.value, row.picture) == (None, None)
        else:
            assert row.value == b"message"
            assert row.picture is not None
    return [row.dropped for row in rows]


def marked(
    spark: SparkSession, *rows: Any, seen: list[tuple[bytes, int]] | None = None
) -> list[str | None]:
    known = spark.createDataFrame(seen or [], SEEN)
    return dropped(mark_duplicates(frames(spark, *rows), known, 60))


def test_of_identical_frames_in_a_batch_the_first_stays(spark: SparkSession) -> None:
    rows = [("front", b"a"), ("front", b"b"), ("front", b"a"), ("front", b"a")]

    assert marked(spark, *rows) == [None, None, "duplicate", "duplicate"]


def test_the_same_picture_of_another_camera_stays(spark: SparkSession) -> None:
    seen = [(key("front", b"a"), NOW_MS - 1000)]

    assert marked(spark, ("front", b"a"), ("back", b"a"), seen=seen) == ["duplicate", None]


@pytest.mark.parametrize(
    ("seconds_ago", "expected"),
    [
        (0.001, "duplicate"),
        (59.999, "duplicate"),
        (60, None),
        (1e6, None),
        (-59.999, "duplicate"),  # the clock was set back
        (-60, None),
    ],
)
def test_a_frame_is_remembered_for_the_time_and_no_longer(
    spark: SparkSession, seconds_ago: float, expected: str | None
) -> None:
    seen = [(key("front", b"a"), NOW_MS - round(seconds_ago * 1000))]

    assert marked(spark, ("front", b"a"), seen=seen) == [expected]


def test_frames_with_an_error_without_bytes_or_without_a_camera_are_never_left_out(
    spark: SparkSession,
) -> None:
    twice = [("front", BAD), ("front", b""), ("front", None), (None, b"a"), (None, BAD)]

    assert marked(spark, *twice, *twice) == [None] * 10


def test_what_was_dropped_before_stays_so_and_stands_for_nothing(spark: SparkSession) -> None:
    rows = [("front", b"a", "stale"), ("front", b"a", "superseded"), ("front", b"a")]

    assert marked(spark, *rows) == ["stale", "superseded", None]


def test_cameras_and_pictures_do_not_run_into_each_other(spark: SparkSession) -> None:
    assert marked(spark, ("ab", b"c"), ("a", b"bc"), ("b", b"ca")) == [None] * 3


def test_an_empty_batch_stays_empty(spark: SparkSession) -> None:
    assert marked(spark, seen=[(key("front", b"a"), NOW_MS)]) == []


def test_the_other_columns_stay_as_they_are(spark: SparkSession) -> None:
    given = frames(spark, ("front", b"a"))
    found = mark_duplicates(given, spark.createDataFrame([], SEEN), 60)

    assert found.columns == [*given.columns, "frame_key"]
    assert found.drop("frame_key").collect() == given.collect()


def test_base64_in_another_spelling_is_the_same_picture(spark: SparkSession) -> None:
    texts = ["aGVsbG8/", "data:image/jpeg;base64,aGVsbG8_", "aGVs\nbG8/"]
    rows = [
        (f"t/{offset}", offset, "front", None, text, b"", None, NOW_MS)
        for offset, text in enumerate(texts)
    ]
    messages = spark.createDataFrame(rows, FRAMES.replace(f"picture {PICTURE}", "text string"))
    no_bytes, no_error = F.lit(None).cast("binary"), F.lit(None).cast(schemas.ERROR)
    read = pictures.with_base64(messages, no_bytes, F.col("text"), no_error)

    found = mark_duplicates(read, spark.createDataFrame([], SEEN), 60)

    assert [row.dropped for row in found.orderBy("offset").collect()] == [
        None,
        "duplicate",
        "duplicate",
    ]


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_time_that_does_not_end_is_refused(spark: SparkSession, seconds: float) -> None:
    with pytest.raises(InvalidOptionError, match="a number above 0, and not infinite"):
        SeenFrames(spark, "checkpoint", seconds)


Batch = Callable[..., list[str | None]]


@pytest.fixture
def batch(spark: SparkSession, tmp_path: Path) -> Batch:
    """Runs a batch of a new process: marks it, remembers it, and commits it unless it is killed."""

    def run(
        batch_id: int,
        *rows: Any,
        seconds_later: float = 0,
        seconds: float = 60,
        failing: bytes = b"",
        killed: bool = False,
    ) -> list[str | None]:
        seen = SeenFrames(spark, str(tmp_path), seconds)
        given = frames(spark, *rows, planned_ms=NOW_MS + round(seconds_later * 1000))
        found = seen.mark(given)
        error = F.struct(F.lit("truncated").alias("code"), F.lit("cut").alias("message"))
        fails = F.col("picture.content") == F.lit(failing)
        results = found.withColumn("error", F.when(fails, error))
        seen.remember(results.where(F.col("dropped").isNull()), batch_id)
        marks = dropped(found)
        if not killed:
            (tmp_path / "commits").mkdir(exist_ok=True)
            (tmp_path / "commits" / str(batch_id)).touch()
        return marks

    return run


def kept_folders(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "seen_frames").iterdir())


def remembered(tmp_path: Path, batch_id: int) -> set[tuple[bytes, int]]:
    rows = pq.read_table(tmp_path / "seen_frames" / f"batch_id={batch_id}").to_pylist()
    assert len({row["frame_key"] for row in rows}) == len(rows)
    return {(row["frame_key"], row["seen_ms"] - NOW_MS) for row in rows}


def test_a_restarted_stream_remembers_and_forgets(batch: Batch, tmp_path: Path) -> None:
    a, b = ("front", b"a"), ("front", b"b")
    assert batch(0, a) == [None]
    assert batch(1, a, b, seconds_later=10) == ["duplicate", None]
    # A frame's time is not that of its duplicates: of a camera that stands still there is one
    # result in each minute.
    assert batch(2, a, b, seconds_later=60) == [None, "duplicate"]

    assert remembered(tmp_path, 2) == {(key(*a), 60_000), (key(*b), 10_000)}
    assert kept_folders(tmp_path) == ["batch_id=1", "batch_id=2"]


def test_a_replayed_batch_leaves_out_what_it_left_out_before(batch: Batch) -> None:
    a, b = ("front", b"a"), ("front", b"b")
    batch(0, a)

    assert batch(1, a, b, killed=True) == ["duplicate", None]
    assert batch(1, a, b) == ["duplicate", None]
    assert batch(2, a, b) == ["duplicate", "duplicate"]


def test_the_first_batch_is_replayed_whole(batch: Batch) -> None:
    assert batch(0, ("front", b"a"), killed=True) == [None]
    assert batch(0, ("front", b"a")) == [None]


def test_a_frame_that_failed_is_tried_again(batch: Batch) -> None:
    assert batch(0, ("front", b"a"), failing=b"a") == [None]
    assert batch(1, ("front", b"a")) == [None]
    assert batch(2, ("front", b"a")) == ["duplicate"]


@pytest.mark.slow
def test_batches_without_a_new_frame_write_nothing(batch: Batch, tmp_path: Path) -> None:
    batch(0, ("front", b"a"))
    assert batch(1) == []
    assert batch(2, ("front", b"a")) == ["duplicate"]
    assert batch(3, ("front", BAD)) == [None]

    assert kept_folders(tmp_path) == ["batch_id=0"]
    assert batch(4, ("front", b"a")) == ["duplicate"]


@pytest.mark.slow
def test_no_code_is_compiled_for_a_batch_like_the_ones_before(
    batch: Batch, compiled_classes: Callable[[], int]
) -> None:
    counts = []
    for batch_id in range(5):
        batch(batch_id, ("front", bytes([batch_id])), seconds_later=batch_id)
        counts.append(compiled_classes())

    assert counts[2:] == [counts[2]] * 3  # nothing is known in the first, and it is read since


def test_a_shorter_time_forgets_and_keeps_each_frame_once(batch: Batch, tmp_path: Path) -> None:
    a = ("front", b"a")
    batch(0, a)

    assert batch(1, a, seconds_later=30, seconds=20) == [None]
    assert remembered(tmp_path, 1) == {(key(*a), 30_000)}


def test_after_a_clock_set_back_by_an_hour_frames_are_looked_at(
    batch: Batch, tmp_path: Path
) -> None:
    a = ("front", b"a")
    batch(0, a)

    assert batch(1, a, seconds_later=-3600) == [None]
    assert batch(2, a, seconds_later=-3599) == ["duplicate"]
    assert remembered(tmp_path, 1) == {(key(*a), -3_600_000)}


def test_what_a_killed_writer_left_is_cleared_away(batch: Batch, tmp_path: Path) -> None:
    batch(0, ("front", b"a"))
    left = tmp_path / "seen_frames" / "_staging_1"
    shutil.copytree(tmp_path / "seen_frames" / "batch_id=0", left)

    batch(2, ("front", b"b"))

    assert kept_folders(tmp_path) == ["batch_id=0", "batch_id=2"]


def put(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = tmp_path / "frames" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.slow
def test_the_job_counts_duplicates_in_its_lines_and_across_a_restart(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: Any, caplog: Any
) -> None:
    put(tmp_path, {"front/0.jpg": STILL, "front/1.jpg": STILL, "back/2.jpg": STILL})
    put(tmp_path, {"front/3.jpg": MOVED, "front/4.jpg": b"no picture"})
    arguments = detect_arguments(root, tmp_path / "frames", tmp_path, "--dedupe", "3600")
    caplog.set_level(logging.INFO, "pyspark_vision.streaming")

    assert job(root, "stream_detect").main(arguments) == 0

    first = "frames in 5, detected 3, failed 1 (unsupported_format 1), dropped 1 (duplicate 1)"
    assert first in capsys.readouterr().out
    names = [record.name for record in caplog.records]
    line = caplog.records[names.index("pyspark_vision.streaming")].getMessage()
    assert json.loads(line)["dropped"] == {"duplicate": 1}

    put(tmp_path, {"front/5.jpg": STILL, "front/6.jpg": b"no picture"})
    assert job(root, "stream_detect").main(arguments) == 0

    second = "frames in 2, detected 0, failed 1 (unsupported_format 1), dropped 1 (duplicate 1)"
    assert second in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert len(rows) == 5
    assert not set(rows[0]) & {dedupe.KEY, PLANNED}


@pytest.mark.slow
def test_the_option_goes_on_and_off_on_one_checkpoint(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: Any
) -> None:
    said = []
    for number, option in enumerate([(), ("--dedupe", "3600"), (), ("--dedupe", "3600")]):
        put(tmp_path, {f"front/{number}.jpg": STILL})
        arguments = detect_arguments(root, tmp_path / "frames", tmp_path, *option)
        assert job(root, "stream_detect").main(arguments) == 0
        [line] = [one for one in capsys.readouterr().out.splitlines() if "frames in" in one]
        said.append(line.removeprefix("stream_detect: "))

    assert said == [
        "frames in 1, detected 1, failed 0",
        "frames in 1, detected 1, failed 0",
        "frames in 1, detected 1, failed 0",
        "frames in 1, detected 0, failed 0, dropped 1 (duplicate 1)",
    ]


@pytest.mark.slow
def test_a_replay_has_the_time_of_the_plan_and_not_its_own(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = detect_arguments(root, tmp_path / "frames", tmp_path, "--dedupe", "3600")
    for number in range(2):
        put(tmp_path, {f"front/{number}.jpg": STILL})
        assert job(root, "stream_detect").main(arguments) == 0
    # As if batch 1 had been planned two hours later, and the driver had died in it.
    checkpoint = tmp_path / "checkpoint"
    for name in ("commits/1", "commits/.1.crc", "offsets/.1.crc"):
        (checkpoint / name).unlink()
    version, metadata, *offsets = (checkpoint / "offsets" / "1").read_text().splitlines()
    planned = json.loads(metadata)
    planned["batchTimestampMs"] += 2 * 3600 * 1000
    lines = [version, json.dumps(planned), *offsets]
    (checkpoint / "offsets" / "1").write_text("\n".join(lines))
    capsys.readouterr()

    assert job(root, "stream_detect").main(arguments) == 0

    assert "frames in 1, detected 1, failed 0" in capsys.readouterr().out


def test_a_dry_run_plans_it_and_writes_nothing(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: Any
) -> None:
    put(tmp_path, {"front/0.jpg": STILL})
    flags = ("--dedupe", "60", "--dry-run")

    code = job(root, "stream_detect").main(
        detect_arguments(root, tmp_path / "frames", tmp_path, *flags)
    )

    assert code == 0
    assert "sha2" in capsys.readouterr().out
    assert not (tmp_path / "checkpoint").exists()


def test_an_infinite_time_is_refused_in_one_line(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: Any
) -> None:
    put(tmp_path, {"front/0.jpg": STILL})

    code = job(root, "stream_detect").main(
        detect_arguments(root, tmp_path / "frames", tmp_path, "--dedupe", "inf")
    )

    assert code == 2
    assert "remembered for inf seconds" in capsys.readouterr().err
