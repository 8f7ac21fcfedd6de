"""`pyspark-vision receive`: results as they come, on the console, as pictures, in events.json."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pyspark_vision.clients import brokers
from pyspark_vision.clients.receiver.receive import (
    COMMITTED,
    DEFAULT_GROUP,
    STARTS,
    Options,
    receive,
)
from pyspark_vision.errors import StreamError
from pyspark_vision.messages.topics import RESULT_TOPIC
from pyspark_vision.sinks import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `receive` to its parser."""
    brokers.add_flags(parser)
    parser.add_argument(
        "--kafka-topic", default=RESULT_TOPIC, metavar="TOPIC", help="the topic of results"
    )
    parser.add_argument(
        "--cameras", nargs="+", default=[], metavar="ID", help="take only results of these cameras"
    )
    parser.add_argument(
        "--events",
        type=Path,
        metavar="FILE",
        help="add what was seen to this JSON array, PyctureStream's events.json. It is a whole "
        "array at every moment; FILE.state beside it keeps where it goes on",
    )
    parser.add_argument(
        "--keep-output",
        type=Path,
        metavar="FOLDER",
        help="keep the last picture of each camera, as FOLDER/CAMERA/output.jpg",
    )
    parser.add_argument(
        "--from",
        dest="start",
        choices=STARTS,
        default=COMMITTED,
        help="where reading begins: a new events file, and the console alone, with what comes from "
        "now on (committed, latest) or with all that is there (earliest). An events file that was "
        "begun goes on where it ends, whatever is said here",
    )
    parser.add_argument(
        "--group",
        default=DEFAULT_GROUP,
        metavar="NAME",
        help="the consumer group under which Kafka's tools see how far the events file is",
    )
    parser.add_argument(
        "--skip-lost",
        action="store_true",
        help="go on if results were removed from the topic before they were read, and count them",
    )


def run(args: argparse.Namespace) -> int:
    """Receive until Ctrl-C or SIGTERM: 0; 1 if something ended it before, said in one line."""
    options = Options(
        brokers=brokers.from_flags(args),
        topic=args.kafka_topic,
        cameras=tuple(sorted(set(args.cameras))),
        events=args.events,
        pictures=args.keep_output,
        start=args.start,
        group=args.group,
        skip_lost=args.skip_lost,
    )
    try:
        receive(options, _say)
    except StreamError as error:
        _say(str(error))
        return 1
    return 0


def _say(text: str) -> None:
    terminal.say(f"receive: {text}", sys.stderr)
