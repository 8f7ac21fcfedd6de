"""10,000 messages, 500 of them bad in ten ways: each has its result or its dead letter, once."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import job_runs as jobs
import pictures
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from local_services.kafka import Kafka
from pictures import scene_jpeg
from pyspark.sql import SparkSession

from pyspark_vision.cli.main import main as pyspark_vision

GOOD, BAD_PER_WAY = 9_500, 50
SCENES = 40
MAX_MESSAGE_BYTES = 5 * 1024 * 1024


def frame(image: Any, **changed: Any) -> bytes:
    text = base64.b64encode(image).decode() if isinstance(image, bytes) else image
    message = {"image": text, "timestamp": "2026-11-21T08:00:00.5", "camera_id": "front"}
    return json.dumps({**message, **changed}).encode()


def without(name: str) -> bytes:
    message = json.loads(frame(scene_jpeg(1, 160, 120)))
    del message[name]
    return json.dumps(message).encode()


def bomb() -> bytes:
    """A PNG of 100 KB that says it has 10 gigapixels."""
    return pictures.png_header(100_000, 100_000)


def bad_messages() -> dict[str, tuple[str, list[bytes | None]]]:
    """way -> (the code it must get, its messages in turn)."""
    picture = scene_jpeg(1, 160, 120)
    six_mb = picture + b"\0" * (6 * 1024 * 1024 * 3 // 4 - len(picture))
    return {
        "not JSON": ("bad_message", [b"not json", b'{"image": "', b"[1, 2]", b'"text"']),
        "no field": ("bad_message", [without("image"), without("camera_id"), b"{}"]),
        "bad base64": ("bad_base64", [frame("!!!"), frame("a"), frame("data:image/png,abc")]),
        "truncated JPEG": ("truncated", [frame(picture[: len(picture) // 2])]),
        "6 MB": ("too_many_bytes", [frame(six_mb)]),
        "null value": ("null_input", [None]),
        "wrong types": (
            "bad_message",
            [
                frame(picture, camera_id=7),
                frame(picture, timestamp=[1]),
                frame(picture, camera_id={}),
            ],
        ),
        "bomb": ("too_many_pixels", [frame(bomb())]),
        "empty": ("empty_input", [b"", frame(b"")]),
        "unknown camera": ("bad_message", [frame(picture, camera_id="attic")]),
    }


@dataclass
class Sent:
    """What is where in the topic: offsets by partition."""

    good: set[tuple[int, int]] = field(default_factory=set)
    bad: dict[tuple[int, int], tuple[str, str, bytes | None]] = field(default_factory=dict)


@dataclass
class Run:
    """One topic with its 10,000 messages, and the job that reads it."""

    topic: str
    letters: str
    output: Path
    sent: Sent
    start: Callable[..., int]


@pytest.fixture(scope="module")
def ran(
    spark: SparkSession,
    kafka: Kafka,
    new_topic: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The job has read all 10,000 once."""
    topic, letters = new_topic(), new_topic()
    folder = tmp_path_factory.mktemp("ten-thousand")
    sent = Sent()
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "message.max.bytes": 12 * 1024 * 1024}
    )
    good = [frame(scene_jpeg(seed, 160, 120)) for seed in range(SCENES)]
    ways = bad_messages()
    offsets = [0, 0]

    def produce(value: bytes | None, partition: int) -> tuple[int, int]:
        producer.produce(topic, value, b"key", partition)
        # Six-megabyte messages fill the producer's queue.
        if value is not None and len(value) > 1_000_000:
            producer.flush(30)
        producer.poll(0)
        place = (partition, offsets[partition])
        offsets[partition] += 1
        return place

    for number in range(GOOD + len(ways) * BAD_PER_WAY):
        partition = number % 2
        if number % 20 < 19:
            sent.good.add(produce(good[number % SCENES], partition))
            continue
        round_, way = divmod(number // 20, len(ways))
        name = list(ways)[way]
        code, messages = ways[name]
        value = messages[round_ % len(messages)]
        sent.bad[produce(value, partition)] = (name, code, value)
        if number % 1000 == 999:
            producer.flush(60)
    assert producer.flush(60) == 0
    assert Counter(name for name, _, _ in sent.bad.values()) == dict.fromkeys(ways, BAD_PER_WAY)

    def start(*more: object) -> int:
        return jobs.run(
            "stream_detect",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--trigger", "available-now", "--keep-all"),
            *("--max-offsets-per-trigger", 2500, "--cameras", "front", "back"),
            *("--model", jobs.model("demo-detector"), "--checkpoint", folder / "checkpoint"),
            *("--sink", "parquet", "--output", folder / "out"),
            *("--dead-letters", f"kafka:{letters}"),
            *more,
        )

    assert start() == 0
    return Run(topic, letters, folder / "out", sent, start)


def places(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["partition"], row["offset"]) for row in rows]


def headers(message: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers()}


def test_every_good_message_has_its_result_once_and_every_bad_one_its_reason(ran: Run) -> None:
    rows = pq.read_table(
        ran.output, columns=["partition", "offset", "error", "detections"]
    ).to_pylist()

    good = places([row for row in rows if row["error"] is None])
    bad = {(row["partition"], row["offset"]): row["error"]["code"] for row in rows if row["error"]}
    assert len(good) == len(set(good)) == GOOD
    assert set(good) == ran.sent.good
    assert bad == {place: code for place, (_, code, _) in ran.sent.bad.items()}
    assert sum(bool(row["detections"]) for row in rows) > GOOD / 2


def test_every_bad_message_has_one_dead_letter_with_its_bytes_and_its_place(
    ran: Run, consumer: Consumer
) -> None:
    messages = jobs.consume(consumer, ran.letters, len(ran.sent.bad))

    found = {}
    for message in messages:
        said = headers(message)
        assert said["pyspark_vision.topic"] == ran.topic
        assert message.key() == b"key"
        place = (int(said["pyspark_vision.partition"]), int(said["pyspark_vision.offset"]))
        found[place] = (said["pyspark_vision.error_code"], message.value())
        assert said["pyspark_vision.error_message"]
        assert said["pyspark_vision.model"]
        assert said["pyspark_vision.timestamp"]
    assert len(messages) == len(found) == 500
    assert found == {place: (code, value) for place, (_, code, value) in ran.sent.bad.items()}


@pytest.mark.slow  # test_replay has the quick cases
def test_replay_after_the_cause_is_fixed_completes_them_and_only_once(
    ran: Run, kafka: Kafka, tmp_path: Path, capsys: Any
) -> None:
    before = pq.read_table(ran.output, columns=["partition", "offset"]).num_rows
    replay = [
        *("replay", f"kafka:{ran.letters}", "--kafka-servers", kafka.bootstrap_servers),
        *("--checkpoint", str(tmp_path / "replay")),
    ]

    assert pyspark_vision(replay) == 0
    again = pyspark_vision(replay)
    said = capsys.readouterr().out
    # The cause: a limit that was too low, and a camera that nobody had announced.
    assert ran.start("--max-message-bytes", 9_000_000, "--cameras", "front", "back", "attic") == 0

    rows = pq.read_table(ran.output, columns=["partition", "offset", "error"]).to_pylist()
    replayed = sorted(rows, key=lambda row: row["offset"])[-500:]
    assert again == 0
    assert "replay: 500 letters put back" in said
    assert "replay: 0 letters put back" in said
    assert len(rows) == len(set(places(rows))) == before + 500
    assert sum(row["error"] is None for row in replayed) == 2 * BAD_PER_WAY
    codes = Counter(row["error"]["code"] for row in replayed if row["error"])
    assert codes == {
        "bad_message": 3 * BAD_PER_WAY,
        "bad_base64": BAD_PER_WAY,
        "truncated": BAD_PER_WAY,
        "null_input": BAD_PER_WAY,
        "too_many_pixels": BAD_PER_WAY,
        "empty_input": BAD_PER_WAY,
    }
