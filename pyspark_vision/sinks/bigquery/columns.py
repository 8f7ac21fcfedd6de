"""The columns of a table: those that a job has, what the table takes of them, and a row as JSON.

A table has its own say: a column may be ``REQUIRED``, a text has a longest length, a number its
digits. What it would refuse is told here, row by row and on executors, before a byte is sent: a
load job takes all of its rows or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import InvalidOptionError

if TYPE_CHECKING:
    from pyspark.sql import Column

REQUIRED, NULLABLE = "REQUIRED", "NULLABLE"

# The first is what a new table gets; the others take each value as it is.
_WHOLE = ("INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC")
_TYPES: dict[type[DataType], tuple[str, ...]] = {
    StringType: ("STRING",),
    DoubleType: ("FLOAT",),
    FloatType: ("FLOAT",),
    ShortType: _WHOLE,
    IntegerType: _WHOLE,
    LongType: _WHOLE,
    BooleanType: ("BOOLEAN",),
    TimestampType: ("TIMESTAMP",),
    DateType: ("DATE",),
    BinaryType: ("BYTES",),
    MapType: ("JSON", "STRING"),
    StructType: ("JSON", "STRING"),
    ArrayType: ("JSON", "STRING"),
}
# Two names of one type: the API says the older ones, people write the newer ones.
_SAME = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}

# Digits before and after the point of a NUMERIC and a BIGNUMERIC without own ones.
_DIGITS = {"NUMERIC": (38, 9), "BIGNUMERIC": (76, 38)}

# BigQuery's own range of timestamps, in microseconds since 1970: the years 1 to 9999.
_FIRST_MICROS, _LAST_MICROS = -62_135_596_800_000_000, 253_402_300_799_999_999


@dataclass(frozen=True)
class TableColumn:
    """A column as the table has it; ``max_length`` in letters (of ``BYTES``: bytes).

    ``type``: the API's name, as ``INTEGER``. ``mode``: ``NULLABLE``, ``REQUIRED`` or ``REPEATED``.
    """

    name: str
    type: str
    mode: str = NULLABLE
    max_length: int | None = None
    precision: int | None = None
    scale: int | None = None
    has_default: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.type}"


def of_type(field: StructField) -> TableColumn:
    """The column that a new table gets for a field."""
    return TableColumn(field.name, _TYPES[type(field.dataType)][0])


def api_type(name: str) -> str:
    """``INT64`` -> ``INTEGER``: the one name of a type that is used here."""
    return _SAME.get(name.upper(), name.upper())


def missing(required: StructType, table: Sequence[TableColumn]) -> list[StructField]:
    """The fields that the table has no column for. Names differ by more than capitals."""
    there = {column.name.lower() for column in table}
    return [field for field in required if field.name.lower() not in there]


def written(
    offered: StructType, table: Sequence[TableColumn], name: object
) -> list[tuple[StructField, TableColumn]]:
    """Each field of ``offered`` that the table has, with its column.

    Raises :class:`InvalidOptionError`, naming the table, for a column of another type and for a
    ``REQUIRED`` one that no field fills.
    """
    fields = {field.name.lower(): field for field in offered}
    pairs = []
    for column in table:
        field = fields.get(column.name.lower())
        if field is None:
            if column.mode == REQUIRED and not column.has_default:
                raise InvalidOptionError(
                    f"{name} has a REQUIRED column {column.name}, which the job has no value for: "
                    "make it NULLABLE, or choose another table"
                )
            continue
        types = _TYPES[type(field.dataType)]
        if column.type not in types or column.mode == "REPEATED":
            mode = " (REPEATED)" if column.mode == "REPEATED" else ""
            raise InvalidOptionError(
                f"{name}: its column {column.name} is {column.type}{mode} and must be "
                f"{' or '.join(types)}: choose another table, or drop that column"
            )
        pairs.append((field, column))
    return pairs


def refusal(
    pairs: Sequence[tuple[StructField, TableColumn]], name: object, max_row_bytes: int
) -> Column:
    """Why the table refuses a row, as a text; null for a row that it takes.

    The first reason of a row, in the order of the table's columns.
    """
    reasons = [
        F.when(condition, F.lit(f"{column.name} {text} ({name})"))
        for field, column in pairs
        for condition, text in _refused(field, column)
    ]
    size = F.octet_length(as_json(pairs))
    text = f"the row has more than {max_row_bytes} bytes ({name})"
    return F.coalesce(*reasons, F.when(size > max_row_bytes, F.lit(text)))


def _refused(field: StructField, column: TableColumn) -> Iterator[tuple[Column, str]]:
    value = F.col(quoted(field.name))
    if column.mode == REQUIRED:
        yield value.isNull(), "is null and REQUIRED"
    if column.max_length is not None and column.type in ("STRING", "BYTES"):
        length = F.length(_json_value(field, column) if column.type == "STRING" else value)
        unit = "letters" if column.type == "STRING" else "bytes"
        yield length > column.max_length, f"has more than {column.max_length} {unit}"
    if column.type == "TIMESTAMP":
        micros = F.unix_micros(value)
        is_out = (micros < _FIRST_MICROS) | (micros > _LAST_MICROS)
        yield is_out, "is not within the years 1 to 9999"
    if column.type in _DIGITS:
        precision, scale = _DIGITS[column.type]
        if column.precision is not None:
            precision, scale = column.precision, column.scale or 0
        whole_digits = precision - scale
        # Above what a long holds there is nothing to refuse.
        if whole_digits < 19:
            yield F.abs(value) >= 10**whole_digits, f"has more than {whole_digits} digits"


def as_json(pairs: Sequence[tuple[StructField, TableColumn]]) -> Column:
    """A row as one line of JSON, under the table's own names; null fields are left out.

    Timestamps have microseconds and their offset, bytes are base64, a map that goes to a text
    column is JSON within JSON.
    """
    fields = [_json_value(field, column).alias(column.name) for field, column in pairs]
    return F.to_json(F.struct(*fields), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"})


def _json_value(field: StructField, column: TableColumn) -> Column:
    value = F.col(quoted(field.name))
    if isinstance(field.dataType, MapType | StructType | ArrayType) and column.type == "STRING":
        return F.to_json(value)
    return value
