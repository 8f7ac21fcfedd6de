"""The benchmarks' generator of load for web APIs counts each answer once and keeps to its rate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.http_load import load


class Answering(BaseHTTPRequestHandler):
    """Takes and refuses in turn, with the head and the body in two writes."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        Answering.asked += 1
        self.send_response(503 if Answering.asked % 2 else 200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"taken")

    def log_message(self, format: str, *args: object) -> None:
        """Nowhere."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_each_answer_is_counted_once_by_its_status(port: int) -> None:
    Answering.asked = 0

    came = load(port, connections=3, seconds=0.3, warm_up_s=0.0, rate=None)

    assert set(came.statuses) == {200, 503}
    # What is under way at the end has no answer yet.
    assert 0 <= Answering.asked - came.statuses.total() <= 3
    assert len(came.seconds) == came.statuses.total()
    assert min(came.seconds) > 0


def test_a_rate_is_not_exceeded_and_the_warm_up_does_not_count(port: int) -> None:
    Answering.asked = 0

    came = load(port, connections=8, seconds=0.3, warm_up_s=0.3, rate=40)

    assert 0 < came.statuses.total() < Answering.asked <= 24
