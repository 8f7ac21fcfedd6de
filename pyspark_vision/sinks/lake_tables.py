"""A table of a format that keeps commits, whichever it is: Delta Lake, or Iceberg."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark_vision.sinks import delta, iceberg
from pyspark_vision.sinks.delta import DeltaTable
from pyspark_vision.sinks.iceberg import IcebergTable
from pyspark_vision.spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

    from pyspark_vision.sinks import Sink

LakeTable = DeltaTable | IcebergTable

# Where a file is made in one step, a driver sees the commits of others; in a bucket it does not.
_ATOMIC = ("file", "hdfs", "viewfs")


def check(session: SparkSession, table: LakeTable, schema: StructType, checkpoint: str) -> None:
    """Raise, in one line, if rows of ``schema`` cannot be appended, or not by this checkpoint.

    Nothing is written.
    """
    if isinstance(table, DeltaTable):
        delta.check(session, table, schema)
        delta.check_checkpoint(session, table, checkpoint)
    else:
        iceberg.check(session, table, schema)
        iceberg.check_checkpoint(session, table, checkpoint)


def lake_sink(session: SparkSession, table: LakeTable, checkpoint: str) -> Sink:
    """A sink that appends each batch once, however often it comes."""
    if isinstance(table, DeltaTable):
        return delta.delta_sink(session, table, checkpoint)
    return iceberg.iceberg_sink(session, table, checkpoint)


def folder(table: LakeTable) -> str | None:
    """Where the table is; ``None`` if only a catalog knows."""
    is_folder = isinstance(table, DeltaTable) or table.is_folder
    return table.uri if is_folder else None


def has_one_driver(session: SparkSession, table: LakeTable) -> bool:
    """Whether a table in a folder may have one driver that writes at a time."""
    if isinstance(table, DeltaTable):
        return delta.has_one_driver(session, table.uri)
    return hadoop.qualified(session, table.uri).partition(":")[0] not in _ATOMIC
