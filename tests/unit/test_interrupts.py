"""Ctrl-C while Spark starts: it counts, and not before the JVM can end by itself."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyspark_vision.spark.interrupts import interrupted_afterwards


def test_ctrl_c_while_a_jvm_starts_counts_when_it_has_started() -> None:
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def start() -> None:
        with interrupted_afterwards():
            signal.raise_signal(signal.SIGINT)
            steps.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()

    assert steps == ["started"]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_that_a_new_spark_context_sets_stays() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with interrupted_afterwards():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_changed() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: _handler_inside() is signal.getsignal(signal.SIGINT)).result()


def _handler_inside() -> object:
    with interrupted_afterwards():
        return signal.getsignal(signal.SIGINT)
