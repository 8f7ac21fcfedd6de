"""One query, one inference, many sinks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.counts import Counts, count_results

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

    from pyspark_vision.sinks import Sink

AVAILABLE_NOW = "available-now"

_log = logging.getLogger(__name__)


def start(
    source: DataFrame,
    transform: Callable[[DataFrame], DataFrame],
    sinks: Mapping[str, Sink],
    *,
    value: str,
    checkpoint: str,
    trigger: str,
    query_name: str,
    on_batch: Callable[[Counts], None] | None = None,
) -> tuple[StreamingQuery, Counts]:
    """Start the stream: each micro-batch is transformed once and given to every sink.

    ``trigger`` is an interval (``"3 seconds"``) or ``"available-now"`` (read what is there, then
    stop). A sink that fails fails the batch; Spark replays it after a restart from ``checkpoint``.
    ``transform`` gives flat results: ``value``, ``error``, and ``dropped`` where a row was left out
    on purpose. ``on_batch`` is told what each finished batch has seen; the returned
    :class:`Counts` grows with it.
    """
    counts = Counts()

    def process(batch: DataFrame, batch_id: int) -> None:
        seen = run_batch(transform(batch), batch_id, sinks, value=value)
        counts.add(seen)
        if on_batch is not None:
            on_batch(seen)

    writer = source.writeStream.queryName(query_name).option("checkpointLocation", checkpoint)
    if trigger == AVAILABLE_NOW:
        writer = writer.trigger(availableNow=True)
    else:
        writer = writer.trigger(processingTime=trigger)
    return writer.foreachBatch(process).start(), counts


def run(
    source: DataFrame,
    transform: Callable[[DataFrame], DataFrame],
    sinks: Mapping[str, Sink],
    *,
    value: str,
    checkpoint: str,
    trigger: str,
    name: str,
    words: tuple[str, str],
) -> None:
    """Run a job's stream until it ends, then say in one line what went through.

    ``words`` are those of the line: ``("frames", "detected")``. Raises what ended the stream.
    """
    query, counts = start(
        source,
        transform,
        sinks,
        value=value,
        checkpoint=checkpoint,
        trigger=trigger,
        query_name=name,
    )
    try:
        query.awaitTermination()
    finally:
        print(f"{name}: {counts.summary(*words)}", flush=True)


def run_batch(
    results: DataFrame, batch_id: int, sinks: Mapping[str, Sink], *, value: str
) -> Counts:
    """Compute flat results once, count them, and give them to every sink.

    Rows whose ``dropped`` is not null are counted and not given on.
    """
    results = results.persist()
    try:
        seen = count_results(results, value)
        kept = results
        if "dropped" in results.columns:
            kept = results.where(F.col("dropped").isNull()).drop("dropped")
        for sink in sinks.values():
            sink(kept, batch_id)
    finally:
        results.unpersist()
    record = {
        "batch_id": batch_id,
        "rows": seen.rows,
        "with_result": seen.with_result,
        "failed": dict(seen.failed),
        "dropped": dict(seen.dropped),
        "sinks": list(sinks),
    }
    _log.info("%s", json.dumps(record))
    return seen
