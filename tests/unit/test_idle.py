"""A worker whose socket Spark has closed ends without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pyspark_vision.executor.worker import idle
from pyspark_vision.sources.pubsub.data_source import PubSubDataSource, PubSubStreamReader, _Slice
from pyspark_vision.sources.pubsub.messages import ROWS, Message, from_bytes, to_batch, to_bytes
from pyspark_vision.sources.pubsub.options import reader_options

# What Spark's worker does on a closed socket: it says so to the JVM, and prints what that raises.
WORKER = """
import os, socket, sys, traceback
from pyspark.daemon import worker
from pyspark_vision.executor.worker import idle
ours, of_spark = socket.socketpair()
sys.argv = ["pyspark.daemon", "pyspark.worker"]
list(idle.in_task([1, 2]))
of_spark.close()
try:
    worker(ours, True)
except BaseException:
    traceback.print_exc()
"""


def ended(unix_sockets: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "PYTHON_UNIX_DOMAIN_ENABLED": unix_sockets},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_idle_worker_on_a_closed_unix_socket_ends_without_a_word() -> None:
    done = ended("true")

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGPIPE, "", "")


def test_elsewhere_it_keeps_its_ways() -> None:
    assert "BrokenPipeError" in ended("false").stderr


@pytest.fixture
def unix_sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = signal.getsignal(signal.SIGPIPE)
    monkeypatch.setenv("PYTHON_UNIX_DOMAIN_ENABLED", "true")
    yield
    signal.signal(signal.SIGPIPE, before)


def test_while_it_works_a_broken_connection_is_an_error_that_code_can_handle(
    unix_sockets: None,
) -> None:
    pieces = idle.in_task([1, 2])
    idle.wait_quietly()

    assert next(pieces) == 1
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    assert list(pieces) == [2]
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL


def test_a_task_that_fails_leaves_a_quiet_worker(unix_sockets: None) -> None:
    def fail() -> Iterator[int]:
        raise ZeroDivisionError
        yield 1

    with pytest.raises(ZeroDivisionError):
        list(idle.in_task(fail()))

    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL


def test_a_worker_of_the_pubsub_source_ends_without_a_word_too(unix_sockets: None) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sent = Message("projects/p/subscriptions/s", "m", datetime(2026, 11, 28, tzinfo=UTC), "a", b"x")
    part = to_bytes(from_bytes(to_batch([sent], [([], [])])).select(ROWS.names))
    options = reader_options({"subscription": "projects/p1x/subscriptions/sub", "journal": "/j"})

    [batch] = PubSubStreamReader(options).read(_Slice(part))

    assert batch.num_rows == 1
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL


def test_a_worker_that_has_planned_for_the_pubsub_source_ends_without_a_word_too(
    unix_sockets: None,
) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    PubSubDataSource({}).schema()

    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
