"""Ctrl-C and SIGTERM ask a client to end well; a second one, at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Ctrl-C may come twice for one wish, from a terminal and from whoever started us.
_ONE_SIGNAL_S = 1.0


class Stop:
    """What the signals have asked for.

    Plain attributes, no locks: a signal handler may find the main thread holding any of them.
    """

    def __init__(self) -> None:
        self.is_asked = False  # end well
        self.is_hurried = False  # a second signal came: wait for nothing
        self._first_at = 0.0

    def signalled(self) -> None:
        """A signal came."""
        now = time.monotonic()
        if not self.is_asked:
            self.is_asked, self._first_at = True, now
        elif now - self._first_at > _ONE_SIGNAL_S:
            self.is_hurried = True


@contextmanager
def listening() -> Iterator[Stop]:
    """SIGINT and SIGTERM become a :class:`Stop`; afterwards they do what they did. Main thread."""
    stop = Stop()

    def on_signal(number: int, frame: Any) -> None:
        stop.signalled()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
