"""`pyspark-vision simulate`: week 9's simulator of an image stream, with its flags and messages.

Images go to Kafka as `stream_classify` reads them, to a bucket, or to both. Ctrl-C or --duration
ends it, and the counts are printed. Exit code 1: some images did not arrive.
"""

from __future__ import annotations

import argparse

from pyspark_vision.clients import brokers, flag_values
from pyspark_vision.clients.bucket import open_bucket
from pyspark_vision.clients.simulate import DrawnImages, Objects, simulate
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages.topics import IMAGE_TOPIC

_KAFKA, _GCS, _BOTH = "kafka", "gcs", "both"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `simulate` to its parser."""
    parser.add_argument(
        "--mode", choices=[_KAFKA, _GCS, _BOTH], default=_KAFKA, help="where images go"
    )
    parser.add_argument(
        "--rate", type=flag_values.above_zero, default=1.0, metavar="N", help="images a second"
    )
    parser.add_argument(
        "--duration",
        type=flag_values.above_zero,
        default=60.0,
        metavar="SECONDS",
        help="how long images are sent",
    )
    brokers.add_flags(parser)
    parser.add_argument("--kafka-topic", default=IMAGE_TOPIC, metavar="TOPIC", help="the topic")
    parser.add_argument(
        "--gcs-bucket",
        metavar="BUCKET",
        help="the bucket of Google Cloud Storage, or a folder of this machine in its place: "
        "file:///path/to/folder",
    )
    parser.add_argument(
        "--gcs-prefix",
        default="input-images/",
        metavar="PREFIX",
        help="what the names of objects begin with",
    )
    parser.add_argument(
        "--image-width",
        type=flag_values.side,
        default=224,
        metavar="PIXELS",
        help="the width of the images",
    )
    parser.add_argument(
        "--image-height",
        type=flag_values.side,
        default=224,
        metavar="PIXELS",
        help="the height of the images",
    )


def run(args: argparse.Namespace) -> int:
    """Send images until the end; 0 if none failed."""
    objects = None
    if args.mode != _KAFKA:
        if not args.gcs_bucket:
            raise InvalidOptionError(f"--mode {args.mode} needs --gcs-bucket")
        bucket = open_bucket("--gcs-bucket", args.gcs_bucket, args.gcs_prefix)
        objects = Objects(bucket, args.gcs_prefix)
    kafka = None
    if args.mode != _GCS:
        kafka = (brokers.from_flags(args), args.kafka_topic)
    images = DrawnImages((args.image_width, args.image_height), args.rate)
    return simulate(images, args.duration, kafka, objects)
