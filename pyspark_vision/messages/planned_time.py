"""When a record's batch was planned: the time that a stream's own logic goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PLANNED = "planned_ms"


def with_planned_time(records: DataFrame) -> DataFrame:
    """Add ``planned_ms`` to a stream's records: when their batch was planned, since 1970.

    Not a time of producers or brokers, which may say any year. A replayed batch has the same: in
    the plan of a stream Spark takes the current time from the checkpoint.
    """
    return records.withColumn(PLANNED, as_argument(F.unix_millis(F.current_timestamp())))


def as_argument(value: Column) -> Column:
    """A literal that is another in each batch, as an argument of the code that Spark makes.

    By itself it is a number in that code, which is then compiled anew for each batch: by Spark for
    25 to 50 ms, and then by the JVM. An array is not: the code refers to it. Its index is 0 in
    every partition, which Spark does not know: else it would make a number of the array again.
    """
    return F.get(F.array(value), F.least(F.spark_partition_id(), F.lit(0)))


def planned_at() -> Column:
    """The same as a timestamp."""
    return F.timestamp_millis(PLANNED)
