"""Flags that several jobs share, and what they mean: Kafka in and out, dead letters, the stream."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pyspark_vision import config
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks.batch_folders import refuse_other_output
from pyspark_vision.sinks.dead_letters import kafka_dead_letters, parquet_dead_letters
from pyspark_vision.sinks.kafka import KafkaTopic
from pyspark_vision.sources.kafka import (
    EARLIEST,
    LATEST,
    KafkaConnection,
    KafkaSource,
    read_properties,
)
from pyspark_vision.sources.settling import DEFAULT_SETTLE_S
from pyspark_vision.streaming import AVAILABLE_NOW, StreamOptions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sinks import Sink

# Kafka's own limit is 1 MiB; 12-megapixel photos as base64 have 3 to 5.
DEFAULT_MAX_MESSAGE_BYTES = 5 * 1024 * 1024

KAFKA_SCHEME = "kafka:"

# Brokers that take larger messages than this are rare; the producer needs a number.
LARGEST_LETTER_BYTES = 32 * 1024 * 1024


def add_kafka_source(group: argparse._ArgumentGroup, topic: str) -> None:
    """``--kafka-*``, ``--starting-offsets`` and the bounds of a Kafka source."""
    group.add_argument(
        "--kafka-servers", default="127.0.0.1:9092", metavar="HOST:PORT,…", help="brokers"
    )
    group.add_argument(
        "--kafka-topic", nargs="+", default=None, metavar="TOPIC", help=f"default: {topic}"
    )
    group.add_argument(
        "--kafka-topic-pattern", metavar="REGEX", help="read all topics of such names instead"
    )
    group.add_argument(
        "--kafka-config",
        metavar="FILE",
        help="properties file of Kafka's client: security.protocol, sasl.*, ssl.*",
    )
    group.add_argument(
        "--starting-offsets",
        default=LATEST,
        metavar="WHERE",
        help=f"where a new checkpoint, or a batch, begins: {EARLIEST}, {LATEST}, an ISO-8601 time, "
        'or JSON as {"topic": {"0": 23}}',
    )
    group.add_argument(
        "--max-offsets-per-trigger",
        type=config.positive,
        default=KafkaSource.max_offsets_per_trigger,
        metavar="N",
        help="most records in one micro-batch",
    )
    group.add_argument(
        "--max-message-bytes",
        type=config.positive,
        default=DEFAULT_MAX_MESSAGE_BYTES,
        metavar="N",
        help="larger messages are too_many_bytes; also the producer's limit for results",
    )
    group.add_argument(
        "--skip-lost",
        nargs="+",
        default=[],
        metavar="TOPIC",
        help="topics (or the pattern) of which records may have gone by retention before they "
        "were read; elsewhere that fails the job",
    )


def kafka_connection(options: argparse.Namespace) -> KafkaConnection:
    """The brokers of ``--kafka-servers`` with the properties of ``--kafka-config``."""
    properties = read_properties(options.kafka_config) if options.kafka_config else ()
    return KafkaConnection(options.kafka_servers, properties)


def kafka_source(options: argparse.Namespace, topic: str, ending: str = LATEST) -> KafkaSource:
    """The source that :func:`add_kafka_source`'s flags describe; ``topic`` is the default."""
    if options.kafka_topic and options.kafka_topic_pattern:
        raise InvalidOptionError("choose --kafka-topic or --kafka-topic-pattern, not both")
    topics = () if options.kafka_topic_pattern else tuple(options.kafka_topic or [topic])
    return KafkaSource(
        kafka_connection(options),
        topics=topics,
        pattern=options.kafka_topic_pattern,
        starting=options.starting_offsets,
        ending=ending,
        max_offsets_per_trigger=options.max_offsets_per_trigger,
        skip_lost=tuple(options.skip_lost),
    )


def add_settle(group: argparse._ArgumentGroup) -> None:
    """``--settle``."""
    group.add_argument(
        "--settle",
        type=config.zero_or_more,
        default=DEFAULT_SETTLE_S,
        metavar="SECONDS",
        help="a file of a folder is read when it has not changed for so long; 0: at once",
    )


def add_dead_letters(group: argparse._ArgumentGroup) -> None:
    """``--dead-letters``."""
    group.add_argument(
        "--dead-letters",
        metavar="WHERE",
        help="keep what failed, with its reason: kafka:TOPIC, or a folder for Parquet",
    )


def dead_letters(session: SparkSession, options: argparse.Namespace) -> Sink:
    """The sink that ``--dead-letters`` names.

    Raises :class:`InvalidOptionError` for a folder that holds letters of an earlier run.
    """
    if options.dead_letters.startswith(KAFKA_SCHEME):
        topic = options.dead_letters.removeprefix(KAFKA_SCHEME)
        return kafka_dead_letters(kafka_topic(options, topic))
    refuse_other_output(session, options.dead_letters, options.checkpoint)
    return parquet_dead_letters(session, options.dead_letters)


def kafka_topic(options: argparse.Namespace, topic: str) -> KafkaTopic:
    """A topic on the brokers of ``--kafka-servers`` to write to."""
    # A dead letter is a message that came in, however large it was.
    limit = max(options.max_message_bytes, LARGEST_LETTER_BYTES)
    return KafkaTopic(kafka_connection(options), topic, limit)


def add_session(parser: argparse.ArgumentParser) -> None:
    """``--master`` and ``--conf``, for commands that are not started by spark-submit."""
    parser.add_argument("--master", metavar="URL", help="Spark master (default: local[*])")
    parser.add_argument(
        "--conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Spark setting, as spark.jars.packages=…; may be repeated",
    )


def trigger_of_seconds(text: str) -> str:
    """An argparse type: a number of seconds, or ``available-now``, as a trigger."""
    return text if text == AVAILABLE_NOW else f"{config.above_zero(text):g} seconds"


def add_stream(
    group: argparse._ArgumentGroup, trigger: str, *, checkpoint_required: bool = True
) -> None:
    """``--trigger`` and ``--checkpoint``; not required where a job also runs as a batch."""
    group.add_argument(
        "--trigger",
        default=trigger,
        help="interval between micro-batches, or "
        f"`{AVAILABLE_NOW}`: read what is there, in bounded batches, and stop",
    )
    group.add_argument(
        "--checkpoint", required=checkpoint_required, metavar="URI", help="progress of the stream"
    )
    add_stream_operation(group)


def add_stream_operation(group: argparse._ArgumentGroup) -> None:
    """``--stop-timeout`` and ``--metrics-port``."""
    group.add_argument(
        "--stop-timeout",
        type=config.above_zero,
        default=60.0,
        metavar="SECONDS",
        help="what the batch in hand may take after SIGTERM or SIGINT",
    )
    group.add_argument(
        "--metrics-port",
        type=metrics_port,
        default="0",
        metavar="PORT",
        help="serve Prometheus metrics on 127.0.0.1; `auto` finds a free port; 0 serves none",
    )


def metrics_port(text: str) -> int | None:
    """An argparse type: a port, ``auto`` as 0 (the system chooses), 0 as ``None``."""
    if text == "auto":
        return 0
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535, auto, or 0 for none")
    return port or None


def stream_options(options: argparse.Namespace, trigger: str) -> StreamOptions:
    """How the stream runs, by :func:`add_stream_operation`'s flags and ``--checkpoint``."""
    return StreamOptions(
        options.checkpoint,
        trigger,
        options.stop_timeout,
        options.metrics_port,
        skips_lost=bool(options.skip_lost),
    )
