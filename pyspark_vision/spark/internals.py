"""All that Spark does not promise: each use is one function here, or not in this library.

Each says what it is for, what happens where it is missing, and on which versions it was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def muted_end_of_query(session: SparkSession) -> Callable[[], None]:
    """Keep Spark from logging the end of a streaming query that was meant as a failure.

    Gives what takes that back. By the name of Spark's logger, which is that of its package (3.5 to
    4.2). Where it has another name, the log has a stack trace more.
    """
    logs: Any = session.sparkContext._jvm.org.apache.logging.log4j  # type: ignore[union-attr]
    name = "org.apache.spark.sql.execution.streaming"
    before = logs.LogManager.getLogger(name).getLevel()
    logs.core.config.Configurator.setLevel(name, logs.Level.OFF)

    def unmute() -> None:
        logs.core.config.Configurator.setLevel(name, before)

    return unmute
