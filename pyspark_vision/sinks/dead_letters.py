"""Failed rows with what came in, so that they can be put back: a Kafka topic, or Parquet.

A letter holds ``payload`` and ``key`` (bytes as they came), ``origin``, ``topic``, ``partition``,
``offset``, ``timestamp`` (when the source got it), ``error_code``, ``error_message``, ``model``,
``model_sha256``, ``model_digest`` and ``subscription`` (of Pub/Sub, where it came from there; its
ordering key is the ``key``). They are columns in Parquet. In Kafka the payload is the
value and the key is the key, unchanged, and the others are headers named ``pyspark_vision.<name>``,
as text. So a letter can be larger than its message was: what the topic does not take is left out,
and said in a header.

Where a job reads the headers of its records, or messages of Pub/Sub with their attributes, a letter
has them, too: as a column ``headers`` in Parquet, as they were in Kafka. They go back with it: a
field of the message may be in them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pyspark_vision.errors import ErrorCode
from pyspark_vision.messages.record_headers import HEADERS
from pyspark_vision.messages.topics import LETTER_HEADER_PREFIX
from pyspark_vision.messages.utf8 import text_of
from pyspark_vision.sinks import OfFailures
from pyspark_vision.sinks.kafka import KafkaTopic, kafka_sink
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sinks.through import through

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
        StructField("model_digest", StringType()),
        StructField("subscription", StringType()),
    ]
)

# Of results: why a sink does not take a row that went well; null where it does.
REFUSED = "refused"

HEADERS_TYPE = ArrayType(
    StructType([StructField("key", StringType()), StructField("value", BinaryType())])
)

# How many bytes a payload has that was larger than its topic takes, and was not sent.
PAYLOAD_LEFT_OUT, KEY_LEFT_OUT = "payload_left_out", "key_left_out"
# Of an error's message, in a letter whose topic takes little.
_SHORT_MESSAGE = 200
_LEFT_OUT = (PAYLOAD_LEFT_OUT, KEY_LEFT_OUT)
# Of a header: its own lengths, and the name's in front of it.
_HEADER_BYTES = 12
_HEADERS = tuple(name for name in LETTER.names if name not in ("payload", "key"))


def with_payload_if_failed(results: DataFrame, payload: str) -> DataFrame:
    """Add ``payload`` where ``error`` (or :data:`REFUSED`) is not null, null elsewhere.

    So that a batch that is kept for its sinks holds what came in for the failed rows only.
    """
    failed = _failed(results)
    kept = results.withColumn("payload", F.when(failed, F.col(payload)))
    if HEADERS in kept.columns:
        kept = kept.withColumn(HEADERS, F.when(failed, F.col(HEADERS)))
    return kept


def _failed(results: DataFrame) -> Column:
    failed = F.col("error").isNotNull()
    return failed | F.col(REFUSED).isNotNull() if REFUSED in results.columns else failed


def letters(results: DataFrame) -> DataFrame:
    """The failed rows as letters (:data:`LETTER`); fields that a source does not have are null.

    A row that went well and that a sink has refused is one, too: with ``table_refused``.
    """
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
        if name.startswith("error.") and REFUSED in results.columns:
            column = F.coalesce(column, _of_refused(name))
        columns.append(column.cast(field.dataType).alias(field.name))
    if HEADERS in results.columns:
        columns.append(F.col(HEADERS).cast(HEADERS_TYPE).alias(HEADERS))
    return results.where(_failed(results)).select(*columns)


def _of_refused(name: str) -> Column:
    if name == "error.message":
        return F.col(REFUSED)
    return F.when(F.col(REFUSED).isNotNull(), F.lit(ErrorCode.TABLE_REFUSED.value))


def parquet_dead_letters(session: SparkSession, output: str) -> Sink:
    """A sink of failed rows to ``output/batch_id=N``, exactly once under replay."""
    return through(letters, parquet_sink(session, output))


def kafka_dead_letters(target: KafkaTopic) -> Sink:
    """A sink of failed rows to a topic, at least once."""
    limit = target.largest_record_bytes
    sink = through(letters, kafka_sink(target, lambda failed: to_records(failed, limit)))
    return OfFailures(sink)


def to_records(letters: DataFrame, max_bytes: int = sys.maxsize) -> DataFrame:
    """Letters -> ``key, value, headers``; a field that is null has no header.

    A letter above ``max_bytes``, key and headers included, has no payload, and if need be no key:
    the header ``payload_left_out`` (``key_left_out``) says how many bytes it had, and ``origin``
    where it is.
    """
    # With its offset: another session may read it in another time zone.
    texts = {"timestamp": F.date_format("timestamp", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX")}
    fields = {name: texts.get(name, F.col(name).cast("string")) for name in _HEADERS}
    names_bytes = sum(
        len(LETTER_HEADER_PREFIX + name) + _HEADER_BYTES for name in (*fields, *_LEFT_OUT)
    )
    fields_bytes = sum(
        (F.coalesce(F.octet_length(text), F.lit(0)) for text in fields.values()),
        start=F.lit(names_bytes),
    )
    key_bytes, payload_bytes = (
        F.coalesce(F.octet_length(name), F.lit(0)) for name in ("key", "payload")
    )
    room = F.lit(max_bytes).cast("long")
    own = F.array().cast(HEADERS_TYPE)
    if HEADERS in letters.columns:
        given = _of_others(F.coalesce(F.col(HEADERS), own))
        given_bytes = _bytes_of(given)
        # Without them a field may be missing when it is put back; but better than no letter.
        fits = fields_bytes + given_bytes <= room
        own = F.when(fits, given).otherwise(own)
        fields_bytes += F.when(fits, given_bytes).otherwise(0)
    no_payload = fields_bytes + key_bytes + payload_bytes > room
    no_key = fields_bytes + key_bytes > room
    fields["error_message"] = F.when(
        no_key, F.substring("error_message", 1, _SHORT_MESSAGE)
    ).otherwise(F.col("error_message"))
    fields[PAYLOAD_LEFT_OUT] = F.when(no_payload & (payload_bytes > 0), payload_bytes)
    fields[KEY_LEFT_OUT] = F.when(no_key & (key_bytes > 0), key_bytes)
    headers = [
        F.struct(
            F.lit(LETTER_HEADER_PREFIX + name).alias("key"),
            text.cast("string").cast("binary").alias("value"),
        )
        for name, text in fields.items()
    ]
    present = F.filter(F.array(*headers), lambda header: header["value"].isNotNull())
    if HEADERS in letters.columns:
        present = F.concat(own, present)
    return letters.select(
        F.when(~no_key, F.col("key")).alias("key"),
        F.when(~no_payload, F.col("payload")).alias("value"),
        present.alias("headers"),
    )


def _bytes_of(headers: Column) -> Column:
    def size(item: Column) -> Column:
        parts = (F.coalesce(F.octet_length(item[name]), F.lit(0)) for name in ("key", "value"))
        return sum(parts, start=F.lit(_HEADER_BYTES))

    return F.aggregate(
        F.transform(headers, size), F.lit(0), lambda total, header_bytes: total + header_bytes
    )


def _of_others(headers: Column) -> Column:
    """Headers that are not a letter's."""
    return F.filter(headers, lambda item: ~item["key"].startswith(LETTER_HEADER_PREFIX))


def from_records(records: DataFrame) -> DataFrame:
    """``key, value, headers`` of a dead-letter topic -> letters; records of others have nulls.

    Beside a letter's own columns there are ``payload_left_out``, bytes that the topic did not take,
    and ``headers``, those that the record had beside the letter's.
    """
    headers = F.col("headers")

    def field(name: str) -> Column:
        own = F.filter(headers, lambda header: header["key"] == LETTER_HEADER_PREFIX + name)
        return text_of(F.get(own, F.lit(0))["value"])

    return records.select(
        F.col("value").alias("payload"),
        "key",
        *(field(name).cast(LETTER[name].dataType).alias(name) for name in _HEADERS),
        F.coalesce(*(field(name).cast("long") for name in _LEFT_OUT)).alias(PAYLOAD_LEFT_OUT),
        _of_others(headers).alias(HEADERS),
    )
