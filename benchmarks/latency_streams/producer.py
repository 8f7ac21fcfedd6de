"""Frames at a fixed rate into Kafka, in a process of its own: numbered, as "week 9" sends them.

Prints a line of JSON when it starts to send and one when all are with the broker.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from confluent_kafka import Producer


@dataclass(frozen=True)
class Schedule:
    """``frames`` pictures, the one of number n due n / ``rate`` seconds after the start.

    ``rate`` 0: as fast as the broker takes them. A frame's ``image_id`` is ``run-number``.
    """

    servers: str
    topic: str
    run: str
    frames: int
    rate: float
    pictures: tuple[str, ...]

    def as_json(self) -> str:
        """The one argument of the process."""
        return json.dumps(asdict(self))


def main() -> None:
    schedule = Schedule(**json.loads(sys.argv[1]))
    endings = [_ending(Path(picture).read_bytes()) for picture in schedule.pictures]
    # A frame leaves at once; librdkafka would wait 5 ms for others to go with it.
    producer = Producer({"bootstrap.servers": schedule.servers, "linger.ms": 0})
    producer.list_topics(schedule.topic, timeout=30)  # connected before the clock starts
    started = time.monotonic()
    print(json.dumps({"started": started}), flush=True)
    late_s = _send(producer, schedule, endings, started)
    if producer.flush(120):
        sys.exit("the broker did not take all frames")
    print(json.dumps({"latest_s": late_s, "took_s": time.monotonic() - started}), flush=True)


def _send(
    producer: Producer, schedule: Schedule, endings: Sequence[bytes], started: float
) -> float:
    """By how much the latest frame was sent after it was due; 0 without a rate."""
    latest = 0.0
    for number in range(schedule.frames):
        if schedule.rate:
            due = started + number / schedule.rate
            time.sleep(max(0.0, due - time.monotonic()))
            latest = max(latest, time.monotonic() - due)
        image_id = f"{schedule.run}-{number}".encode()
        value = b'{"image_id": "' + image_id + endings[number % len(endings)]
        while True:
            try:
                producer.produce(schedule.topic, value, image_id)
                break
            except BufferError:  # its queue is full
                producer.poll(0.1)
        producer.poll(0)
    return latest


def _ending(picture: bytes) -> bytes:
    """A message from behind its ``image_id`` on: made once, to leave the cores to the streams."""
    rest = {
        "image_data": base64.b64encode(picture).decode(),
        "timestamp": "2026-11-21T08:00:00.123456",
        "metadata": {"source": "bench"},
    }
    return b'", ' + json.dumps(rest).encode()[1:]


if __name__ == "__main__":
    main()
