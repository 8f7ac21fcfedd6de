"""A broker with two topics, frames sent to one of them, and when the other's results come."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services import kafka

from benchmarks.latency_streams.children import Child, running
from benchmarks.latency_streams.names import CORES
from benchmarks.latency_streams.producer import Schedule
from benchmarks.material import VGA_WH, pictures
from benchmarks.places import WORK

_FRAMES, _RESULTS = "frames", "results"


@dataclass(frozen=True)
class Place:
    """Where a stream works: the broker, its topics, and a folder that goes with them."""

    servers: str
    folder: Path
    frames: str = _FRAMES
    results: str = _RESULTS


@contextmanager
def fresh_place() -> Iterator[Place]:
    """A broker of its own for each stream: none has more behind it than another."""
    WORK.mkdir(parents=True, exist_ok=True)
    # Not in /tmp, which may be memory: a run's frames are gigabytes.
    with (
        tempfile.TemporaryDirectory(dir=WORK, prefix="latency-") as folder,
        kafka.running(Path(folder)) as broker,
    ):
        _make_topics(broker.bootstrap_servers)
        yield Place(broker.bootstrap_servers, Path(folder))


def _make_topics(servers: str) -> None:
    """With a partition for each core; its client ends here, before the broker does."""
    # librdkafka's level of warnings: it would note that the client ends.
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 4})
    topics = [NewTopic(name, CORES, 1) for name in (_FRAMES, _RESULTS)]
    for made in admin.create_topics(topics).values():
        made.result(timeout=30)


class Arrivals:
    """When each frame's first result came, on the clock of ``time.monotonic``; and repeats."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self._first: dict[str, dict[int, float]] = defaultdict(dict)
        self._repeats: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, image_id: str, now: float) -> None:
        """Note a result."""
        run, _, number = image_id.rpartition("-")
        with self._lock:
            first = self._first[run]
            self._repeats[run] += int(number) in first
            first.setdefault(int(number), now)

    def of(self, run: str) -> dict[int, float]:
        """By the frame's number."""
        with self._lock:
            return dict(self._first[run])

    def count(self, run: str) -> int:
        """Frames with a result so far."""
        with self._lock:
            return len(self._first[run])

    def repeats(self, run: str) -> int:
        """Results beyond each frame's first."""
        with self._lock:
            return self._repeats[run]


@contextmanager
def arriving(place: Place) -> Iterator[Arrivals]:
    """Results read by a plain consumer, as they come, until the end of the block."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.servers,
            "group.id": "latency",
            "enable.auto.commit": False,
        }
    )
    consumer.assign(
        [TopicPartition(place.results, number, OFFSET_BEGINNING) for number in range(CORES)]
    )
    arrivals, done = Arrivals(), threading.Event()

    def read() -> None:
        while not done.is_set():
            message = consumer.poll(0.2)
            now = time.monotonic()
            if message is None:
                continue
            value = message.value()
            if message.error() is not None or value is None:
                arrivals.failure = f"the consumer got {message.error()}"
                return
            result = json.loads(value)
            if result.get("error_message") is not None:
                arrivals.failure = f"a frame failed: {result['error_message']}"
            arrivals.add(result["image_id"], now)

    reader = threading.Thread(target=read, name="arrivals")
    reader.start()
    try:
        yield arrivals
    finally:
        done.set()
        reader.join()
        consumer.close()


class Sender:
    """A producer's process at work."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.started: float = self._answer()["started"]

    def is_done(self) -> bool:
        """Whether it has ended, which it does by itself."""
        self._child.check()
        return self._child.process.poll() is not None

    def report(self) -> dict[str, float]:
        """Waits for its end: ``latest_s`` (the most that a frame was sent late), ``took_s``."""
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._child.process.stdout is not None
        line = self._child.process.stdout.readline()
        if not line:
            raise self._child.failure("ended early")
        found: dict[str, float] = json.loads(line)
        return found


@contextmanager
def sending(place: Place, run: str, frames: int, rate: float = 0.0) -> Iterator[Sender]:
    """Frames on their way until the end of the block; ``rate`` 0: as fast as they go."""
    files = tuple(str(file) for file in pictures(VGA_WH))
    schedule = Schedule(place.servers, place.frames, run, frames, rate, files)
    command = [sys.executable, "-m", "benchmarks.latency_streams.producer", schedule.as_json()]
    with running("producer", command, answers=True) as child:
        yield Sender(child)
