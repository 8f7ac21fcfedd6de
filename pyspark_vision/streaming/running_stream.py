"""What a stream is at: written by the thread of its batches, read by the one that waits."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark_vision.errors import PysparkVisionError
from pyspark_vision.sources import kafka_losses
from pyspark_vision.sources.kafka_progress import backlog_rows, rows_lost
from pyspark_vision.spark.internals import muted_end_of_query
from pyspark_vision.streaming.counts import Counts, Measures, measure_results, observed_batch
from pyspark_vision.streaming.micro_batch import compute_batch
from pyspark_vision.streaming.model_doubts import warn_of_model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sources.source_check import SourceCheck
    from pyspark_vision.streaming.metrics import StreamMetrics
    from pyspark_vision.streaming.signals import StopRequest

# The name by which operators find a batch's line.
_log = logging.getLogger("pyspark_vision.streaming")


class BatchGivenUpError(Exception):
    """Ends the query in front of a batch, or within it; the next query, or start, replays it."""


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
        self.refused_batch: PysparkVisionError | None = None
        self._session = session
        self._sinks = sinks
        self._value = value
        self._skips_lost = skips_lost
        self._after_batch: Callable[[], None] = lambda: None
        self._query: StreamingQuery | None = None
        self._has_begun = threading.Event()
        self._unmute: Callable[[], None] = lambda: None
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
        self._unmute()
        self._query = None
        self._has_begun.clear()

        def process(batch: DataFrame, batch_id: int) -> None:
            try:
                self._process(batch, batch_id, batch_step=batch_step, is_current=is_current)
            except PysparkVisionError as error:
                # What reaches the caller is text: Spark's, with a traceback in it.
                self.refused_batch = error
                raise

        self._query = start(process)
        self._has_begun.set()
        return self._query

    def note(self, check: SourceCheck) -> None:
        """Count what its source has lost before it began, and ask it after each batch."""
        self._after_batch = check.after_batch
        if check.lost:
            self._drop(check.lost)

    def mute(self) -> None:
        """What ends the query from here on was meant; Spark would log it as a failure."""
        self._unmute = muted_end_of_query(self._session)

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
            self.at_gate = True
            self.mute()
            raise BatchGivenUpError(f"batch {batch_id} is not begun")
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
                # Spark searches the text for an interruption: that of the true error, with all its
                # causes, is so long that the search overflows the stack.
                raise BatchGivenUpError(f"batch {batch_id} was cancelled") from None
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
        warn_of_model(report)
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
        dropped = Counter({kafka_losses.LOST_BY_RETENTION: lost})
        self._drop(dropped)
        _log.warning("%s", json.dumps({"batch_id": batch_id, "dropped": dict(dropped)}))

    def _drop(self, dropped: Counter[str]) -> None:
        counts = Counts(dropped=dropped)
        self.counts.add(counts)
        self.metrics.add_counts(counts)

    def _backlog(self) -> int | None:
        progress = self._query.lastProgress if self._query is not None else None
        return None if progress is None else backlog_rows(progress)
