"""Rows as the Storage Write API takes them: protocol buffers, whose description is sent along."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark_vision.sinks.bigquery.columns import TableColumn

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class RowFormat:
    """The message of a table's columns, and rows in it; a column that is null is left out.

    ``description``: the ``DescriptorProto`` of the message.
    """

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        types = descriptor_pb2.FieldDescriptorProto
        numbers = {
            "FLOAT": types.TYPE_DOUBLE,
            "INTEGER": types.TYPE_INT64,
            "TIMESTAMP": types.TYPE_INT64,
            "BOOLEAN": types.TYPE_BOOL,
            "BYTES": types.TYPE_BYTES,
            "DATE": types.TYPE_INT32,
        }
        # proto2, where a field that is not set is no value: null, and not 0.
        file = descriptor_pb2.FileDescriptorProto(name="row.proto", package="pyspark_vision")
        message = file.message_type.add(name="Row")
        for number, column in enumerate(columns, 1):
            message.field.add(
                name=column.name,
                number=number,
                label=types.LABEL_OPTIONAL,
                type=numbers.get(column.type, types.TYPE_STRING),
            )
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self.description = message
        self._message = message_factory.GetMessageClass(
            pool.FindMessageTypeByName("pyspark_vision.Row")
        )
        self._values = {column.name: _CONVERSIONS.get(column.type, _text) for column in columns}

    def encoded(self, line: bytes) -> bytes:
        """A line of :func:`~pyspark_vision.sinks.bigquery.columns.as_json` as a message."""
        row = json.loads(line)
        values = {name: self._values[name](value) for name, value in row.items()}  # type: ignore[no-untyped-call]
        return bytes(self._message(**values).SerializeToString())


def _text(value: Any) -> str:
    """Of numbers, too, which a NUMERIC takes as text; of what goes to a JSON column."""
    return value if isinstance(value, str) else json.dumps(value)


def _micros(value: str) -> int:
    """``2026-11-28T04:00:00.000001Z`` -> microseconds since 1970."""
    return (datetime.fromisoformat(value) - _EPOCH) // _MICROSECOND


def _days(value: str) -> int:
    return (date.fromisoformat(value) - _EPOCH.date()).days


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "FLOAT": float,  # of "NaN" and "Infinity" as well, which JSON has as texts
    "INTEGER": int,
    "BOOLEAN": bool,
    "BYTES": base64.b64decode,
    "TIMESTAMP": _micros,
    "DATE": _days,
}
