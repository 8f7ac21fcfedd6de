"""Flags that several jobs share, and what they mean: Kafka in and out, dead letters, the stream."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job import command_line
from pyspark_vision.job.outputs import Output, StreamPlaces
from pyspark_vision.job.places import Place, Topic
from pyspark_vision.messages.topics import KAFKA_SCHEME
from pyspark_vision.sinks import lake_tables
from pyspark_vision.sinks.dead_letters import kafka_dead_letters, parquet_dead_letters
from pyspark_vision.sinks.delta import DeltaTable
from pyspark_vision.sinks.iceberg import IcebergTable
from pyspark_vision.sinks.kafka import KafkaTopic
from pyspark_vision.sinks.lake_tables import LakeTable
from pyspark_vision.sources import kafka_record, kafka_start
from pyspark_vision.sources.kafka import (
    EARLIEST,
    LATEST,
    KafkaConnection,
    KafkaSource,
)
from pyspark_vision.sources.kafka_properties import read_java_properties
from pyspark_vision.sources.settling import DEFAULT_SETTLE_S
from pyspark_vision.streaming.metrics import check_port
from pyspark_vision.streaming.runner import StreamOptions
from pyspark_vision.streaming.triggers import AVAILABLE_NOW, checked_trigger, is_available_now

if TYPE_CHECKING:
    from pyspark_vision.sinks import Sink

# Kafka's own limit is 1 MiB; 12-megapixel photos as base64 have 3 to 5.
DEFAULT_MAX_MESSAGE_BYTES = 5 * 1024 * 1024

MODEL = "a bundle, or a bare .tflite, .onnx, .keras, .h5 or SavedModel, local or by any Hadoop URI"

# Brokers that take larger messages than this are rare; the producer needs a number.
LARGEST_LETTER_BYTES = 32 * 1024 * 1024

_LONGEST_TRIGGER_S = 366 * 24 * 60 * 60


def add_kafka_source(group: argparse._ArgumentGroup, topic: str, starting: str = LATEST) -> None:
    """``--kafka-*``, ``--starting-offsets`` and the bounds of a Kafka source.

    ``starting``: what help says of its default, for a job that has one of its own.
    """
    group.add_argument(
        "--kafka-servers", default="127.0.0.1:9092", metavar="HOST:PORT,…", help="the brokers"
    )
    group.add_argument(
        "--kafka-topic",
        nargs="+",
        default=None,
        metavar="TOPIC",
        help=f"the topics to read (default: {topic})",
    )
    group.add_argument(
        "--kafka-topic-pattern", metavar="REGEX", help="read all topics of such names instead"
    )
    add_kafka_config(group)
    group.add_argument(
        "--starting-offsets",
        default=LATEST,
        metavar="WHERE",
        help=f"where a new checkpoint, or a batch, begins: {EARLIEST}, {LATEST}, an ISO-8601 time, "
        f'or JSON, as {{"topic": {{"0": 23}}}} (default: {starting})',
    )
    group.add_argument(
        "--max-offsets-per-trigger",
        type=command_line.positive,
        default=KafkaSource.max_offsets_per_trigger,
        metavar="N",
        help="a micro-batch has at most so many records",
    )
    group.add_argument(
        "--max-message-bytes",
        type=command_line.positive,
        default=DEFAULT_MAX_MESSAGE_BYTES,
        metavar="N",
        help="a larger message fails with too_many_bytes. Results are not larger, either",
    )
    group.add_argument(
        "--skip-lost",
        nargs="+",
        default=[],
        metavar="TOPIC",
        help="go on if records of these topics (or of the pattern) were deleted before they were "
        "read, and count them. Lost records of other topics fail the job",
    )


def add_kafka_config(parser: argparse._ActionsContainer) -> None:
    """``--kafka-config``."""
    parser.add_argument(
        "--kafka-config",
        metavar="FILE",
        help="a properties file of Kafka's client: security.protocol, sasl.*, ssl.*",
    )


def kafka_connection(options: argparse.Namespace) -> KafkaConnection:
    """The brokers of ``--kafka-servers`` with the properties of ``--kafka-config``."""
    properties = read_java_properties(options.kafka_config) if options.kafka_config else ()
    return KafkaConnection(options.kafka_servers, properties)


def kafka_source(
    options: argparse.Namespace, topic: str, ending: str = LATEST, *, headers: bool = False
) -> KafkaSource:
    """The source that :func:`add_kafka_source`'s flags describe; ``topic`` is the default.

    Raises :class:`InvalidOptionError` if no broker answers and Spark is still to be started: a
    second instead of ten. Once it runs, :func:`check_read` says so. A dry run needs no broker.
    """
    if not options.dry_run and SparkSession.getActiveSession() is None:
        kafka_start.refuse_unreachable(options.kafka_servers)
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
        headers=headers,
    )


def check_read(session: SparkSession, source: KafkaSource, options: argparse.Namespace) -> None:
    """Raise if what ``source`` names is not there; offsets count where a checkpoint has none."""
    checkpoint = options.checkpoint
    goes_on = checkpoint is not None and kafka_record.has_begun(session, checkpoint)
    kafka_start.check_read(session, source, uses_starting=not goes_on)


def add_model(group: argparse._ArgumentGroup, what: str) -> None:
    """``--model``; ``what``: ``"a detector"``."""
    group.add_argument("--model", required=True, metavar="URI", help=f"{what}: {MODEL}")


def add_labels(group: argparse._ArgumentGroup) -> None:
    """``--labels``."""
    group.add_argument("--labels", metavar="FILE", help="label file of a model without its own")


def add_settle(group: argparse._ArgumentGroup) -> None:
    """``--settle``."""
    group.add_argument(
        "--settle",
        type=command_line.zero_or_more,
        default=DEFAULT_SETTLE_S,
        metavar="SECONDS",
        help="a file of a folder is read when it has not changed for so long. 0 reads it at once",
    )


def add_dead_letters(group: argparse._ArgumentGroup) -> None:
    """``--dead-letters``."""
    group.add_argument(
        "--dead-letters",
        metavar="WHERE",
        help="keep what failed, with its reason, in kafka:TOPIC or in a folder (as Parquet)",
    )


# Sinks of --table.
TABLE_SINKS = DELTA, ICEBERG = "delta", "iceberg"


def add_table(group: argparse._ArgumentGroup, sinks: Sequence[str] = TABLE_SINKS) -> None:
    """``--table`` of these sinks, and what is said of it."""
    names = ". Of Iceberg it may also be CATALOG.DATABASE.TABLE" if ICEBERG in sinks else ""
    group.add_argument(
        "--table",
        metavar="URI",
        help=f"the table of the {' or '.join(sinks)} sink: a new one, or one with the same "
        f"columns{names}",
    )
    group.add_argument(
        "--table-partition-by",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="partition a new table by these columns",
    )
    group.add_argument(
        "--table-add-columns",
        action="store_true",
        help="add columns to the table that it lacks. Without this, such a table is refused",
    )


def delta_table(options: argparse.Namespace) -> DeltaTable | None:
    """The Delta table of :func:`add_table`'s flags; ``None`` without one."""
    if not options.table:
        return None
    columns = tuple(options.table_partition_by)
    return DeltaTable(options.table.rstrip("/"), columns, options.table_add_columns)


def lake_table(options: argparse.Namespace) -> LakeTable | None:
    """The same, of the format that ``--sink`` names."""
    table = delta_table(options)
    if table is None or ICEBERG not in options.sink:
        return table
    return IcebergTable(table.uri, table.partition_by, table.adds_columns)


def lake_sink_name(options: argparse.Namespace) -> str:
    """What the sink of ``--table`` is called."""
    return ICEBERG if ICEBERG in options.sink else DELTA


def check_table_flags(options: argparse.Namespace) -> None:
    """Raise :class:`InvalidOptionError` for ``--sink delta`` without ``--table``, or it without."""
    named = [sink for sink in TABLE_SINKS if sink in options.sink]
    if len(named) > 1:
        raise InvalidOptionError(
            "--sink delta iceberg: a job writes one table; choose one of them, or run another job"
        )
    if named and not options.table:
        raise InvalidOptionError(f"--sink {named[0]} needs --table: the URI of the table")
    about = ("table", "table_partition_by", "table_add_columns")
    if not named and (given := [name for name in about if getattr(options, name)]):
        flag = f"--{given[0].replace('_', '-')}"
        raise InvalidOptionError(f"{flag} is for --sink delta; name it, or leave {flag} out")


def dead_letters(session: SparkSession, options: argparse.Namespace) -> Sink:
    """The sink that ``--dead-letters`` names."""
    topic = letters_topic(options)
    if topic is not None:
        return kafka_dead_letters(kafka_topic(session, options, "--dead-letters", topic))
    return parquet_dead_letters(session, options.dead_letters)


def letters_topic(options: argparse.Namespace) -> str | None:
    """The topic that ``--dead-letters`` names, if it names one."""
    where = options.dead_letters or ""
    return where.removeprefix(KAFKA_SCHEME) if where.startswith(KAFKA_SCHEME) else None


def letters_folder(options: argparse.Namespace) -> str | None:
    """The folder that ``--dead-letters`` names, if it names one."""
    return options.dead_letters if letters_topic(options) is None else None


def kafka_topics(
    options: argparse.Namespace, topic: str, results: str | None = None
) -> list[Topic]:
    """The topics that a job reads (default: ``topic``) and writes, by their flags.

    A pattern gives those written topics that it matches: for names, Java's patterns are Python's.
    """
    written = [Topic("--output-kafka-topic", results, is_written=True)] if results else []
    letters = letters_topic(options)
    if letters is not None:
        written.append(Topic("--dead-letters", letters, is_written=True))
    if options.kafka_topic_pattern:
        return [*_matching(options.kafka_topic_pattern, written), *written]
    return [*(Topic("--kafka-topic", name) for name in options.kafka_topic or [topic]), *written]


def _matching(pattern: str, written: Sequence[Topic]) -> list[Topic]:
    try:
        known = re.compile(pattern)
    except re.error:  # Java has forms that Python lacks; Kafka judges it
        return []
    names = [topic.name for topic in written if known.fullmatch(topic.name)]
    return [Topic("--kafka-topic-pattern", name) for name in names]


def stream_places(
    job: str, options: argparse.Namespace, folders: Mapping[str, tuple[str, str | None]]
) -> StreamPlaces:
    """What a stream writes: ``folders`` by role (flag, folder), and its letters."""
    outputs = [Output(flag, uri, role) for role, (flag, uri) in folders.items() if uri]
    if letters := letters_folder(options):
        outputs.append(Output("--dead-letters", letters, "dead_letters"))
    table = lake_table(options) if getattr(options, "table", None) else None
    tables = (table,) if table is not None else ()
    return StreamPlaces(
        job, options.checkpoint, tuple(outputs), options.adopt, options.remove_beyond, tables
    )


def written_places(places: StreamPlaces) -> list[Place]:
    """A stream's outputs and checkpoint, to be held against what it reads."""
    outputs = [Place(output.flag, output.folder, is_written=True) for output in places.outputs]
    folders = [folder for table in places.tables if (folder := lake_tables.folder(table))]
    outputs += [Place("--table", folder, is_written=True) for folder in folders]
    return [*outputs, Place("--checkpoint", places.checkpoint, is_written=True)]


def read_places(**uris: str | None) -> list[Place]:
    """What a job reads, by flag (``model="models/x"``: of ``--model``)."""
    return [Place(f"--{flag.replace('_', '-')}", uri) for flag, uri in uris.items() if uri]


def kafka_topic(
    session: SparkSession, options: argparse.Namespace, flag: str, topic: str
) -> KafkaTopic:
    """A topic on the brokers of ``--kafka-servers`` to write to, that of ``flag``.

    Raises :class:`InvalidOptionError` if the brokers have no such topic and make none.
    """
    # A dead letter is a message that came in, however large it was.
    limit = max(options.max_message_bytes, LARGEST_LETTER_BYTES)
    connection = kafka_connection(options)
    topic_limit = kafka_start.topic_limit(session, connection, flag, topic)
    if 0 < topic_limit < options.max_message_bytes:
        print(
            f"{flag} {topic} takes messages of up to {topic_limit} bytes, and --max-message-bytes "
            f"is {options.max_message_bytes}: larger ones are sent without picture or payload",
            file=sys.stderr,
            flush=True,
        )
    return KafkaTopic(connection, topic, limit, topic_limit)


def add_session(parser: argparse.ArgumentParser) -> None:
    """``--master`` and ``--conf``, for commands that are not started by spark-submit."""
    parser.add_argument("--master", metavar="URL", help="Spark's master (default: local[*])")
    parser.add_argument(
        "--conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of Spark, as spark.jars.packages=…. It may be repeated",
    )


def trigger(text: str) -> str:
    """An argparse type: an interval or ``available-now``, as a trigger."""
    try:
        return checked_trigger(text)
    except InvalidOptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def trigger_of_seconds(text: str) -> str:
    """An argparse type: a number of seconds, or ``available-now``, as a trigger."""
    if is_available_now(text):
        return AVAILABLE_NOW
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_TRIGGER_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no trigger: give a number of seconds above 0 (at most "
            f"{_LONGEST_TRIGGER_S:,}, a year), or {AVAILABLE_NOW}: read what is there, then stop"
        )
    # Not as 1e-05, which Spark does not read.
    digits = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return trigger(f"{digits} seconds")


def add_stream(
    group: argparse._ArgumentGroup, default_trigger: str, *, checkpoint_required: bool = True
) -> None:
    """``--trigger`` and ``--checkpoint``; not required where a job also runs as a batch."""
    group.add_argument(
        "--trigger",
        type=trigger,
        default=default_trigger,
        metavar="INTERVAL",
        help="the interval between micro-batches, or "
        f"`{AVAILABLE_NOW}`: read what is there, in bounded batches, and stop",
    )
    add_checkpoint(group, required=checkpoint_required)
    add_stream_operation(group)


def add_checkpoint(group: argparse._ArgumentGroup, *, required: bool = True) -> None:
    """``--checkpoint``."""
    group.add_argument(
        "--checkpoint",
        required=required,
        metavar="URI",
        help="the folder that keeps the stream's progress",
    )


def add_adopt(group: argparse._ArgumentGroup) -> None:
    """``--adopt``."""
    group.add_argument(
        "--adopt",
        action="store_true",
        help="take over folders that an older version of this job wrote, which have no mark of "
        "their owner",
    )


def add_stream_operation(group: argparse._ArgumentGroup) -> None:
    """``--adopt``, ``--remove-beyond``, ``--stop-timeout`` and ``--metrics-port``."""
    add_adopt(group)
    group.add_argument(
        "--remove-beyond",
        action="store_true",
        help="remove batches at the outputs that the checkpoint does not know, because it was "
        "restored from a copy. They are read and written again",
    )
    group.add_argument(
        "--stop-timeout",
        type=command_line.above_zero,
        default=60.0,
        metavar="SECONDS",
        help="how long the batch in hand may take after SIGTERM or SIGINT",
    )
    group.add_argument(
        "--metrics-port",
        type=metrics_port,
        default="0",
        metavar="PORT",
        help="serve metrics for Prometheus at this port of 127.0.0.1. `auto` finds a free port, 0 "
        "serves none",
    )


def metrics_port(text: str) -> int | None:
    """An argparse type: a port, ``auto`` as 0 (the system chooses), 0 as ``None``."""
    if text == "auto":
        return 0
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no port: give 1 to 65535, auto for a free one, or 0 for none"
        )
    return port or None


def refuse_taken_port(options: argparse.Namespace) -> None:
    """Raise what :func:`check_port` does of ``--metrics-port``: before Spark starts, which takes
    the better part of a minute on a cluster."""
    if options.metrics_port is not None:
        check_port(options.metrics_port)


def stream_options(options: argparse.Namespace, trigger: str) -> StreamOptions:
    """How the stream runs, by :func:`add_stream_operation`'s flags and ``--checkpoint``."""
    return StreamOptions(
        options.checkpoint,
        trigger,
        options.stop_timeout,
        options.metrics_port,
        skips_lost=bool(options.skip_lost),
    )
