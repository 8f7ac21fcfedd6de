"""A running stream's numbers in Prometheus' text format, on 127.0.0.1.

The standard library's server and ten lines of format: a client package would bring a registry and
process metrics that Spark's own endpoint has already.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.streaming.batch_report import BatchReport
from pyspark_vision.streaming.counts import Counts

# https://prometheus.io/docs/instrumenting/exposition_formats/
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "pyspark_vision_"

# Only this machine: who scrapes from elsewhere has an agent here, or a tunnel.
_HOST = "127.0.0.1"


class StreamMetrics:
    """Totals since the start, and what the last batch was. One thread adds, others read text."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._counts = Counts()
        self._batches = 0
        self._retried_rows = 0
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

    def text(self) -> str:
        """All metrics as they are now."""
        with self._lock:
            counts = self._counts
            lines = [
                *self._family("batches_total", "Batches done", {"": self._batches}),
                *self._family("rows_total", "Rows read", {"": counts.rows}),
                *self._family(
                    "rows_with_result_total", "Rows with a result", {"": counts.with_result}
                ),
                *self._family(
                    "rows_failed_total", "Rows with an error", counts.failed, label="code"
                ),
                *self._family(
                    "rows_dropped_total", "Rows left out", counts.dropped, label="reason"
                ),
                *self._family(
                    "rows_retried_total", "Rows worked on again", {"": self._retried_rows}
                ),
                *self._family(
                    "payload_bytes_total", "Bytes of the rows read", {"": self._payload_bytes}
                ),
                *self._family("decode_seconds_total", "Decoding", {"": self._decode_s}),
                *self._family("model_seconds_total", "In the model", {"": self._model_s}),
                *self._gauge(
                    "backlog_rows", "Rows the source has and has not given", self._backlog
                ),
            ]
            if self._last is not None:
                lines += self._of_last_batch(self._last)
        return "".join(f"{line}\n" for line in lines)

    def _of_last_batch(self, last: BatchReport) -> list[str]:
        return [
            *self._gauge("result_age_p50_seconds", "From a frame's own time", last.age_p50_s),
            *self._gauge("result_age_p95_seconds", "From a frame's own time", last.age_p95_s),
            *self._gauge("batch_seconds", "How long the last batch took", last.took_s),
            *self._gauge("batch_rows", "Rows of the last batch", last.counts.rows),
            *self._gauge("input_rows_per_second", "Rows that came in", last.input_rate),
            *self._gauge("processed_rows_per_second", "Within batches", last.processing_rate),
            *self._gauge("catch_up_seconds", "What the backlog takes", last.catch_up_s or 0),
            *self._gauge("last_batch_time_seconds", "When it ended, since 1970", last.ended_at),
        ]

    def _gauge(self, name: str, text: str, value: float | None) -> list[str]:
        return [] if value is None else self._family(name, text, {"": value})

    def _family(
        self, name: str, text: str, values: Mapping[str, float], label: str = ""
    ) -> list[str]:
        kind = "counter" if name.endswith("_total") else "gauge"
        samples = []
        for key, value in sorted(values.items()):
            labels = f'job_name="{_escaped(self._job)}"'
            if label:
                labels += f',{label}="{_escaped(key)}"'
            samples.append(f"{PREFIX}{name}{{{labels}}} {value}")
        return [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} {kind}", *samples]


@contextmanager
def served(text: Callable[[], str], port: int) -> Iterator[int]:
    """Serve ``text()`` at ``/metrics`` of 127.0.0.1 until the end of the block; gives the port.

    ``port`` 0 is one that is free. Raises :class:`InvalidOptionError` if it cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a line for each scrape says nothing to anybody."""

    server = _bound(port, Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refuse_if_taken(port: int) -> None:
    """Raise :class:`InvalidOptionError` if a server could not have this port now."""
    _bound(port, BaseHTTPRequestHandler).server_close()


def _bound(port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((_HOST, port), handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"another program has port {port} of {_HOST}"
        elif error.errno == errno.EACCES:
            why = f"this user may not have port {port} (most systems keep those below 1024)"
        else:
            why = f"port {port} of {_HOST} cannot be had: {error.strerror}"
        raise InvalidOptionError(
            f"--metrics-port {port}: {why}; choose another one, or auto for one that is free"
        ) from None


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
