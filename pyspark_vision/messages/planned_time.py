"""When a record's batch was planned: the time that a stream's own logic goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.spark.internals import not_compiled

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PLANNED = "planned_ms"


def with_planned_time(records: DataFrame) -> DataFrame:
    """Add ``planned_ms`` to a stream's records: when their batch was planned, since 1970.

    Not a time of producers or brokers, which may say any year. A replayed batch has the same: in
    the plan of a stream Spark takes the current time from the checkpoint.
    """
    return records.withColumn(PLANNED, not_compiled(F.unix_millis(F.current_timestamp())))


def planned_at() -> Column:
    """The same as a timestamp."""
    return F.timestamp_millis(PLANNED)
