"""Pub/Sub subscriptions as a stream: each message in exactly one batch, acknowledged when that is
committed.

Rows: ``origin`` (``pubsub:SUBSCRIPTION/MESSAGE_ID``), ``value`` (bytes), ``received`` (the publish
time), ``attributes``, ``ordering_key``, ``subscription``, ``message_id``.

It is Spark's data source ``pubsub`` beneath (PySpark 4.0 and newer), which
``spark.readStream.format("pubsub")`` gives after :func:`register`; :func:`stream_pubsub` says its
options by name, and reaches a checkpoint on any of Hadoop's file systems.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyspark
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.sources.pubsub.options import (
    DEFAULT_ACK_DEADLINE_S,
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_MESSAGES,
    DEFAULT_WINDOW_S,
    reader_options,
)
from pyspark_vision.sources.pubsub.service import EMULATOR, Service
from pyspark_vision.spark.hadoop import hadoop_path, local_path
from pyspark_vision.spark.session import is_connect, parallelism, use_own_python_locally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class PubSubSource:
    """Which messages are read, and how; see :class:`options.ReaderOptions`.

    ``subscriptions``: whole names, ``projects/P/subscriptions/S``.
    """

    subscriptions: tuple[str, ...]
    max_messages_per_batch: int = DEFAULT_MAX_MESSAGES
    max_bytes_per_batch: int = DEFAULT_MAX_BYTES
    readers: int = 2
    ack_deadline_s: int = DEFAULT_ACK_DEADLINE_S
    id_attributes: tuple[str, ...] = ()
    window_s: int = int(DEFAULT_WINDOW_S)
    endpoint: str | None = None

    def __post_init__(self) -> None:
        reader_options(self.options("journal"))

    def options(self, journal: str) -> dict[str, str]:
        """As options of the data source, with the folder of its journal."""
        given = {
            "subscription": ",".join(self.subscriptions),
            "journal": journal,
            "maxMessagesPerBatch": str(self.max_messages_per_batch),
            "maxBytesPerBatch": str(self.max_bytes_per_batch),
            "readers": str(self.readers),
            "ackDeadlineSeconds": str(self.ack_deadline_s),
            "idAttributes": ",".join(self.id_attributes),
            "windowSeconds": str(self.window_s),
        }
        return given | ({"endpoint": self.endpoint} if self.endpoint else {})


def refuse_old_spark() -> None:
    """Raise :class:`MissingDependencyError` on PySpark before 4.0."""
    if pyspark.__version__.startswith("3."):
        raise MissingDependencyError(
            f"reading Pub/Sub needs PySpark 4.0 or newer, which has Python data sources; this is "
            f"{pyspark.__version__}"
        )


def register(session: SparkSession) -> None:
    """Let a session know ``format("pubsub")``; raises as :func:`refuse_old_spark`."""
    refuse_old_spark()
    from pyspark_vision.sources.pubsub.data_source import PubSubDataSource

    if not is_connect(session):
        use_own_python_locally(session)
    session.dataSource.register(PubSubDataSource)


def check(source: PubSubSource) -> list[str]:
    """Ask the service for each subscription; a line of each.

    Raises :class:`~pyspark_vision.errors.StreamError`, in one line, if it is not there, not for
    this account, or the service does not answer.
    """
    with Service(source.endpoint) as service:
        ordered = {name: service.is_ordered(name) for name in source.subscriptions}
        return [
            f"{name} is there ({service.place}){', keeps the order of keys' if keeps else ''}"
            for name, keeps in ordered.items()
        ]


def stream_pubsub(session: SparkSession, source: PubSubSource, checkpoint: str) -> DataFrame:
    """The messages from where the checkpoint stands on; ``checkpoint``: that of the query."""
    register(session)
    if is_connect(session):
        raise InvalidOptionError(
            "reading Pub/Sub through Spark Connect is not supported: its journal is written by "
            "the driver's Python. Submit the job with spark-submit"
        )
    options = source.options(journal_of(checkpoint))
    # Of this process: Spark's has the environment in which the JVM was started.
    if source.endpoint is None and (emulator := os.environ.get(EMULATOR)):
        options["endpoint"] = emulator
    local = local_path(session, options["journal"])
    if local is not None:
        options["journal"] = str(local)
    else:
        from pyspark_vision.sources.pubsub.hadoop_door import HadoopDoor

        hadoop_path(session, checkpoint)  # what a store needs is set up before Spark looks there
        door = HadoopDoor(session, options["journal"]).start()
        atexit.register(door.close)
        options["journalDoor"] = door.socket
    options["partitions"] = str(parallelism(session))
    messages = session.readStream.format("pubsub").options(**options).load()
    name = F.element_at(F.split("subscription", "/"), -1)
    return messages.select(
        F.concat(F.lit("pubsub:"), name, F.lit("/"), F.col("message_id")).alias("origin"),
        F.col("data").alias("value"),
        F.col("publish_time").alias("received"),
        "attributes",
        F.nullif("ordering_key", F.lit("")).alias("ordering_key"),
        "subscription",
        "message_id",
    )


def journal_of(checkpoint: str) -> str:
    """The folder of a checkpoint where its messages are, until they are acknowledged."""
    return f"{checkpoint.rstrip('/')}/_pubsub"


def acknowledge_committed(session: SparkSession, source: PubSubSource, checkpoint: str) -> None:
    """Acknowledge what the last batches of a query that has ended have committed.

    Spark tells a source that a batch is committed when the next one begins: of the last one it
    does not. If the service is away it is done by the next start; the messages come again and are
    known as repeats.
    """
    from pyspark_vision.sources.pubsub import ended

    with Service(source.endpoint) as service:
        ended.acknowledge(session, checkpoint, journal_of(checkpoint), service)
