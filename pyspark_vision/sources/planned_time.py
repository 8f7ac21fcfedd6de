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
    # `current_timestamp()` by itself is a number in the code that Spark makes of the plan, which
    # is then compiled anew for each batch: by Spark for 25 to 50 ms, and then by the JVM.
    # Higher-order functions are not made into code; they get it as an argument.
    now = F.transform(F.array(F.current_timestamp()), F.unix_millis)[0]
    return records.withColumn(PLANNED, now)


def planned_at() -> Column:
    """The same as a timestamp."""
    return F.timestamp_millis(PLANNED)
