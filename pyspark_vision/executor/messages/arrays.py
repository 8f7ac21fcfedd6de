"""Batches of records -> batches of what their messages hold, as Arrow arrays.

Of a form's fields one column each, a timestamp has two: ``NAME_text`` (ISO-8601 as it was sent) and
``NAME_us`` (microseconds since 1970 as digits: through pandas, which has no nulls among whole
numbers, a number would lose some). A map is a list of its entries. The last column is ``error``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from pyspark_vision.executor.messages.form import Field, Kind, MessageForm
from pyspark_vision.executor.messages.schema_registry import SchemaRegistryError
from pyspark_vision.executor.messages.values import Moment, values_of
from pyspark_vision.executor.results import ERROR_TYPE
from pyspark_vision.executor.row_errors import ErrorCode, RowError

ENTRIES_TYPE = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))

# A piece of results holds so many rows, and so many bytes of pictures.
_ROWS_PER_PIECE = 256
_BYTES_PER_PIECE = 32 * 1024 * 1024


def text_column(name: str) -> str:
    """Of a timestamp: its column of ISO-8601 text."""
    return f"{name}_text"


def micros_column(name: str) -> str:
    """Of a timestamp: its column of microseconds since 1970, as digits."""
    return f"{name}_us"


def read_batches(
    batches: Iterator[tuple[pa.Array, pa.Array]], form: MessageForm
) -> Iterator[pa.StructArray]:
    """Values and lists of headers (those of ``form.headers``) -> structs of the form's columns."""
    if form.is_avro:
        import fastavro  # noqa: F401 - here, where a lack of it is explained
    return _pieces(batches, form)


def _pieces(
    batches: Iterator[tuple[pa.Array, pa.Array]], form: MessageForm
) -> Iterator[pa.StructArray]:
    for values, headers in batches:
        rows: list[tuple[dict[str, Any], RowError | None]] = []
        held_bytes = 0
        for value, given in zip(values, headers, strict=True):
            row = _row(value.as_py(), given.as_py(), form)
            rows.append(row)
            held_bytes += sum(len(cell) for cell in row[0].values() if isinstance(cell, bytes))
            if held_bytes >= _BYTES_PER_PIECE or len(rows) == _ROWS_PER_PIECE:
                yield _array(rows, form)
                rows, held_bytes = [], 0
        if rows:
            yield _array(rows, form)


def _row(
    value: bytes | None, headers: Sequence[bytes | None] | None, form: MessageForm
) -> tuple[dict[str, Any], RowError | None]:
    none = [None] * len(form.headers)
    try:
        return values_of(value, headers or none, form), None
    except RowError as error:
        return {}, error
    except SchemaRegistryError:
        raise
    except Exception as error:  # a message that nobody thought of ends no stream
        said = f"the message cannot be read: {type(error).__name__}: {error}"
        return {}, RowError(ErrorCode.BAD_MESSAGE, said)


def _array(
    rows: Sequence[tuple[dict[str, Any], RowError | None]], form: MessageForm
) -> pa.StructArray:
    names: list[str] = []
    arrays: list[pa.Array] = []
    for field in form.fields:
        given = [values.get(field.name) for values, _ in rows]
        for name, kind, of in _columns(field):
            names.append(name)
            arrays.append(pa.array([None if value is None else of(value) for value in given], kind))
    names.append("error")
    said = [error and {"code": error.code.value, "message": error.message} for _, error in rows]
    arrays.append(pa.array(said, ERROR_TYPE))
    return pa.StructArray.from_arrays(arrays, names=names)


def _columns(field: Field) -> list[tuple[str, pa.DataType, Callable[[Any], Any]]]:
    if field.kind is Kind.TIMESTAMP:
        return [
            (text_column(field.name), pa.string(), lambda when: when.text),
            (micros_column(field.name), pa.string(), _digits),
        ]
    if field.kind is Kind.MAP:
        return [(field.name, ENTRIES_TYPE, _entries)]
    kind = pa.binary() if field.kind is Kind.PICTURE else pa.string()
    return [(field.name, kind, lambda value: value)]


def _digits(when: Moment) -> str | None:
    return None if when.micros is None else str(when.micros)


def _entries(texts: dict[str, str | None]) -> list[dict[str, str | None]]:
    return [{"key": key, "value": value} for key, value in texts.items()]
