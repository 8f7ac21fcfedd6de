"""Ctrl-C, SIGTERM and a closed terminal ask a client to end well; a second one, at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One wish may come as two signals: from a terminal, and from whoever started us, as `make`.
_ONE_WISH_S = 1.0


def wait(number: int) -> None:
    """For what looks at :class:`Stop` by itself."""


def interrupt(number: int) -> None:
    """Raise where the main thread is: for what waits in a library."""
    raise KeyboardInterrupt


def die(number: int) -> None:
    """End this process by the signal, at once."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class Stop:
    """What the signals have asked for; ``first`` and ``second`` are called by their handlers.

    Plain attributes, no locks: a signal handler may find the main thread holding any of them.
    """

    def __init__(
        self, first: Callable[[int], None] = wait, second: Callable[[int], None] = wait
    ) -> None:
        self.is_asked = False  # end well
        self.is_hurried = False  # a second signal came: wait for nothing
        self._first, self._second = first, second
        self._since = 0.0

    def begin(self) -> None:
        """It ends for a reason of its own: the next signal is not the first one."""
        if not self.is_asked:
            self.is_asked, self._since = True, time.monotonic()

    def signalled(self, number: int) -> None:
        """A signal came."""
        if not self.is_asked:
            self.begin()
            self._first(number)
        elif time.monotonic() - self._since > _ONE_WISH_S:
            self.is_hurried = True
            self._second(number)


@contextmanager
def listening(
    first: Callable[[int], None] = wait, second: Callable[[int], None] = wait
) -> Iterator[Stop]:
    """Signals become a :class:`Stop`; afterwards they do what they did. In the main thread only.

    What is ignored stays ignored: ``nohup``, or Ctrl-C for a command in a script's background.
    """
    stop = Stop(first, second)
    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {
        number: signal.signal(number, lambda number, _: stop.signalled(number)) for number in heard
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
