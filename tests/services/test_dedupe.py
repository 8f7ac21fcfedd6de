"""stream_detect --dedupe on a real broker: what is left out, what never is, and what is counted."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from local_services.kafka import Kafka
from local_services.s3 import S3
from pictures import scene_jpeg
from pyspark.sql import SparkSession

# Messages that are no frames, each of another kind; and one whose picture is not base64.
MALFORMED = [
    b"",
    b"{",
    b"\xff\xfe",
    b'{"image": "aaaa", "timestamp": "2026-11-21T08:00:00", "camera_id": 7}',
    b'{"image": "aaaa", "timestamp": "yesterday", "camera_id": "front"}',
    b'{"timestamp": "2026-11-21T08:00:00", "camera_id": "front"}',
    b'{"image": "?", "timestamp": "2026-11-21T08:00:00", "camera_id": "front"}',
]


def frame(seed: int, camera_id: str = "front", seconds_ago: float = 0) -> bytes:
    """As PyctureStream's producer writes it: no two with the same time, so none are the same."""
    taken = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)
    message = {
        "image": base64.b64encode(scene_jpeg(seed)).decode("utf-8"),
        "timestamp": taken.isoformat(),
        "camera_id": camera_id,
    }
    return json.dumps(message).encode("utf8")


@pytest.fixture
def detect(
    spark: SparkSession, kafka: Kafka, topic: str, tmp_path: Path, capsys: Any
) -> Callable[..., str]:
    """Runs the job on what is in the topic; gives its last line."""

    def run(*more: object) -> str:
        code = jobs.run(
            "stream_detect",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--trigger", "available-now"),
            *("--sink", "parquet", "--output", tmp_path / "out", "--time-zone", "UTC"),
            *("--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "checkpoint"),
            *more,
        )
        said = capsys.readouterr()
        assert code == 0, said.err
        [line] = [line for line in said.out.splitlines() if "frames in" in line]
        return line.removeprefix("stream_detect: ")

    return run


def offsets(tmp_path: Path) -> list[int]:
    return sorted(pq.read_table(tmp_path / "out").column("offset").to_pylist())


def test_identical_frames_of_a_camera_are_left_out_within_a_batch_and_after_a_restart(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    options = ("--keep-all", "--dedupe", 3600)
    jobs.produce(producer, topic, frame(1), frame(2), frame(1), frame(1, "back"))

    assert detect(*options) == "frames in 4, detected 3, failed 0, dropped 1 (duplicate 1)"

    jobs.produce(producer, topic, frame(1), frame(3), frame(1, "back"), frame(1, "hall"))

    assert detect(*options) == "frames in 4, detected 2, failed 0, dropped 2 (duplicate 2)"
    assert offsets(tmp_path) == [0, 1, 3, 5, 7]


@pytest.mark.slow
def test_each_of_many_batches_knows_what_the_ones_before_have_seen(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, *[frame(seed) for seed in (1, 2, 1, 3, 2, 1, 3)])

    line = detect("--keep-all", "--dedupe", 3600, "--max-offsets-per-trigger", 2)

    assert line == "frames in 7, detected 3, failed 0, dropped 4 (duplicate 4)"
    assert offsets(tmp_path) == [0, 1, 3]
    commits = [file.name for file in (tmp_path / "checkpoint" / "commits").iterdir()]
    assert len([name for name in commits if name.isdigit()]) == 4


def test_after_the_time_the_same_frame_is_looked_at_again(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, frame(1))
    assert detect("--keep-all", "--dedupe", 1) == "frames in 1, detected 1, failed 0"
    # Nothing else came meanwhile that could move a watermark.
    time.sleep(1)
    jobs.produce(producer, topic, frame(1))

    assert detect("--keep-all", "--dedupe", 1) == "frames in 1, detected 1, failed 0"
    assert offsets(tmp_path) == [0, 1]


@pytest.mark.slow
def test_malformed_messages_are_all_kept_with_their_reason(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    too_large = frame(1) + b" " * 200_000
    sent = [*MALFORMED, too_large] * 2
    jobs.produce(producer, topic, *sent, frame(2))

    for _ in range(2):  # the second run must not know them either
        line = detect(
            *("--keep-all", "--dedupe", 3600, "--max-message-bytes", 150_000),
            *("--dead-letters", tmp_path / "dead"),
        )
        expected = "failed 16 (bad_base64 2, bad_message 10, empty_input 2, too_many_bytes 2)"
        jobs.produce(producer, topic, *sent, frame(3))

        assert line == f"frames in 17, detected 1, {expected}"

    letters = pq.read_table(tmp_path / "dead").to_pylist()
    assert sorted(letter["payload"] for letter in letters) == sorted(sent * 2)


@pytest.mark.slow
def test_a_frame_that_was_superseded_stands_for_no_other(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    options = ("--max-age", 600, "--dedupe", 3600)
    jobs.produce(producer, topic, frame(1, seconds_ago=3), frame(2, seconds_ago=2))
    assert detect(*options) == "frames in 2, detected 1, failed 0, dropped 1 (superseded 1)"
    jobs.produce(producer, topic, frame(2, seconds_ago=2), frame(1, seconds_ago=1))
    # Picture 1 has not been looked at yet, though it came before.
    assert detect(*options) == "frames in 2, detected 1, failed 0, dropped 1 (superseded 1)"
    jobs.produce(producer, topic, frame(3, seconds_ago=2), frame(1, seconds_ago=1))

    # The newest frame is what the camera shows now: an older one does not take its place.
    line = detect(*options)

    assert line == "frames in 2, detected 0, failed 0, dropped 2 (duplicate 1, superseded 1)"
    assert offsets(tmp_path) == [1, 3]


@pytest.mark.parametrize(
    "days_ahead",
    # the broker refuses an hour and more
    [pytest.param(-20_000, marks=pytest.mark.slow), 0.04],
)
def test_records_of_another_time_move_nothing_and_lose_no_frame(
    detect: Any, topic: str, producer: Producer, tmp_path: Path, days_ahead: float
) -> None:
    at_ms = int((time.time() + days_ahead * 24 * 3600) * 1000)
    for seed in (1, 1, 2):
        producer.produce(topic, frame(seed), partition=0, timestamp=at_ms)
    jobs.produce(producer, topic, frame(1), frame(3))

    line = detect("--keep-all", "--dedupe", 3600, "--max-offsets-per-trigger", 2)

    assert line == "frames in 5, detected 3, failed 0, dropped 2 (duplicate 2)"
    assert offsets(tmp_path) == [0, 2, 4]


def test_a_picture_as_a_message_is_compared_by_its_bytes(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    still, moved = scene_jpeg(1), scene_jpeg(2)
    sent = [("front", still), ("front", moved), ("back", still), ("front", still)]
    jobs.produce(producer, topic, *sent, ("front", b""), ("front", b""))

    line = detect("--payload", "image", "--keep-all", "--dedupe", 3600)

    expected = "detected 3, failed 2 (empty_input 2), dropped 1 (duplicate 1)"
    assert line == f"frames in 6, {expected}"
    assert offsets(tmp_path) == [0, 1, 2, 4, 5]


@pytest.mark.slow
def test_objects_are_compared_by_what_they_hold_and_not_by_their_names(
    detect: Any, s3: S3, s3_client: Any, bucket: str, topic: str, producer: Producer, tmp_path: Path
) -> None:
    def claim(name: str) -> bytes:
        uri = f"s3://{bucket}/{name}.jpg"
        now = dt.datetime.now(dt.UTC).isoformat()
        return json.dumps({"image": uri, "timestamp": now, "camera_id": "front"}).encode()

    def put(name: str, seed: int) -> None:
        s3_client.put_object(Bucket=bucket, Key=f"{name}.jpg", Body=scene_jpeg(seed))

    put("one", 1)
    put("copy", 1)
    options = (
        *("--payload", "uri", "--uri-prefix", f"s3://{bucket}/"),
        *("--keep-all", "--dedupe", "3600"),
    )
    jobs.produce(producer, topic, *map(claim, ("one", "copy", "none", "none")))

    expected = "detected 1, failed 2 (fetch_not_found 2), dropped 1 (duplicate 1)"
    assert detect(*options) == f"frames in 4, {expected}"

    put("one", 2)
    jobs.produce(producer, topic, claim("one"))

    assert detect(*options) == "frames in 1, detected 1, failed 0"
    assert offsets(tmp_path) == [0, 2, 3, 4]
