"""How a running stream is told to stop: SIGTERM and SIGINT, to this process or to its JVM.

Under spark-submit, and so in a Kubernetes pod and in YARN's application master, the JVM is the
process that is signalled: it would shut down at once, in the middle of a batch. So it passes its
signals on to here.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyspark_vision.spark.internals import heard_by_jvm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SIGNALS = ("TERM", "INT")

# Ctrl-C reaches Python and its JVM, and systemd signals all processes of a unit: what comes this
# soon after the first signal is that one again, not a second wish.
ONE_SIGNAL_S = 1.0


class StopRequest:
    """Whether, since when and how urgently the stream is to stop.

    Plain attributes, no locks: a signal handler may find the main thread holding any of them.
    """

    def __init__(self) -> None:
        self.asked_at: float | None = None  # time.monotonic()
        self.at_once = False
        self.reason = ""  # why at once

    def signalled(self) -> None:
        """The first signal asks for a stop after the batch in hand, a second one for one now."""
        now = time.monotonic()
        if self.asked_at is None:
            self.asked_at = now
        elif now - self.asked_at > ONE_SIGNAL_S:
            self.at_once, self.reason = True, "a second signal came"

    def lost(self, reason: str) -> None:
        """Stop now: the stream must not go on, and why."""
        self.asked_at = self.asked_at or time.monotonic()
        self.at_once, self.reason = True, reason


@contextmanager
def listening(session: SparkSession, request: StopRequest) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into ``request``; afterwards they do what they did before.

    For the main thread of a classic session: only there does Python set signal handlers.
    """

    def on_signal(number: int, frame: Any) -> None:
        request.signalled()

    own = {name: signal.signal(getattr(signal, f"SIG{name}"), on_signal) for name in _SIGNALS}
    unheard = heard_by_jvm(session, _SIGNALS, request.signalled)
    try:
        yield
    finally:
        unheard()
        for name, handler in own.items():
            signal.signal(getattr(signal, f"SIG{name}"), handler)
