"""Ctrl-C, SIGTERM and a closed terminal end all of it; a second one, at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One wish may come as two signals: from the terminal, and from `make`.
_ONE_WISH_S = 1.0


class EndedBySignalError(BaseException):
    """Raised where the main thread is; as ``KeyboardInterrupt``, nothing else catches it."""


class Ending:
    """Whether all of it is being ended, and since when."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._since: float | None = None

    def begin(self) -> None:
        """From now on a signal interrupts nothing; one after the first calls ``hurry``."""
        if self._since is None:
            self._since = time.monotonic()

    def on_signal(self, number: int, frame: object) -> None:
        """As :func:`signal.signal` calls it."""
        if self._since is None:
            self.begin()
            raise EndedBySignalError
        if time.monotonic() - self._since > _ONE_WISH_S:
            self._hurry()


@contextmanager
def by_signals(hurry: Callable[[], None]) -> Iterator[Ending]:
    """The first signal raises :class:`EndedBySignalError`; one after it calls ``hurry``.

    What is ignored stays ignored: ``nohup``, or Ctrl-C for a command in a script's background.
    """
    ending = Ending(hurry)
    handled = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ending.on_signal) for number in handled}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
