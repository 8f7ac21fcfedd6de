"""One query, one inference, many sinks; watched, and stopped between two batches."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, TypeVar

from pyspark.errors import StreamingQueryException

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.source_check import SourceCheck
from pyspark_vision.spark import error_texts
from pyspark_vision.spark.checkpoint_logs import written_at_once
from pyspark_vision.streaming import signals
from pyspark_vision.streaming.counts import (
    Counts,
    measure_results,
    observed_records,
    observed_stream,
)
from pyspark_vision.streaming.metrics import StreamMetrics, served
from pyspark_vision.streaming.micro_batch import compute_batch, with_payload_bytes
from pyspark_vision.streaming.model_doubts import warn_of_model
from pyspark_vision.streaming.running_stream import RunningStream
from pyspark_vision.streaming.triggers import AVAILABLE_NOW as AVAILABLE_NOW
from pyspark_vision.streaming.triggers import checked_trigger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

    from pyspark_vision.sinks import Sink

# How soon a signal is seen; the batches themselves do not wait for it.
_POLL_S = 1
# What a batch that is cancelled may take to end, before the process ends with it.
_CANCEL_TIMEOUT = "5s"

_Model = TypeVar("_Model")

# The name by which operators find what a stream says.
_log = logging.getLogger("pyspark_vision.streaming")


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """How a stream runs.

    - ``checkpoint``: any Hadoop URI.
    - ``trigger``: an interval (``"3 seconds"``) or ``"available-now"`` (read what is there, stop).
    - ``stop_timeout_s``: what the batch in hand may take after a signal to stop.
    - ``metrics_port``: a port of 127.0.0.1, 0 for one that is free, ``None`` for none.
    - ``skips_lost``: records may have gone before they were read; how many is counted.
    """

    checkpoint: str
    trigger: str
    stop_timeout_s: float
    metrics_port: int | None = None
    skips_lost: bool = False


@dataclasses.dataclass(frozen=True)
class Steps:
    """What a stream's records go through to become flat results.

    - ``rows``: each row by itself, in the plan of the stream, which Spark analyzes once.
    - ``batch``: then, to each micro-batch, what compares its rows, and what comes after that; this
      part of the plan is analyzed for each batch. ``None``: ``rows`` are the results.
    """

    rows: DataFrame
    batch: Callable[[DataFrame], DataFrame] | None = None


def run(
    source: DataFrame,
    steps: Callable[[DataFrame, _Model], Steps],
    newest: Callable[[], _Model],
    sinks: Mapping[str, Sink],
    options: StreamOptions,
    *,
    value: str,
    name: str,
    words: tuple[str, str],
    hold: Callable[[Callable[[str], None]], AbstractContextManager[SourceCheck]] = (
        lambda lost: nullcontext(SourceCheck())
    ),
) -> None:
    """Run a job's stream until it ends or is told to stop, then say in one line what went through.

    The stream is ``steps(source, newest())``. ``newest`` is asked again before each batch: if it
    gives another model, the query is started anew with that model's plan, and with this batch.

    ``hold(lost)`` is entered before anything is read or written, for as long as the stream runs:
    it keeps other jobs from the stream's places (:func:`pyspark_vision.job.outputs.held`). It calls
    ``lost`` with the reason if the stream must stop at once.

    SIGTERM and SIGINT let the batch in hand finish, its commit included; the next one is not
    begun. ``words`` are those of the line: ``("frames", "detected")``. Raises what ``hold`` raises,
    and what ended the stream; :class:`StreamError` if a batch had to be given up, which is then
    replayed by the next start.
    """
    session = source.sparkSession
    request = signals.StopRequest()
    run = RunningStream(
        session,
        request,
        sinks,
        StreamMetrics(name),
        value=value,
        skips_lost=options.skips_lost,
    )
    try:
        with ExitStack() as stack:
            stack.enter_context(signals.listening(session, request))
            check = stack.enter_context(hold(request.lost))
            if options.metrics_port is not None:
                port = stack.enter_context(served(run.metrics, options.metrics_port))
                print(f"{name}: metrics at http://127.0.0.1:{port}/metrics", flush=True)
            run.note(check)
            session.conf.set("spark.sql.streaming.stopTimeout", _CANCEL_TIMEOUT)
            stack.enter_context(written_at_once(session, options.checkpoint))
            source = with_payload_bytes(source)
            is_over = False
            while not is_over:
                is_over = _run_query(source, steps, newest, run, options, value=value, name=name)
    except StreamingQueryException as error:
        # Spark puts a traceback around what a batch has raised.
        refused = run.refused_batch
        text = str(error)
        said = error_texts.lost_records(text) or error_texts.no_schema_registry(text)
        said = str(refused) if refused is not None else said
        said = said or error_texts.own_error(text) or error_texts.source_gone(text)
        said = said or error_texts.cut_log(text)
        if said is None:
            raise
        raise StreamError(said) from None
    finally:
        print(f"{name}: {run.counts.summary(*words)}", flush=True)


def _run_query(
    source: DataFrame,
    steps: Callable[[DataFrame, _Model], Steps],
    newest: Callable[[], _Model],
    run: RunningStream,
    options: StreamOptions,
    *,
    value: str,
    name: str,
) -> bool:
    """The stream with the model of now, until it is over (true) or there is another model."""
    model = newest()
    batch_steps = steps(source, model)
    rows = (
        observed_records(batch_steps.rows)
        if batch_steps.batch
        else observed_stream(batch_steps.rows, value)
    )
    query = run.begin(
        lambda process: _start(rows, process, options.checkpoint, options.trigger, name),
        batch_steps.batch,
        lambda: newest() is model,
    )
    _wait(query, run, options.stop_timeout_s)
    return not run.at_gate or run.request.asked_at is not None


def _wait(query: StreamingQuery, run: RunningStream, stop_timeout_s: float) -> None:
    """Until the query ends, or its next batch is not to be begun, or a signal has come and the last
    batch is committed; then end it.

    Spark's stop cancels a batch in flight. So it is called between two triggers only. Where one
    trigger follows the other at once, the next batch, planned and not begun, ends the query itself.
    """
    request = run.request
    while not _has_ended(query, run):
        run.watch()
        if request.asked_at is None:
            continue
        if not query.status["isTriggerActive"]:
            query.stop()
            break
        late = time.monotonic() - request.asked_at > stop_timeout_s
        if late or request.at_once:
            given_up = run.in_hand
            run.is_cancelled = True
            run.mute()
            try:
                query.stop()
            except Exception:  # it does not end in time: it ends with the process
                _log.warning("the batch in hand did not end when it was cancelled")
            if given_up is None:
                break
            why = request.reason or f"it took more than `stop_timeout` {stop_timeout_s:g} s"
            raise StreamError(
                f"stopped within batch {given_up}, because {why}; the next start replays it"
            )
    run.watch()


def _has_ended(query: StreamingQuery, run: RunningStream) -> bool:
    """Whether it has within a moment; raises what ended it, unless that was meant."""
    try:
        return query.awaitTermination(_POLL_S) or False
    except StreamingQueryException:
        if run.at_gate:
            return True
        raise


def _start(
    source: DataFrame,
    process: Callable[[DataFrame, int], None],
    checkpoint: str,
    trigger: str,
    query_name: str,
) -> StreamingQuery:
    writer = source.writeStream.queryName(query_name).option("checkpointLocation", checkpoint)
    trigger = checked_trigger(trigger)
    if trigger == AVAILABLE_NOW:
        writer = writer.trigger(availableNow=True)
    else:
        writer = writer.trigger(processingTime=trigger)
    return writer.foreachBatch(process).start()


def run_batch(
    results: DataFrame, batch_id: int, sinks: Mapping[str, Sink], *, value: str
) -> Counts:
    """Compute flat results once, count them, and give them to every sink; a line in the log.

    Rows whose ``dropped`` is not null are counted and not given on.
    """
    report = compute_batch(
        results, batch_id, sinks=sinks, measure=lambda computed: measure_results(computed, value)
    )
    warn_of_model(report)
    _log.info("%s", report.line())
    return report.counts
