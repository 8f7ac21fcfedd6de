"""A Kafka topic: at least once, under keys that let a consumer drop repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from pyspark_vision.errors import StreamError
from pyspark_vision.spark import error_texts
from pyspark_vision.spark.internals import JavaError
from pyspark_vision.spark.prepared import prepared

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sources.kafka import KafkaConnection


# Kafka's own, of a producer: a record must fit into it.
_BUFFER_BYTES = 32 * 1024 * 1024

# Kafka's own, of a request to one partition. Of a topic that takes less, a producer splits what it
# sends into parts of this size again, without end (KAFKA-8350).
_BATCH_BYTES = 16 * 1024

# A batch's own fields (61 bytes) and those of a record, whose numbers are of up to five bytes each.
_RECORD_OVERHEAD_BYTES = 128


@dataclass(frozen=True)
class KafkaTopic:
    """Where messages go. ``max_message_bytes``: the producer's limit (Kafka's own is 1 MiB).

    ``topic_limit_bytes``: the topic's own (``max.message.bytes``), 0 where it is not known.
    """

    connection: KafkaConnection
    topic: str
    max_message_bytes: int
    topic_limit_bytes: int = 0

    @property
    def largest_record_bytes(self) -> int:
        """The largest key, value and headers together: what both limits leave one record."""
        limits = [self.max_message_bytes, *filter(None, [self.topic_limit_bytes])]
        return max(0, min(limits) - _RECORD_OVERHEAD_BYTES)


def kafka_sink(target: KafkaTopic, messages: Callable[[DataFrame], DataFrame]) -> Sink:
    """A sink that sends ``messages(results)``: columns ``key``, ``value`` and maybe ``headers``.

    A batch that is replayed sends its messages again, under the same keys with the same values.
    """

    to_messages = prepared(messages)

    def write(results: DataFrame, batch_id: int) -> None:
        send(to_messages(results), target)

    return write


def send(messages: DataFrame, target: KafkaTopic) -> None:
    """Write ``key, value[, headers]`` to the topic.

    A column ``topic`` beats ``target.topic``. Raises if the broker refuses one of them,
    :class:`StreamError` with the topic and its limit if that is for its size.
    """
    writer = messages.write.format("kafka").options(**target.connection.options())
    # Room for the key, headers and the record's own fields beside the value.
    limit = target.max_message_bytes + 64 * 1024
    writer = writer.option("kafka.max.request.size", limit)
    # Acknowledged by all replicas, and no repeats by the producer's own retries.
    writer = writer.option("kafka.acks", "all").option("kafka.enable.idempotence", True)
    if "topic" not in messages.columns:
        writer = writer.option("topic", target.topic)
    if target.topic_limit_bytes and target.topic_limit_bytes < _BATCH_BYTES:
        writer = writer.option("kafka.batch.size", target.topic_limit_bytes)
    if "buffer.memory" not in dict(target.connection.properties):
        writer = writer.option("kafka.buffer.memory", max(_BUFFER_BYTES, 2 * limit))
    try:
        writer.save()
    except (JavaError, PySparkException) as error:
        why = error_texts.too_large_record(str(error))
        if why is None:
            raise
        raise StreamError(_too_large(why, target)) from None


def _too_large(why: str, target: KafkaTopic) -> str:
    why = f" ({why})" if why else ""
    limit = f", which is {target.topic_limit_bytes} now" if target.topic_limit_bytes else ""
    return (
        f"the topic {target.topic or 'of a letter'} does not take a message for its size{why}: "
        f"raise its max.message.bytes{limit}, or send less, by `max_message_bytes`; the next start "
        "sends the batch again"
    )


def largest_value_bytes(target: KafkaTopic) -> int:
    """The largest value of a result: what a key of names of usual length leaves of a record."""
    return max(0, target.largest_record_bytes - 1024)
