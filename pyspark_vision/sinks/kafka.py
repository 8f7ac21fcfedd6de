"""A Kafka topic: at least once, under keys that let a consumer drop repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.prepared import prepared

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sources.kafka import KafkaConnection


@dataclass(frozen=True)
class KafkaTopic:
    """Where messages go. ``max_message_bytes``: the producer's limit (Kafka's own is 1 MiB)."""

    connection: KafkaConnection
    topic: str
    max_message_bytes: int


def kafka_sink(target: KafkaTopic, messages: Callable[[DataFrame], DataFrame]) -> Sink:
    """A sink that sends ``messages(results)``: columns ``key``, ``value`` and maybe ``headers``.

    A batch that is replayed sends its messages again, under the same keys with the same values.
    """

    made = prepared(messages)

    def write(results: DataFrame, batch_id: int) -> None:
        send(made(results), target)

    return write


def send(messages: DataFrame, target: KafkaTopic) -> None:
    """Write ``key, value[, headers]`` to the topic; raises if the broker refuses one of them.

    A column ``topic`` beats ``target.topic``.
    """
    writer = messages.write.format("kafka").options(**target.connection.options())
    # Room for the key, headers and the record's own fields beside the value.
    limit = target.max_message_bytes + 64 * 1024
    writer = writer.option("kafka.max.request.size", limit)
    # Acknowledged by all replicas, and no repeats by the producer's own retries.
    writer = writer.option("kafka.acks", "all").option("kafka.enable.idempotence", True)
    if "topic" not in messages.columns:
        writer = writer.option("topic", target.topic)
    writer.save()


def result_key(results: DataFrame) -> Column:
    """``topic-partition-offset-model@version``: the same for each replay of a record by a model.

    ``origin-model@version`` for what did not come from Kafka. The version is the first 12 digits
    of the model's digest: results of another model, of a new version under the same name, or of
    other preprocessing are other results.
    """
    model = F.concat_ws("@", "model", F.substring("model_digest", 1, 12))
    place = ("topic", "partition", "offset") if "topic" in results.columns else ("origin",)
    return F.concat_ws("-", *place, model)
