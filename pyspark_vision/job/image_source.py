"""Where `stream_classify` takes images from: Kafka, objects announced over Pub/Sub, or both."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyspark
from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.functions import fetch_object
from pyspark_vision.messages import gcs_notification, record_headers
from pyspark_vision.messages.planned_time import with_planned_time
from pyspark_vision.messages.record_headers import HEADERS
from pyspark_vision.sources import kafka_record
from pyspark_vision.sources.kafka import KafkaSource, stream_kafka
from pyspark_vision.sources.pubsub import record, stream
from pyspark_vision.sources.pubsub.options import whole_name
from pyspark_vision.sources.pubsub.stream import PubSubSource
from pyspark_vision.sources.source_check import SourceCheck
from pyspark_vision.streaming.triggers import AVAILABLE_NOW

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KAFKA, PUBSUB, BOTH = "kafka", "pubsub", "both"


@dataclass(frozen=True)
class ImageSource:
    """One of them is ``None``, or neither."""

    kafka: KafkaSource | None
    pubsub: PubSubSource | None


def add_pubsub(group: argparse._ArgumentGroup) -> None:
    """``--input-source`` and the flags of Pub/Sub."""
    group.add_argument(
        "--input-source",
        choices=[KAFKA, PUBSUB, BOTH],
        default=KAFKA,
        help="where images come from: messages of Kafka, objects of Cloud Storage that a "
        "notification over Pub/Sub announces, or both",
    )
    group.add_argument(
        "--pubsub-subscription",
        "--subscription",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the subscriptions to bucket notifications, by name or as "
        "projects/PROJECT/subscriptions/NAME",
    )


def check_flags(options: argparse.Namespace) -> None:
    """Raise :class:`InvalidOptionError` for flags that do not go together; asks nobody."""
    pubsub_source(options)


def pubsub_source(options: argparse.Namespace) -> PubSubSource | None:
    """What the flags say of Pub/Sub; ``None``: nothing is read from there."""
    if options.input_source == KAFKA:
        if options.pubsub_subscription:
            raise InvalidOptionError(
                "--pubsub-subscription is given and --input-source is kafka: choose --input-source "
                "pubsub or both, or leave the subscription out"
            )
        return None
    if not options.pubsub_subscription:
        raise InvalidOptionError(
            f"--input-source {options.input_source} needs --pubsub-subscription: the subscription "
            "to the notifications of the bucket"
        )
    project = options.project_id
    return PubSubSource(
        tuple(whole_name(name, project) for name in options.pubsub_subscription),
        max_messages_per_batch=options.max_offsets_per_trigger,
        id_attributes=gcs_notification.ID_ATTRIBUTES,
    )


def image_source(
    options: argparse.Namespace, kafka: Callable[[], KafkaSource], trigger: str
) -> ImageSource:
    """What the job reads; ``kafka`` makes that source, which asks its brokers.

    Raises in one line if the subscription is not there or not for this account, or the service
    does not answer. A dry run asks nobody.
    """
    source = pubsub_source(options)
    if source is not None:
        stream.refuse_old_spark()
        _refuse_trigger(trigger)
        if not options.dry_run:
            stream.check(source)
    return ImageSource(None if options.input_source == PUBSUB else kafka(), source)


def images(
    session: SparkSession,
    source: ImageSource,
    checkpoint: str,
    read_images: Callable[[DataFrame], DataFrame],
    own: Sequence[str] = (),
) -> DataFrame:
    """The images of the source, with ``picture`` and the time of their batch.

    ``read_images``: reads records of Kafka. ``own``: folders that the job writes, whose files are
    no images even if they are announced. With both sources, a column that one does not have is
    null in its rows.
    """
    streams = []
    if source.kafka is not None:
        streams.append(read_images(stream_kafka(session, source.kafka)))
    if source.pubsub is not None:
        messages = stream.stream_pubsub(session, source.pubsub, checkpoint)
        streams.append(_announced(messages, own))
    if len(streams) == 1:
        return with_planned_time(streams[0])
    kafka, announced = streams
    attempts = F.lit(None).cast(schemas.FETCHED["attempts"].dataType)
    kafka = kafka.withColumn("picture", F.col("picture").withField("attempts", attempts))
    return with_planned_time(kafka.unionByName(announced, allowMissingColumns=True))


@contextmanager
def agreed(session: SparkSession, source: ImageSource, checkpoint: str) -> Iterator[SourceCheck]:
    """For the time that a stream runs: its sources are those of its checkpoint."""
    if source.pubsub is not None:
        record.agree(
            session,
            checkpoint,
            source.pubsub.subscriptions,
            with_kafka=source.kafka is not None,
        )
    elif record.reads_pubsub(session, checkpoint):
        raise InvalidOptionError(
            f"--checkpoint {checkpoint} reads Pub/Sub, and this job does not: give the same "
            "--input-source, or choose a new --checkpoint and output"
        )
    kafka: AbstractContextManager[SourceCheck] | None = None
    if source.kafka is not None:
        kafka = kafka_record.agreed(session, source.kafka, checkpoint)
    try:
        if kafka is None:
            yield SourceCheck()
        else:
            with kafka as check:
                yield check
    finally:
        if source.pubsub is not None:
            stream.acknowledge_committed(session, source.pubsub, checkpoint)


def _announced(messages: DataFrame, own: Sequence[str]) -> DataFrame:
    """Images of the objects; what else a message had is as dead letters keep it."""
    read = gcs_notification.read_notifications(messages, own)
    notifications = gcs_notification.with_uri(read)
    fetched = fetch_object("uri", generation="generation")
    images = gcs_notification.read_images(notifications, fetched)
    return (
        images.withColumn(HEADERS, record_headers.of_attributes(F.col("attributes")))
        .withColumn("key", F.col("ordering_key").cast("binary"))
        .drop("attributes", "ordering_key")
    )


def _refuse_trigger(trigger: str) -> None:
    version = tuple(int(part) for part in pyspark.__version__.split(".")[:2])
    if trigger == AVAILABLE_NOW and version < (4, 2):
        raise InvalidOptionError(
            f"--trigger-seconds {AVAILABLE_NOW} with Pub/Sub needs PySpark 4.2 or newer, where "
            f"Python sources know it; this is {pyspark.__version__}: give a number of seconds"
        )
