"""`pyspark-vision` clients as processes of their own, and what they leave in a topic."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from PIL import Image

# On a busy machine a process that has little to do may need long.
TIMEOUT_S = 120


def command(*words: object) -> list[str]:
    """The command line of ``pyspark-vision``."""
    return [sys.executable, "-m", "pyspark_vision.cli.main", *map(str, words)]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a client to its end."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    """A client that the test ends with :func:`end`; killed if it does not."""
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Signal it, and what it has printed on standard output and error."""
    process.send_signal(number)
    return process.communicate(timeout=TIMEOUT_S)


def wait_for(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def paused(pid: int, seconds: float) -> Iterator[None]:
    """A process stands still, at most so long; it goes on at the end of the block."""
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        yield
        time.sleep(max(0.0, began + seconds - time.monotonic()))
    finally:
        os.kill(pid, signal.SIGCONT)


def counts(line: str) -> dict[str, int]:
    """``frames 6, sent 3, dropped 2 (late 2), failed 1 (too_large 1)`` -> its four numbers."""
    numbers = re.search(r"(frames|images) (\d+), sent (\d+), dropped (\d+).*?, failed (\d+)", line)
    assert numbers, line
    names = ("captured", "sent", "dropped", "failed")
    return dict(zip(names, map(int, numbers.groups()[1:]), strict=True))


def adds_up(counted: dict[str, int]) -> bool:
    """Whether something has become of each frame that was captured."""
    return counted["captured"] == counted["sent"] + counted["dropped"] + counted["failed"]


def in_topic(servers: str, topic: str) -> list[Any]:
    """All records that are in the topic now, though more may come, by a plain consumer."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "none"})
    try:
        numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        begins = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
        ends = {at.partition: consumer.get_watermark_offsets(at, timeout=10)[1] for at in begins}
        consumer.assign(begins)
        records: list[Any] = []
        deadline = time.monotonic() + TIMEOUT_S
        while len(records) < sum(ends.values()):
            assert time.monotonic() < deadline
            message = consumer.poll(1.0)
            if message is None or message.error() is not None:
                continue
            place: Any = (message.partition(), message.offset())
            if place[1] < ends[place[0]]:
                records.append(message)
        return records
    finally:
        consumer.close()


def size_wh(jpeg: bytes) -> tuple[int, int]:
    """Of a JPEG that decodes to its end."""
    image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    image.load()
    return image.size
