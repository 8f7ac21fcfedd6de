"""Headers of Kafka's records, and attributes of Pub/Sub's messages as such.

They are columns of results, fields, and kept for dead letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages.utf8 import text_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

HEADERS = "headers"
_PREFIX = "header_"


def column_name(header: str) -> str:
    """A header's column: what is no ASCII letter, digit or ``_`` becomes ``_``.

    >>> column_name("trace-id")
    'header_trace_id'
    """
    return _PREFIX + re.sub("[^A-Za-z0-9_]", "_", header)


def refuse_same_columns(headers: Sequence[str]) -> None:
    """Raise :class:`InvalidOptionError` if two headers would be one column."""
    known: dict[str, str] = {}
    for header in headers:
        other = known.setdefault(column_name(header).lower(), header)
        if other != header or list(headers).count(header) > 1:
            raise InvalidOptionError(
                f"`header_columns` {other} {header}: both would be the column "
                f"{column_name(header)}; name one of them"
            )


def with_header_columns(records: DataFrame, headers: Sequence[str]) -> DataFrame:
    """Add ``header_NAME`` for each header: its text, stray bytes as ``%XX``; null without it."""
    if not headers:
        return records
    return records.select(
        "*", *(text_of(value_of(header)).alias(column_name(header)) for header in headers)
    )


def columns_in(results: DataFrame) -> list[str]:
    """The columns that :func:`with_header_columns` has added."""
    return [name for name in results.columns if name.startswith(_PREFIX)]


def value_of(header: str) -> Column:
    """The bytes of a record's header; of several of one name the last, as Kafka's clients do."""
    same = F.filter(HEADERS, lambda item: item["key"] == header)
    return F.get(same, F.size(same) - 1)["value"]


def of_attributes(attributes: Column) -> Column:
    """Attributes of a Pub/Sub message (a map of text) as headers."""
    return F.transform(
        F.map_entries(attributes),
        lambda item: F.struct(
            item["key"].alias("key"), item["value"].cast("binary").alias("value")
        ),
    )
