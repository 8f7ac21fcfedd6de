"""A running stream's numbers for Prometheus, served on 127.0.0.1 by prometheus_client."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.streaming.batch_report import BatchReport
from pyspark_vision.streaming.counts import Counts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

# Only this machine: who scrapes from elsewhere has an agent here, or a tunnel.
_HOST = "127.0.0.1"


class StreamMetrics:
    """Totals since the start, and what the last batch was; a collector as prometheus_client has it.

    One thread adds, others collect.
    """

    def __init__(self, job: str) -> None:
        self._job = job
        self._counts = Counts()
        self._batches = 0
        self._retried_rows = 0
        self._suspect_rows = 0
        self._payload_bytes = 0
        self._decode_s = 0.0
        self._model_s = 0.0
        self._last: BatchReport | None = None
        self._backlog: int | None = None
        self._lock = threading.Lock()

    def add(self, report: BatchReport) -> None:
        """Count a batch that is done."""
        with self._lock:
            self._counts.add(report.counts)
            self._batches += 1
            self._retried_rows += report.measures.retried_rows
            self._suspect_rows += report.measures.suspect_rows
            self._payload_bytes += report.measures.payload_bytes or 0
            self._decode_s += report.measures.decode_ms / 1000
            self._model_s += report.measures.model_ms / 1000
            self._last = report

    def add_counts(self, counts: Counts) -> None:
        """Count what belongs to no batch that was reported."""
        with self._lock:
            self._counts.add(counts)

    def behind(self, backlog: int | None) -> None:
        """Note how many rows the source had in the last trigger, idle ones too."""
        with self._lock:
            self._backlog = backlog

    def collect(self) -> list[Metric]:
        """All metrics as they are now; a gauge whose value is not known is left out."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        metrics: list[Metric] = []

        def total(name: str, text: str, value: float) -> None:
            by_label(name, text, "", {"": value})

        def by_label(name: str, text: str, label: str, values: Mapping[str, float]) -> None:
            labels = ["job_name", label] if label else ["job_name"]
            family = CounterMetricFamily(f"pyspark_vision_{name}", text, labels=labels)
            for key, value in values.items():
                family.add_metric([self._job, key], value)
            metrics.append(family)

        def gauge(name: str, text: str, value: float | None) -> None:
            if value is not None:
                family = GaugeMetricFamily(f"pyspark_vision_{name}", text, labels=["job_name"])
                family.add_metric([self._job], value)
                metrics.append(family)

        with self._lock:
            total("batches_total", "Batches done", self._batches)
            total("rows_total", "Rows read", self._counts.rows)
            total("rows_with_result_total", "Rows with a result", self._counts.with_result)
            by_label("rows_failed_total", "Rows with an error", "code", self._counts.failed)
            by_label("rows_dropped_total", "Rows left out", "reason", self._counts.dropped)
            total("rows_retried_total", "Rows worked on again", self._retried_rows)
            total("rows_suspect_total", "Rows that no right model has", self._suspect_rows)
            total("payload_bytes_total", "Bytes of the rows read", self._payload_bytes)
            total("decode_seconds_total", "Decoding", self._decode_s)
            total("model_seconds_total", "In the model", self._model_s)
            gauge("backlog_rows", "Rows the source has and has not given", self._backlog)
            if last := self._last:
                gauge("result_age_p50_seconds", "From a frame's own time", last.age_p50_s)
                gauge("result_age_p95_seconds", "From a frame's own time", last.age_p95_s)
                gauge("batch_seconds", "How long the last batch took", last.took_s)
                gauge("batch_rows", "Rows of the last batch", last.counts.rows)
                gauge("input_rows_per_second", "Rows that came in", last.input_rate)
                gauge("processed_rows_per_second", "Within batches", last.processing_rate)
                gauge("catch_up_seconds", "What the backlog takes", last.catch_up_s or 0)
                gauge("last_batch_time_seconds", "When it ended, since 1970", last.ended_at)
        return metrics


@contextmanager
def served(metrics: StreamMetrics, port: int) -> Iterator[int]:
    """Serve metrics at ``/metrics`` of 127.0.0.1 until the end of the block; gives the port.

    ``port`` 0 is one that is free. Raises what :func:`check_port` does.
    """
    with _in_our_words(port):
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        registry.register(metrics)
        server, thread = start_http_server(port, _HOST, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check_port(port: int) -> None:
    """Raise :class:`InvalidOptionError` if metrics could not be served at this port now, and
    :class:`MissingDependencyError` without prometheus_client."""
    with _in_our_words(port):
        import prometheus_client  # noqa: F401

        socket.create_server((_HOST, port)).close()


@contextmanager
def _in_our_words(port: int) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise MissingDependencyError(
            "`metrics_port` needs prometheus_client: pip install pyspark_vision[metrics]"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"another program has port {port} of {_HOST}"
        elif error.errno == errno.EACCES:
            why = f"this user may not have port {port} (most systems keep those below 1024)"
        else:
            why = f"port {port} of {_HOST} cannot be had: {error.strerror}"
        raise InvalidOptionError(
            f"`metrics_port` {port}: {why}; choose another one, or auto for one that is free"
        ) from None
