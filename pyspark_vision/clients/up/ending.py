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


@contextmanager
def by_signals(hurry: Callable[[], None]) -> Iterator[None]:
    """The first signal raises :class:`EndedBySignalError`; one after it calls ``hurry``.

    What is ignored stays ignored: ``nohup``, or Ctrl-C for a command in a script's background.
    """
    first_at: float | None = None

    def on_signal(number: int, frame: object) -> None:
        nonlocal first_at
        now = time.monotonic()
        if first_at is None:
            first_at = now
            raise EndedBySignalError
        if now - first_at > _ONE_WISH_S:
            hurry()

    handled = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
