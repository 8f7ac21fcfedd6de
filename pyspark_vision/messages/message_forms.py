"""Messages that are not the seeds', read by one pass through Python: its columns in Spark.

:mod:`pyspark_vision.executor.messages` has what it does. Messages of the seeds never come here:
Spark's own JSON reader takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    StringType,
    StructField,
    StructType,
)

from pyspark_vision import schemas
from pyspark_vision.columns.udf import vision_udf
from pyspark_vision.executor.messages.arrays import micros_column, text_column
from pyspark_vision.executor.messages.form import Field, Kind, MessageForm
from pyspark_vision.messages.record_headers import value_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

READ = "_read"

_ENTRIES = ArrayType(
    StructType([StructField("key", StringType()), StructField("value", StringType())])
)


def with_read(records: DataFrame, form: MessageForm) -> DataFrame:
    """Add ``_read``: a struct of the form's fields, and ``error``; all null beside an error.

    Of a form that takes all of its fields from headers the value is not looked at.
    """
    udf = vision_udf("read_messages", form, _result_type(form), name="read_messages")
    needs_value = any(not field.is_header for field in form.fields)
    value = F.col("value") if needs_value else F.lit(None).cast("binary")
    headers = F.array(*map(value_of, form.headers)).cast("array<binary>")
    # Not deterministic: a registry may know a schema the second time.
    return records.withColumn(READ, udf.asNondeterministic()(value, headers))


def timestamp(read: Column, name: str) -> tuple[Column, Column]:
    """A timestamp's text as it was sent, and its moment; at most one of them is not null."""
    micros = read[micros_column(name)].cast("bigint")
    return read[text_column(name)], F.timestamp_micros(micros)


def _result_type(form: MessageForm) -> StructType:
    columns = [column for field in form.fields for column in _columns(field)]
    return StructType([*columns, StructField("error", schemas.ERROR)])


def _columns(field: Field) -> list[StructField]:
    if field.kind is Kind.TIMESTAMP:
        names = (text_column(field.name), micros_column(field.name))
        return [StructField(name, StringType()) for name in names]
    kinds: dict[Kind, DataType] = {Kind.PICTURE: BinaryType(), Kind.MAP: _ENTRIES}
    return [StructField(field.name, kinds.get(field.kind, StringType()))]
