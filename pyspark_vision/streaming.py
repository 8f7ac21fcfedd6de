"""One query, one inference, many sinks; watched, and stopped between two batches."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pyspark.errors import StreamingQueryException
from pyspark.sql import functions as F

from pyspark_vision import checkpoint_lease, stopping
from pyspark_vision.batch_report import BatchReport
from pyspark_vision.counts import Counts, measure_results
from pyspark_vision.errors import StreamError
from pyspark_vision.sinks.batch_folders import hadoop_path
from pyspark_vision.sources import kafka_losses
from pyspark_vision.sources.kafka_progress import backlog_rows, rows_lost
from pyspark_vision.stream_metrics import StreamMetrics, served

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from pyspark_vision.sinks import Sink

AVAILABLE_NOW = "available-now"

# In Spark's progress, for a StreamingQueryListener: observedMetrics["pyspark_vision"].
OBSERVED = "pyspark_vision"

# How soon a signal is seen; the batches themselves do not wait for it.
_POLL_S = 1
# What a batch that is cancelled may take to end, before the process ends with it.
_CANCEL_TIMEOUT = "5s"
# How Spark knows a Python batch that its own stop has interrupted (StreamExecution.PROXY_ERROR).
# The traceback of the true error is so long that Spark's pattern overflows the stack on it.
_INTERRUPTED = (
    "py4j.protocol.Py4JJavaError: An error occurred while calling foreachBatch: "
    "java.lang.InterruptedException"
)

_LOG_WRITER = "spark.sql.streaming.checkpointFileManagerClass"
_CHECKPOINTING = "org.apache.spark.sql.execution.streaming.checkpointing"

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """How a stream runs.

    - ``checkpoint``: any Hadoop URI; one job at a time may work on it.
    - ``trigger``: an interval (``"3 seconds"``) or ``"available-now"`` (read what is there, stop).
    - ``stop_timeout_s``: what the batch in hand may take after a signal to stop.
    - ``metrics_port``: of 127.0.0.1, 0 for one that is free, ``None`` for none.
    - ``skips_lost``: records may have gone before they were read; how many is counted.
    """

    checkpoint: str
    trigger: str
    stop_timeout_s: float
    metrics_port: int | None = None
    skips_lost: bool = False


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

    return _start(source, process, checkpoint, trigger, query_name), counts


def run(
    source: DataFrame,
    transform: Callable[[DataFrame], DataFrame],
    sinks: Mapping[str, Sink],
    options: StreamOptions,
    *,
    value: str,
    name: str,
    words: tuple[str, str],
) -> None:
    """Run a job's stream until it ends or is told to stop, then say in one line what went through.

    SIGTERM and SIGINT let the batch in hand finish, its commit included; the next one is not
    begun. ``words`` are those of the line: ``("frames", "detected")``. Raises what ended the
    stream; :class:`StreamError` if a batch had to be given up, which is then replayed by the next
    start; :class:`CheckpointInUseError` while another job works on the checkpoint.
    """
    session = source.sparkSession
    request = stopping.StopRequest()
    run = _Run(session, request, transform, sinks, value, StreamMetrics(name), options.skips_lost)
    try:
        with ExitStack() as stack:
            stack.enter_context(stopping.listening(session, request))
            stack.enter_context(
                checkpoint_lease.held(session, options.checkpoint, name, request.lost)
            )
            if options.metrics_port is not None:
                port = stack.enter_context(served(run.metrics.text, options.metrics_port))
                print(f"{name}: metrics at http://127.0.0.1:{port}/metrics", flush=True)
            session.conf.set("spark.sql.streaming.stopTimeout", _CANCEL_TIMEOUT)
            query = _start(
                _observed(source), run.process, options.checkpoint, options.trigger, name
            )
            run.query = query
            _wait(query, run, options.stop_timeout_s)
    except StreamingQueryException as error:
        lost = kafka_losses.loss(str(error))
        if lost is None:
            raise
        raise StreamError(lost) from None
    finally:
        print(f"{name}: {run.counts.summary(*words)}", flush=True)


class _Run:
    """What a stream is at: written by the thread of its batches, read by the one that waits."""

    def __init__(
        self,
        session: SparkSession,
        request: stopping.StopRequest,
        transform: Callable[[DataFrame], DataFrame],
        sinks: Mapping[str, Sink],
        value: str,
        metrics: StreamMetrics,
        skips_lost: bool,
    ) -> None:
        self.request = request
        self.counts = Counts()
        self.metrics = metrics
        self.query: StreamingQuery | None = None
        self.in_hand: int | None = None
        self.at_gate = False
        self.is_cancelled = False
        self._session = session
        self._transform = transform
        self._report = functools.partial(compute_batch, sinks=sinks, value=value)
        self._began_at: float | None = None
        self._skips_lost = skips_lost
        self._last_seen = -1

    def process(self, batch: DataFrame, batch_id: int) -> None:
        if self.request.asked_at is not None:
            self._wait_for_the_end()
        self.in_hand = batch_id
        began_at, before = time.monotonic(), self._began_at
        try:
            report = self._report(self._transform(_with_payload_bytes(batch)), batch_id)
        except Exception:
            if self.is_cancelled:
                raise InterruptedError(_INTERRUPTED) from None
            raise
        self.in_hand = None
        self._began_at = began_at
        behind = self._backlog()
        report = dataclasses.replace(
            report,
            input_rate=None if before is None else report.counts.rows / (began_at - before),
            backlog=None if behind is None else max(0, behind - report.counts.rows),
        )
        self.counts.add(report.counts)
        self.metrics.add(report)
        _log.info("%s", report.line())

    def watch(self) -> None:
        """Note the backlog, of idle triggers too, and what batches were to read and did not get."""
        self.metrics.behind(self._backlog())
        if not self._skips_lost or self.query is None:
            return
        for progress in self.query.recentProgress:
            if progress["batchId"] > self._last_seen:
                self._last_seen = progress["batchId"]
                if lost := rows_lost(progress):
                    self._note_lost(progress["batchId"], lost)

    def _note_lost(self, batch_id: int, lost: int) -> None:
        dropped = Counts(dropped=Counter({kafka_losses.LOST_BY_RETENTION: lost}))
        self.counts.add(dropped)
        self.metrics.add_counts(dropped)
        _log.warning("%s", json.dumps({"batch_id": batch_id, "dropped": dict(dropped.dropped)}))

    def _backlog(self) -> int | None:
        progress = self.query.lastProgress if self.query is not None else None
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


def _wait(query: StreamingQuery, run: _Run, stop_timeout_s: float) -> None:
    """Until the query ends; after a signal, until its last batch is committed, then end it.

    Spark's stop cancels a batch in flight. So it is called when there is none: between two
    triggers, or while the next batch, planned and not begun, waits at its gate.
    """
    request = run.request
    while not query.awaitTermination(_POLL_S):
        run.watch()
        if request.asked_at is None:
            continue
        if run.at_gate or not query.status["isTriggerActive"]:
            query.stop()
            break
        late = time.monotonic() - request.asked_at > stop_timeout_s
        if late or request.at_once:
            given_up = run.in_hand
            run.is_cancelled = True
            try:
                query.stop()
            except Exception:  # it does not end in time: it ends with the process
                _log.warning("the batch in hand did not end when it was cancelled")
            if given_up is None:
                break
            why = request.reason or f"it took more than --stop-timeout {stop_timeout_s:g} s"
            raise StreamError(
                f"stopped within batch {given_up}, because {why}; the next start replays it"
            )
    run.watch()


def _start(
    source: DataFrame,
    process: Callable[[DataFrame, int], None],
    checkpoint: str,
    trigger: str,
    query_name: str,
) -> StreamingQuery:
    _write_logs_without_a_shell(source.sparkSession, checkpoint)
    writer = source.writeStream.queryName(query_name).option("checkpointLocation", checkpoint)
    if trigger == AVAILABLE_NOW:
        writer = writer.trigger(availableNow=True)
    else:
        writer = writer.trigger(processingTime=trigger)
    return writer.foreachBatch(process).start()


def _write_logs_without_a_shell(session: SparkSession, checkpoint: str) -> None:
    """On this machine's disks, without Hadoop's native library, Spark's usual way to write its two
    logs starts a process (``readlink``) for each file: a tenth of a second in every batch.

    The other way, which Spark has for stores such as s3a, renames as well. That it asks first
    whether the file is there, and not in the same step, is the lease's concern.
    """
    file_system, _ = hadoop_path(session, checkpoint)
    if file_system.getUri().getScheme() == "file":
        session.conf.set(_LOG_WRITER, f"{_CHECKPOINTING}.FileSystemBasedCheckpointFileManager")


def _observed(source: DataFrame) -> DataFrame:
    """What Spark can count on the way into a batch; results are made inside of it, out of sight."""
    columns = [F.count(F.lit(1)).alias("rows")]
    if "value" in source.columns:
        columns.append(F.sum(F.length("value")).alias("payload_bytes"))
    return source.observe(OBSERVED, *columns)


def _with_payload_bytes(batch: DataFrame) -> DataFrame:
    if "value" not in batch.columns:
        return batch
    return batch.withColumn("payload_bytes", F.length("value"))


def run_batch(
    results: DataFrame, batch_id: int, sinks: Mapping[str, Sink], *, value: str
) -> Counts:
    """Compute flat results once, count them, and give them to every sink; a line in the log.

    Rows whose ``dropped`` is not null are counted and not given on.
    """
    report = compute_batch(results, batch_id, sinks=sinks, value=value)
    _log.info("%s", report.line())
    return report.counts


def compute_batch(
    results: DataFrame, batch_id: int, *, sinks: Mapping[str, Sink], value: str
) -> BatchReport:
    """:func:`run_batch`, with all that was measured and without its line in the log."""
    began_at = time.monotonic()
    results = results.persist()
    try:
        counts, measures = measure_results(results, value)
        kept = results
        if "dropped" in results.columns:
            kept = results.where(F.col("dropped").isNull()).drop("dropped")
        kept = kept.drop("payload_bytes")
        for sink in sinks.values():
            sink(kept, batch_id)
    finally:
        results.unpersist()
    return BatchReport(
        batch_id=batch_id,
        counts=counts,
        measures=measures,
        took_s=time.monotonic() - began_at,
        ended_at=time.time(),
        sinks=tuple(sinks),
    )
