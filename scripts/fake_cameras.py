"""Send drawn frames of cameras, and results as a job would send them, without a job.

python scripts/fake_cameras.py --kafka-servers 127.0.0.1:9092 --cameras 4 --rate 20 --duration 60
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import heapq
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a bare checkout

from confluent_kafka import Producer

from pyspark_vision.clients.scenes import LABELS, DrawnObject, draw_frame
from pyspark_vision.executor.drawing.draw import draw_boxes, encode_jpeg
from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC

_VERTICAL, _HORIZONTAL = ("top", "middle", "bottom"), ("left", "center", "right")


@dataclass(frozen=True)
class Drawn:
    """A frame and what a job would say of it; ``image`` and ``annotated``: base64 of JPEG."""

    image: str
    annotated: str
    objects: tuple[dict[str, Any], ...]


def drawn(seed: int, index: int, size_wh: tuple[int, int], *, quality: int = 85) -> Drawn:
    """Frame ``index`` of a drawn camera."""
    image, objects = draw_frame(seed, index, size_wh)
    objects_drawn = [_object(item, number) for number, item in enumerate(objects)]
    boxes = [{**item, **dict(zip(_SIDES, item["box"], strict=True))} for item in objects_drawn]
    return Drawn(
        base64.b64encode(encode_jpeg(image, quality)).decode("ascii"),
        base64.b64encode(encode_jpeg(draw_boxes(image, boxes), quality)).decode("ascii"),
        tuple(objects_drawn),
    )


def frame_text(camera_id: str, timestamp: str, frame: Drawn) -> bytes:
    """A frame as PyctureStream's client sends it."""
    return json.dumps(
        {"image": frame.image, "timestamp": timestamp, "camera_id": camera_id}
    ).encode()


def result_text(camera_id: str, timestamp: str, frame: Drawn, *, has_boxes: bool = True) -> bytes:
    """Its result as the job sends it; without boxes, as PyctureStream's own."""
    ours = ("box", "class_id")
    objects = [
        {name: value for name, value in item.items() if has_boxes or name not in ours}
        for item in frame.objects
    ]
    fields = {
        "timestamp": timestamp,
        "camera_id": camera_id,
        "objects": objects,
        "image": frame.annotated,
        "model_name": "drawn",
    }
    return json.dumps(fields).encode()


def timestamp_now() -> str:
    """Naive local time, as PyctureStream's client has it."""
    return dt.datetime.now().isoformat()


def send(producer: Producer, options: argparse.Namespace) -> int:
    """Send for the duration, at the rate, or until Ctrl-C; how many frames brokers have."""
    width, _, height = options.size.partition("x")
    size_wh = (int(width), int(height))
    cameras = [f"camera-{number}" for number in range(options.cameras)]
    loops = [
        [drawn(seed + 1, 4 * index, size_wh) for index in range(options.loop)]
        for seed in range(options.cameras)
    ]
    print("sending", flush=True)
    waiting: list[tuple[float, int, bytes]] = []
    confirmed = 0

    def confirm(error: object, message: object) -> None:
        nonlocal confirmed
        confirmed += error is None

    # Ctrl-C is the usual end: what is on its way is sent.
    with suppress(KeyboardInterrupt):
        for number, due in _schedule(options.rate * options.cameras, options.duration):
            while waiting and waiting[0][0] <= due:
                at, _, result = heapq.heappop(waiting)
                _sleep_until(at)
                producer.produce(options.result_topic, result)
            _sleep_until(due)
            camera = number % options.cameras
            frame = loops[camera][number // options.cameras % options.loop]
            timestamp = timestamp_now()
            text = frame_text(cameras[camera], timestamp, frame)
            producer.produce(options.kafka_topic, text, on_delivery=confirm)
            if number // options.cameras % options.results_every == 0:
                result = result_text(cameras[camera], timestamp, frame)
                heapq.heappush(waiting, (due + options.delay, number, result))
            producer.poll(0)
    for _, _, result in sorted(waiting):
        producer.produce(options.result_topic, result)
    producer.flush(10)
    return confirmed


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _object(item: DrawnObject, number: int) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = item.xyxy
    return {
        "label": item.label,
        "score": round(0.97 - 0.07 * number, 2),
        "sector": [
            _VERTICAL[min(2, int((ymin + ymax) / 2 * 3))],
            _HORIZONTAL[min(2, int((xmin + xmax) / 2 * 3))],
        ],
        "box": [xmin, ymin, xmax, ymax],
        "class_id": LABELS.index(item.label),
    }


def _schedule(rate: float, duration_s: float) -> Iterator[tuple[int, float]]:
    """Number and due time of each frame."""
    began_at = time.monotonic()
    for number in range(int(rate * duration_s)):
        yield number, began_at + number / rate


def _sleep_until(due: float) -> None:
    time.sleep(max(0.0, due - time.monotonic()))


def main(argv: Sequence[str] | None = None) -> None:
    """Send, and say how many."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kafka-servers", required=True, metavar="HOST:PORT,…")
    parser.add_argument("--kafka-topic", default=FRAME_TOPIC)
    parser.add_argument("--result-topic", default=RESULT_TOPIC)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--rate", type=float, default=20.0, help="frames a second of each camera")
    parser.add_argument("--duration", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--delay", type=float, default=0.4, metavar="SECONDS", help="of a result")
    parser.add_argument("--results-every", type=int, default=1, metavar="N")
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--loop", type=int, default=30, metavar="N", help="frames to draw for each")
    options = parser.parse_args(argv)
    producer = Producer({"bootstrap.servers": options.kafka_servers, "linger.ms": 0})
    print(f"fake_cameras.py: {send(producer, options)} frames sent to {options.kafka_topic}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # while frames are still drawn
        main()
