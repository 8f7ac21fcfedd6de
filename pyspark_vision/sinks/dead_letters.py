"""Failed rows with what came in, so that they can be put back: a Kafka topic, or Parquet.

A letter holds ``payload`` and ``key`` (bytes as they came), ``origin``, ``topic``, ``partition``,
``offset``, ``timestamp`` (when the source got it), ``error_code``, ``error_message``, ``model`` and
``model_sha256``. In Parquet these are columns. In Kafka the payload is the value and the key is the
key, unchanged, and the others are headers named ``pyspark_vision.<name>``, as text; so a payload of
any size and kind fits where it fitted before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pyspark_vision.messages.utf8 import text_of
from pyspark_vision.sinks import through
from pyspark_vision.sinks.kafka import KafkaTopic, kafka_sink
from pyspark_vision.sinks.parquet import parquet_sink

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from pyspark_vision.sinks import Sink

LETTER = StructType(
    [
        StructField("payload", BinaryType()),
        StructField("key", BinaryType()),
        StructField("origin", StringType()),
        StructField("topic", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
        StructField("timestamp", TimestampType()),
        StructField("error_code", StringType()),
        StructField("error_message", StringType()),
        StructField("model", StringType()),
        StructField("model_sha256", StringType()),
    ]
)

HEADER_PREFIX = "pyspark_vision."
_HEADERS = tuple(name for name in LETTER.names if name not in ("payload", "key"))


def with_payload_if_failed(results: DataFrame, payload: str) -> DataFrame:
    """Add ``payload`` where ``error`` is not null, null elsewhere.

    So that a batch that is kept for its sinks holds what came in for the failed rows only.
    """
    failed = F.col("error").isNotNull()
    return results.withColumn("payload", F.when(failed, F.col(payload)))


def letters(results: DataFrame) -> DataFrame:
    """The failed rows as letters (:data:`LETTER`); fields that a source does not have are null."""
    given = {
        "timestamp": "received",
        "error_code": "error.code",
        "error_message": "error.message",
    }
    columns = []
    for field in LETTER:
        name = given.get(field.name, field.name)
        known = name.split(".", 1)[0] in results.columns
        column = F.col(name) if known else F.lit(None)
        columns.append(column.cast(field.dataType).alias(field.name))
    return results.where(F.col("error").isNotNull()).select(*columns)


def parquet_dead_letters(session: SparkSession, output: str) -> Sink:
    """A sink of failed rows to ``output/batch_id=N``, exactly once under replay."""
    return through(letters, parquet_sink(session, output))


def kafka_dead_letters(target: KafkaTopic) -> Sink:
    """A sink of failed rows to a topic, at least once."""
    return through(letters, kafka_sink(target, to_records))


def to_records(letters: DataFrame) -> DataFrame:
    """Letters -> ``key, value, headers``; a field that is null has no header."""
    # With its offset: another session may read it in another time zone.
    texts = {"timestamp": F.date_format("timestamp", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX")}
    headers = [
        F.struct(
            F.lit(HEADER_PREFIX + name).alias("key"),
            texts.get(name, F.col(name).cast("string")).cast("binary").alias("value"),
        )
        for name in _HEADERS
    ]
    present = F.filter(F.array(*headers), lambda header: header["value"].isNotNull())
    return letters.select("key", F.col("payload").alias("value"), present.alias("headers"))


def from_records(records: DataFrame) -> DataFrame:
    """``key, value, headers`` of a dead-letter topic -> letters; records of others have nulls."""
    headers = F.col("headers")

    def field(name: str) -> Column:
        own = F.filter(headers, lambda header: header["key"] == HEADER_PREFIX + name)
        return text_of(F.get(own, F.lit(0))["value"])

    return records.select(
        F.col("value").alias("payload"),
        "key",
        *(field(name).cast(LETTER[name].dataType).alias(name) for name in _HEADERS),
    )
