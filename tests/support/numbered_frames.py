"""Frames that are told apart by their number, sent, and looked for in each sink without the job."""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset
from confluent_kafka import Consumer, Producer
from kafka_topics import make_topic
from local_services.kafka import MESSAGE_MAX_BYTES
from pictures import scene_jpeg

PARTITIONS = 2
# One in so many is bad, in one of these ways in turn.
_BAD_EVERY = 10
_PICTURES = 16
_SIZE_WH = (160, 120)

Place = tuple[int, int]  # partition, offset


@dataclass(frozen=True)
class Sent:
    """``numbers``: where each frame lies; ``bad``: the places of those that have no result."""

    topic: str
    results: str
    numbers: dict[Place, int]
    bad: frozenset[Place]


@dataclass(frozen=True)
class Found:
    """How often each place was seen; ``changed``: keys whose repeats differ."""

    parquet: Counter[Place]
    failed: Counter[Place]
    letters: Counter[Place]
    messages: Counter[Place]
    changed: list[str]
    misnumbered: int

    def problems(self, sent: Sent) -> list[str]:
        """What is not as it should be, a line each; empty if nothing is lost or repeated."""
        once = Counter(dict.fromkeys(sent.numbers, 1))
        bad = Counter(dict.fromkeys(sent.bad, 1))
        good = set(sent.numbers) - sent.bad
        checks = {
            "Parquet has not each frame once": _difference(self.parquet, once),
            "Parquet's failed rows are not the bad frames": _difference(self.failed, bad),
            "dead letters are not each bad frame once": _difference(self.letters, bad),
            "Kafka lacks results": len(good - set(self.messages)),
            "Kafka has results of bad frames": len(set(self.messages) - good),
            "repeats in Kafka differ": len(self.changed),
            "rows with another frame's number": self.misnumbered,
        }
        return [f"{what}: {count}" for what, count in checks.items() if count]


def send(servers: str, count: int, rng: random.Random) -> Sent:
    """``count`` frames to a new topic, spread over its partitions; the number is the camera."""
    topic, results = topics(servers)
    pictures = [scene_jpeg(rng.randrange(10**6), *_SIZE_WH) for _ in range(_PICTURES)]
    numbers: dict[Place, int] = {}
    bad: set[Place] = set()
    offsets = Counter[int]()
    messages = []
    for number in range(count):
        partition = rng.randrange(PARTITIONS)
        place = (partition, offsets[partition])
        offsets[partition] += 1
        numbers[place] = number
        if number % _BAD_EVERY == 0:
            bad.add(place)
        messages.append((partition, _message(number, pictures, number % _BAD_EVERY == 0)))
    produce(servers, topic, messages)
    return Sent(topic, results, numbers, frozenset(bad))


def topics(servers: str) -> tuple[str, str]:
    """New ones, of frames and of results."""
    return make_topic(servers, PARTITIONS, "frames"), make_topic(servers, PARTITIONS, "results")


def produce(
    servers: str,
    topic: str,
    messages: Iterable[tuple[int, bytes]],
    max_bytes: int = MESSAGE_MAX_BYTES,
) -> None:
    """``(partition, value)`` each, in order; all of them are there afterwards."""
    limits = {"message.max.bytes": max_bytes, "linger.ms": 50}
    producer = Producer({"bootstrap.servers": servers, **limits})
    for partition, value in messages:
        while True:
            try:
                producer.produce(topic, value, partition=partition)
                break
            except BufferError:  # its queue is full
                producer.poll(1)
        producer.poll(0)
    assert producer.flush(120) == 0


def look(servers: str, sent: Sent, output: Path, dead_letters: Path) -> Found:
    """What the three sinks hold: Parquet by pyarrow, messages by a plain consumer."""
    parquet, failed = Counter[Place](), Counter[Place]()
    misnumbered = 0
    for row in rows(output):
        place = (row["partition"], row["offset"])
        parquet[place] += 1
        failed[place] += row["error"] is not None
        camera = row["camera_id"]
        misnumbered += camera is not None and int(camera) != sent.numbers.get(place)
    letters = pyarrow.dataset.dataset(dead_letters).to_table(columns=["partition", "offset"])
    messages, changed = _messages(servers, sent.results)
    return Found(
        parquet,
        +failed,
        Counter((row["partition"], row["offset"]) for row in letters.to_pylist()),
        messages,
        changed,
        misnumbered,
    )


def rows(output: Path, *more: str) -> list[dict[str, Any]]:
    """The job's Parquet, by another engine; with ``more`` columns."""
    names = ["partition", "offset", "camera_id", "error", *more]
    found = pyarrow.dataset.dataset(output, partitioning="hive").to_table(columns=names)
    return list(found.to_pylist())


def _messages(servers: str, topic: str) -> tuple[Counter[Place], list[str]]:
    """Of keys ``topic-partition-offset-model``."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
        }
    )
    consumer.subscribe([topic])
    places, values, changed = Counter[Place](), dict[str, int](), list[str]()
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 5:
        for message in consumer.consume(500, 1.0):
            assert message.error() is None, message.error()
            key, value = (message.key() or b"").decode(), hash(message.value())
            partition, offset = key.split("@", 1)[0].rsplit("-", 4)[-4:-2]
            places[int(partition), int(offset)] += 1
            if values.setdefault(key, value) != value:
                changed.append(key)
            quiet_since = time.monotonic()
    consumer.close()
    return places, changed


def _difference(found: Counter[Place], wanted: Counter[Place]) -> int:
    return (found - wanted).total() + (wanted - found).total()


def _message(number: int, pictures: list[bytes], bad: bool) -> bytes:
    picture = pictures[number % len(pictures)]
    ways = (b"{not json", picture[: len(picture) // 3], b"no picture", b"")
    way = ways[number // _BAD_EVERY % len(ways)] if bad else picture
    if way == ways[0]:
        return way
    return message(number, way)


def message(number: int, picture: bytes) -> bytes:
    """A frame of the camera ``number``."""
    return message_of(number, base64.b64encode(picture).decode())


def message_of(number: int, image: str) -> bytes:
    """The same with what stands in its field ``image``."""
    fields = {"image": image, "timestamp": "2026-11-21T08:00:00", "camera_id": str(number)}
    return json.dumps(fields).encode()
