"""What Spark's own progress says of a stream's batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import StreamingQueryListener

_END_TIMEOUT_S = 20.0


@contextmanager
def observed_batches(spark: SparkSession) -> Iterator[list[dict[str, Any]]]:
    """The library's counters of each batch of a query that runs, and ends, within the block."""
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    class Listener(StreamingQueryListener):
        def onQueryStarted(self, event: Any) -> None:
            pass

        def onQueryProgress(self, event: Any) -> None:
            seen.append(event.progress.observedMetrics["pyspark_vision"].asDict())

        def onQueryTerminated(self, event: Any) -> None:
            ended.set()

    listener = Listener()
    spark.streams.addListener(listener)
    try:
        yield seen
        assert ended.wait(_END_TIMEOUT_S)
    finally:
        spark.streams.removeListener(listener)
