"""`pyspark-vision events-api`: requests of a game's client become events in Kafka."""

from __future__ import annotations

import argparse
from pathlib import Path

from pyspark_vision.clients import brokers, flag_values
from pyspark_vision.clients.events_api.journal import DEFAULT_MAX_BYTES
from pyspark_vision.clients.events_api.messages import Form
from pyspark_vision.clients.events_api.server import Settings, serve
from pyspark_vision.messages.topics import EVENT_TOPIC

_MB = 1024 * 1024
# Flask's.
_PORT = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `events-api` to its parser."""
    brokers.add_flags(parser)
    parser.add_argument(
        "--kafka-topic", default=EVENT_TOPIC, metavar="TOPIC", help="the topic of the events"
    )
    parser.add_argument(
        "--form",
        choices=[form.value for form in Form],
        default=Form.METADATA.value,
        help="what an event is: a word, JSON with its type, that with the request's headers, or "
        "that with the request's parameters as description and metadata, too",
    )
    parser.add_argument(
        "--journal",
        type=Path,
        default=Path("events_journal"),
        metavar="FOLDER",
        help="where events are kept until they are in the topic",
    )
    parser.add_argument(
        "--journal-mb",
        type=flag_values.megabytes,
        default=DEFAULT_MAX_BYTES // _MB,
        metavar="MB",
        help="the largest size of the journal. An event that comes when it is full is answered by "
        "507",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument(
        "--port",
        type=flag_values.port,
        default=_PORT,
        metavar="PORT",
        help="the port to listen at. 0 takes one that is free",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    return serve(
        Settings(
            brokers.from_flags(args),
            args.kafka_topic,
            Form(args.form),
            args.journal,
            args.journal_mb * _MB,
            args.host,
            args.port,
        )
    )
