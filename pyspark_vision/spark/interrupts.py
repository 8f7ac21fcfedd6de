"""Ctrl-C while Spark starts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Ctrl-C that comes meanwhile counts at the end of the block.

    PySpark, interrupted while its JVM starts, removes the folder by which the two find each other;
    the JVM then never ends. Started whole, it ends with this process.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    came = threading.Event()

    def note(number: int, frame: object) -> None:
        came.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is note:  # a new SparkContext has put its own there
            signal.signal(signal.SIGINT, before)
    if came.is_set():
        signal.raise_signal(signal.SIGINT)
