"""The newest results of a topic, in memory: as long as the window, and no more than so many.

Reading begins at the end of the topic less the window, by the records' times, and commits nothing.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from confluent_kafka import (
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaException,
    TopicPartition,
)

from pyspark_vision.clients.brokers import TIMEOUT_S, Brokers, explained
from pyspark_vision.clients.dashboard.answers import Example
from pyspark_vision.clients.dashboard.columns import find_layout
from pyspark_vision.clients.dashboard.source import Picture, PictureMissing, Status
from pyspark_vision.clients.dashboard.summary import EXAMPLES, Summary
from pyspark_vision.clients.pycturestream import BadMessageError, Result, read_result

DEFAULT_WINDOW_S = 3600.0

# 40 MB of results without their pictures: an hour of 28 a second.
_MOST_RESULTS = 100_000
# Of pictures, some of each label; labels beyond these have none.
_MOST_PICTURED_LABELS = 200
_MOST_PICTURE_BYTES = 4 * 1024 * 1024
# A look takes what is there, and no longer than this, so that the page sees a backlog coming.
_LOOK_S = 2.0
_RECORDS_AT_ONCE = 500

_SCHEMA = pa.schema(
    [
        ("camera_id", pa.string()),
        ("timestamp", pa.string()),
        ("processed_at", pa.timestamp("us", "UTC")),
        ("detections", pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())]))),
        ("origin", pa.string()),
    ]
)
_LAYOUT = find_layout(_SCHEMA)


@dataclass(frozen=True)
class _Kept:
    """What is counted of a result. ``arrived_ms``: the record's time."""

    arrived_ms: int
    row: dict[str, Any]


class LiveTopic:
    """``topic`` as a source; ``zone``: of times without an offset and of the page."""

    def __init__(self, brokers: Brokers, topic: str, window_s: float, zone: str) -> None:
        self._brokers = brokers
        self._topic = topic
        self._window_s = window_s
        self._zone = zone
        self._kept: deque[_Kept] = deque()
        self._pictures: dict[str, deque[tuple[str, bytes]]] = {}
        self._next: dict[int, int] = {}
        self._bad = self._left_out = 0
        self._first_bad = ""
        self._away = ""
        # librdkafka begins to look for brokers here, and goes on by itself while there are none.
        self._consumer = Consumer(
            brokers.config(
                group_id="pyspark-vision-dashboard",
                enable_auto_commit=False,
                auto_offset_reset="latest",
            )
            | {"error_cb": self._on_error}
        )
        self._status = Status(Summary(zone), 0, progress="Connecting …")

    @property
    def shown(self) -> str:
        return f"kafka:{self._topic}"

    @property
    def about(self) -> str:
        return f"the last {self._window_s / 60:g} minutes of the topic, on {self._brokers.servers}"

    @property
    def status(self) -> Status:
        return self._status

    def look(self) -> None:
        try:
            self._assign()
            count = self._take()
        except KafkaException as error:
            self._say((f"{explained(self._brokers, error.args[0])}. It is tried again.",))
            return
        dropped = self._drop_old()
        if count or dropped:
            self._count()
        self._say(self._notes())

    def picture(self, example: Example) -> Picture:
        for origin, jpeg in tuple(self._pictures.get(example.label, ())):
            if origin == example.origin:
                return Picture(jpeg)
        raise PictureMissing("the result came without its picture, or a newer one took its place")

    def close(self) -> None:
        self._consumer.close()
        self._status.summary.close()

    def _on_error(self, error: Any) -> None:
        self._away = explained(self._brokers, error)

    def _assign(self) -> None:
        """Read all partitions, those that came later too: from the window's start."""
        metadata = self._consumer.list_topics(self._topic, timeout=TIMEOUT_S / 2)
        topic = metadata.topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        self._away = ""
        new = set(topic.partitions) - self._next.keys()
        if not new:
            return
        # To Kafka, what is below 0 are other words: -1 is the end.
        since_ms = max(0, int((time.time() - self._window_s) * 1000))
        wanted = [TopicPartition(self._topic, number, since_ms) for number in sorted(new)]
        for start in self._consumer.offsets_for_times(wanted, timeout=TIMEOUT_S):
            # No record is as young as that: those that come are.
            self._next[start.partition] = start.offset if start.offset >= 0 else OFFSET_END
        self._consumer.assign(
            [TopicPartition(self._topic, number, at) for number, at in self._next.items()]
        )

    def _take(self) -> int:
        count, until = 0, time.monotonic() + _LOOK_S
        while time.monotonic() < until:
            records = self._consumer.consume(_RECORDS_AT_ONCE, timeout=0.2)
            if not records:
                break
            for record in records:
                partition, offset = record.partition(), record.offset()
                if record.error() is None and partition is not None and offset is not None:
                    count += 1
                    self._next[partition] = offset + 1
                    self._keep(record)
        return count

    def _keep(self, record: Any) -> None:
        kind, arrived_ms = record.timestamp()
        if kind == TIMESTAMP_NOT_AVAILABLE:
            arrived_ms = int(time.time() * 1000)
        origin = f"{record.topic()}-{record.partition()}-{record.offset()}"
        try:
            result = read_result(record.value() or b"")
        except BadMessageError as error:
            self._bad += 1
            self._first_bad = self._first_bad or f"{origin}: {error}"
            return
        objects = [{"label": item.label, "score": item.score} for item in result.objects]
        row = {
            "camera_id": result.camera_id,
            "timestamp": result.timestamp,
            "processed_at": datetime.fromtimestamp(arrived_ms / 1000, UTC),
            "detections": objects,
            "origin": origin,
        }
        self._kept.append(_Kept(arrived_ms, row))
        self._keep_picture(result, origin)

    def _keep_picture(self, result: Result, origin: str) -> None:
        if result.jpeg is None or len(result.jpeg) > _MOST_PICTURE_BYTES:
            return
        for label in {item.label for item in result.objects}:
            if label in self._pictures or len(self._pictures) < _MOST_PICTURED_LABELS:
                some = self._pictures.setdefault(label, deque(maxlen=EXAMPLES))
                some.append((origin, result.jpeg))

    def _drop_old(self) -> int:
        since_ms = (time.time() - self._window_s) * 1000
        before = len(self._kept)
        while self._kept and self._kept[0].arrived_ms < since_ms:
            self._kept.popleft()
        while len(self._kept) > _MOST_RESULTS:
            self._kept.popleft()
            self._left_out += 1
        return before - len(self._kept)

    def _count(self) -> None:
        summary = Summary(self._zone)
        table = pa.Table.from_pylist([kept.row for kept in self._kept], schema=_SCHEMA)
        with summary.adding():
            summary.add(table, _LAYOUT)
        summary.settle()
        before = self._status
        self._status = replace(before, summary=summary, version=before.version + 1)
        before.summary.close()

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self._away:
            notes.append(f"{self._away}. It is tried again.")
        if self._left_out:
            notes.append(
                f"Only the newest {_MOST_RESULTS:,} results are kept: {self._left_out:,} of the "
                "window are left out."
            )
        if self._bad:
            notes.append(
                f"{self._bad:,} messages are no results and were left out; the first: "
                f"{json.dumps(self._first_bad, ensure_ascii=False)[1:-1][:200]}."
            )
        if not self._kept:
            notes.append(
                f"No result in the last {self._window_s / 60:g} minutes of {self._topic}. The page "
                "shows them when they come. Failed frames are no results: see the dead letters."
            )
        return tuple(notes)

    def _say(self, notes: tuple[str, ...]) -> None:
        said = replace(self._status, progress="", notes=notes)
        if said != self._status:
            self._status = replace(said, version=said.version + 1)
