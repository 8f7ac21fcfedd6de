"""Send drawn frames of a few cameras to Kafka, as PyctureStream's producer sends them.

python scripts/send_frames.py --kafka-servers 127.0.0.1:9092
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from confluent_kafka import Producer
except ImportError:
    sys.exit("send_frames.py needs confluent-kafka, which `make services` installs into .venv")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a bare checkout

from pyspark_vision.clients.scenes import draw_frame
from pyspark_vision.errors import PysparkVisionError
from pyspark_vision.messages.topics import FRAME_TOPIC
from pyspark_vision.sources.kafka_start import refuse_unreachable

CAMERAS = 4


def message(number: int) -> bytes:
    """Frame ``number`` of the round over the cameras, taken now."""
    picture = io.BytesIO()
    camera = number % CAMERAS
    draw_frame(camera, number // CAMERAS)[0].save(picture, "JPEG")
    fields = {
        "image": base64.b64encode(picture.getvalue()).decode("ascii"),
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "camera_id": f"camera-{camera}",
    }
    return json.dumps(fields).encode("ascii")


def main(argv: Sequence[str] | None = None) -> None:
    """Send ``--count`` frames."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kafka-servers", required=True, metavar="HOST:PORT,…")
    parser.add_argument("--kafka-topic", default=FRAME_TOPIC, help="(default: %(default)s)")
    parser.add_argument("--count", type=int, default=60, help="(default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        refuse_unreachable(options.kafka_servers)
    except PysparkVisionError as error:
        sys.exit(f"send_frames.py: {error}")
    refused: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": options.kafka_servers,
            "message.timeout.ms": 30_000,
            "on_delivery": lambda error, _: refused.append(str(error)) if error else None,
        }
    )
    for number in range(options.count):
        producer.produce(options.kafka_topic, message(number))
    producer.flush()
    if refused:
        sys.exit(
            f"send_frames.py: {len(refused)} of {options.count} frames are not in "
            f"{options.kafka_topic}: {refused[0]}"
        )
    print(f"{options.count} frames sent to {options.kafka_topic}")


if __name__ == "__main__":
    main()
