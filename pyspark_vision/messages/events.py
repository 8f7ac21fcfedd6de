"""The events of the W205 course's web API ("section 3"): words, or JSON objects.

``default`` and ``purchased_sword`` are event types by themselves; later messages are JSON objects
with ``event_type``, then with the request's headers (``Host``, ``User-Agent``, …), a
``description`` or ``metadata``. Each message becomes a row of one table, whatever its variant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages import json_fields

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EVENT_TYPE = "event_type"
FIELDS = ("Accept", "Host", "User-Agent", "Cache-Control", EVENT_TYPE, "description", "metadata")

# Not `topic, partition, offset`: Hive reserves the second, DuckDB the third. `timestamp` is the
# course's name, which its queries use, although Hive wants it in backticks.
_PLACE = {"topic": "kafka_topic", "partition": "kafka_partition", "offset": "kafka_offset"}
# `batch_id` is the folder's in a stream's output.
_OWN_COLUMNS = ("raw_event", "timestamp", *_PLACE.values(), "batch_id")

_WORD = "^[A-Za-z_][A-Za-z0-9_]*$"
# JSON values that look like words: a producer that sends them meant no event type.
_JSON_WORDS = ("true", "false", "null")


@dataclass(frozen=True)
class EventFormat:
    """Which fields of an event become columns.

    ``fields`` are names as in the JSON, case and all; ``event_type`` is always one of them.
    ``replaced``: values that these fields get in every event, whatever came. Raises
    :class:`InvalidOptionError` for fields whose columns would have the same name, in a system that
    ignores case, and for a replaced field that is none of ``fields``.
    """

    fields: Sequence[str] = FIELDS
    replaced: Mapping[str, str] = field(default_factory=dict)
    max_message_bytes: int = 5 * 1024 * 1024

    def __post_init__(self) -> None:
        taken = {name: f"the column {name} of every table" for name in _OWN_COLUMNS}
        for name in self.extracted:
            column = column_name(name)
            if not name:
                raise InvalidOptionError("a field's name is empty")
            if column.lower() in taken:
                raise InvalidOptionError(
                    f"field {name} would be the column {column}, as is {taken[column.lower()]}: "
                    "extract one of them; raw_event has them all"
                )
            taken[column.lower()] = f"field {name}"
        for name in self.replaced:
            if name not in self.extracted:
                raise InvalidOptionError(
                    f"cannot set {name}: it is no field that is extracted; these are "
                    f"{', '.join(self.extracted)}"
                )

    @property
    def extracted(self) -> tuple[str, ...]:
        """``fields``, and ``event_type`` if they lack it."""
        return (*self.fields, *([] if EVENT_TYPE in self.fields else [EVENT_TYPE]))


def column_name(name: str) -> str:
    """A field's column: what is no ASCII letter, digit or ``_`` becomes ``_``, as in Hive.

    ``User-Agent`` becomes ``User_Agent``.
    """
    return re.sub("[^A-Za-z0-9_]", "_", name)


def read_events(records: DataFrame, how: EventFormat) -> DataFrame:
    """Kafka records -> ``event`` and ``error`` added; one of them is null.

    ``event`` is the row of the table: ``raw_event`` (the message as it came), ``timestamp`` (the
    record's), a text per field, ``kafka_topic, kafka_partition, kafka_offset``. A field that is
    missing or null is null, and so is ``event_type``; what is no text becomes its JSON text.
    Errors: ``null_input``, ``empty_input``, ``too_many_bytes``, and ``bad_message`` for what is
    neither a word nor one whole JSON object.
    """
    value, text = F.col("value"), F.col("value").cast("string")
    trimmed = json_fields.trimmed(text)
    is_word = trimmed.rlike(_WORD) & ~trimmed.isin(*_JSON_WORDS)
    word = F.when(is_word & (F.length(value) <= how.max_message_bytes), trimmed)
    # Words are not given to the JSON reader: what it cannot read costs it ten times as much.
    message = json_fields.with_message(
        records.withColumn("_word", word),
        F.when(F.col("_word").isNull(), value),
        how.extracted,
        {},
        max_bytes=how.max_message_bytes,
    )
    problem = F.when(F.col("_word").isNull(), F.col("_message.error"))
    event = F.struct(
        text.alias("raw_event"),
        F.col("received").alias("timestamp"),
        *(_field(name, how).alias(column_name(name)) for name in how.extracted),
        *(F.col(name).alias(column) for name, column in _PLACE.items()),
    )
    return (
        message.withColumn("error", F.coalesce(problem, json_fields.no_error()))
        .withColumn("event", F.when(F.col("error").isNull(), event))
        .drop("_message", "_word")
    )


def table_columns(how: EventFormat) -> list[tuple[str, str]]:
    """The columns of :func:`table`, with their types as SQL writes them."""
    kinds = {"kafka_partition": "int", "kafka_offset": "bigint"}
    return [
        ("raw_event", "string"),
        ("timestamp", "timestamp"),
        *((column_name(name), "string") for name in how.extracted),
        *((column, kinds.get(column, "string")) for column in _PLACE.values()),
    ]


def table(read: DataFrame) -> DataFrame:
    """What :func:`read_events` gave -> the events alone, their fields as columns."""
    return read.where(F.col("error").isNull()).select("event.*")


def table_of_types(read: DataFrame, event_types: Sequence[str]) -> DataFrame:
    """As :func:`table`, the events of these types."""
    return table(read).where(F.col(EVENT_TYPE).isin(*event_types))


def _field(name: str, how: EventFormat) -> Column:
    if name in how.replaced:
        return F.lit(how.replaced[name])
    given = F.col("_message.fields")[name]
    return F.coalesce("_word", given) if name == EVENT_TYPE else given
