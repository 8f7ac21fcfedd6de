"""`pyspark-vision produce`: pictures of cameras, videos, folders or drawn scenes, sent to Kafka.

Ctrl-C, the end of all sources or --duration ends it: what is under way is sent, then the counts are
printed. Exit code 1: some frames did not arrive, or a camera was failing at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pyspark_vision.clients import brokers, flag_values
from pyspark_vision.clients.capture import cameras
from pyspark_vision.clients.capture.encoding import DEFAULT_QUALITY, Encoding
from pyspark_vision.clients.filming import Pacing
from pyspark_vision.clients.produce import MESSAGES, Target, produce

_DROP, _WAIT = "drop", "wait"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `produce` to its parser."""
    parser.add_argument(
        "--source",
        nargs="+",
        default=["webcam"],
        metavar="[NAME=]SOURCE",
        help=f"one camera each, which NAME names: {cameras.CHOICES}",
    )
    parser.add_argument(
        "--rate",
        type=flag_values.above_zero,
        metavar="N",
        help="pictures a second of each camera. Without it a camera and a video have their own "
        "speed, a folder and drawn scenes 5",
    )
    parser.add_argument(
        "--duration",
        type=flag_values.above_zero,
        metavar="SECONDS",
        help="end after so long. Without it: at the end of all sources, or with Ctrl-C",
    )
    parser.add_argument(
        "--size",
        type=flag_values.size_wh,
        metavar="WxH",
        help="scale pictures to fit into it; also what a webcam is asked for",
    )
    parser.add_argument(
        "--quality",
        type=flag_values.quality,
        metavar="1-95",
        help=f"the quality of the JPEGs that are made (default: {DEFAULT_QUALITY}). Without it and "
        "--size a folder's JPEGs are sent as they are",
    )
    parser.add_argument(
        "--loop", action="store_true", help="begin files and folders again at their end"
    )
    parser.add_argument(
        "--message",
        choices=sorted(MESSAGES),
        default="pycturestream",
        help="PyctureStream's JSON, week 9's JSON under the image's id, or the picture's bytes "
        "under the camera's name",
    )
    brokers.add_flags(parser)
    topics = ", ".join(f"{topic} for {name}" for name, (topic, _) in MESSAGES.items())
    parser.add_argument("--kafka-topic", metavar="TOPIC", help=f"the topic (default: {topics})")
    parser.add_argument(
        "--when-behind",
        choices=[_DROP, _WAIT],
        default=_DROP,
        help="when brokers or this machine are too slow: leave out the newest pictures and count "
        "them, or wait, and send all of a file later",
    )
    parser.add_argument(
        "--keep-input",
        type=Path,
        metavar="FOLDER",
        help="keep each camera's last picture as FOLDER/NAME/input.jpg",
    )


def run(args: argparse.Namespace) -> int:
    """Send pictures until the end; 0 if none failed."""
    wish = cameras.Wish(args.rate, Encoding(args.size, args.quality), args.loop)
    target = Target(brokers.from_flags(args), args.message, args.kafka_topic, args.keep_input)
    sources, tried = cameras.read_cameras(args.source, wish)
    pacing = Pacing(args.rate, args.duration, puts_off=args.when_behind == _WAIT)
    return produce(sources, pacing, target, tried)
