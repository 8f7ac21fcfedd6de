"""What a stream is at: written by the thread of its batches, read by the one that waits."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark_vision.sources import kafka_losses
from pyspark_vision.sources.kafka_progress import backlog_rows, rows_lost
from pyspark_vision.streaming.counts import Counts, Measures, measure_results, observed_batch
from pyspark_vision.streaming.micro_batch import compute_batch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from pyspark_vision.sinks import Sink
    from pyspark_vision.streaming.metrics import StreamMetrics
    from pyspark_vision.streaming.runner import SourceCheck
    from pyspark_vision.streaming.signals import StopRequest

# How Spark knows a Python batch that its own stop has interrupted (StreamExecution.PROXY_ERROR).
# The traceback of the true error is so long that Spark's pattern overflows the stack on it. That of
# Spark 3.5 wants the end of a line.
_INTERRUPTED = (
    "py4j.protocol.Py4JJavaError: An error occurred while calling foreachBatch.\n"
    ": java.lang.InterruptedException"
)

# The name by which operators find a batch's line.
_log = logging.getLogger("pyspark_vision.streaming")


class RunningStream:
    """A job's stream, over the queries that it is made of: one after the other, a model each."""

    def __init__(
        self,
        session: SparkSession,
        request: StopRequest,
        sinks: Mapping[str, Sink],
        metrics: StreamMetrics,
        *,
        value: str,
        skips_lost: bool,
    ) -> None:
        self.request = request
        self.counts = Counts()
        self.metrics = metrics
        self.in_hand: int | None = None
        self.at_gate = False
        self.is_cancelled = False
        self._session = session
        self._sinks = sinks
        self._value = value
        self._skips_lost = skips_lost
        self._after_batch: Callable[[], None] = lambda: None
        self._query: StreamingQuery | None = None
        self._has_begun = threading.Event()
        self._began_at: float | None = None
        self._last_seen = -1
        self._is_observable = True

    def begin(
        self,
        start: Callable[[Callable[[DataFrame, int], None]], StreamingQuery],
        batch_step: Callable[[DataFrame], DataFrame] | None,
        is_current: Callable[[], bool],
    ) -> StreamingQuery:
        """Start a query whose batches are processed here.

        ``batch_step`` makes results of a batch; without it the batch is the results, counted in
        the query's own plan. A batch for which ``is_current`` does not hold is not begun.
        """
        self.at_gate = False
        self._query = None
        self._has_begun.clear()
        self._query = start(
            functools.partial(self._process, batch_step=batch_step, is_current=is_current)
        )
        self._has_begun.set()
        return self._query

    def note(self, check: SourceCheck) -> None:
        """Count what its source has lost before it began, and ask it after each batch."""
        self._after_batch = check.after_batch
        if check.lost.dropped:
            self.counts.add(check.lost)
            self.metrics.add_counts(check.lost)

    def watch(self) -> None:
        """Note the backlog, of idle triggers too, and what batches were to read and did not get."""
        self.metrics.behind(self._backlog())
        if not self._skips_lost or self._query is None:
            return
        for progress in self._query.recentProgress:
            if progress["batchId"] > self._last_seen:
                self._last_seen = progress["batchId"]
                if lost := rows_lost(progress):
                    self._note_lost(progress["batchId"], lost)

    def _process(
        self,
        batch: DataFrame,
        batch_id: int,
        *,
        batch_step: Callable[[DataFrame], DataFrame] | None,
        is_current: Callable[[], bool],
    ) -> None:
        if self.request.asked_at is not None or not is_current():
            self._wait_for_the_end()
        self.in_hand = batch_id
        began_at, before = time.monotonic(), self._began_at
        try:
            is_observed = batch_step is None and self._is_observable
            report = compute_batch(
                batch if batch_step is None else batch_step(batch),
                batch_id,
                sinks=self._sinks,
                measure=self._observed if is_observed else self._measured,
                reads=not is_observed,
            )
            self._after_batch()
        except Exception:
            if self.is_cancelled:
                raise InterruptedError(_INTERRUPTED) from None
            raise
        self.in_hand = None
        self._began_at = began_at
        behind = self._backlog()
        report = dataclasses.replace(
            report,
            took_s=time.monotonic() - began_at,
            input_rate=None if before is None else report.counts.rows / (began_at - before),
            backlog=None if behind is None else max(0, behind - report.counts.rows),
        )
        self.counts.add(report.counts)
        self.metrics.add(report)
        _log.info("%s", report.line())

    def _observed(self, results: DataFrame) -> tuple[Counts, Measures]:
        # The first batch may be done before its query is known here.
        self._has_begun.wait()
        assert self._query is not None
        if (observed := observed_batch(self._query)) is not None:
            return observed
        self._is_observable = False
        return self._measured(results)

    def _measured(self, results: DataFrame) -> tuple[Counts, Measures]:
        return measure_results(results, self._value)

    def _note_lost(self, batch_id: int, lost: int) -> None:
        dropped = Counts(dropped=Counter({kafka_losses.LOST_BY_RETENTION: lost}))
        self.counts.add(dropped)
        self.metrics.add_counts(dropped)
        _log.warning("%s", json.dumps({"batch_id": batch_id, "dropped": dict(dropped.dropped)}))

    def _backlog(self) -> int | None:
        progress = self._query.lastProgress if self._query is not None else None
        return None if progress is None else backlog_rows(progress)

    def _wait_for_the_end(self) -> None:
        """In the JVM, on the thread of the query, which Spark's own stop interrupts there."""
        self.at_gate = True
        jvm = self._session.sparkContext._jvm
        assert jvm is not None
        try:
            jvm.java.lang.Thread.sleep(24 * 60 * 60 * 1000)
        except Exception:
            raise InterruptedError(_INTERRUPTED) from None
