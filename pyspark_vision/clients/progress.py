"""What a client that runs for long says: lines, and how far it is, on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from pyspark_vision.sinks import terminal

# A terminal's line is written anew; a log gets a line now and then.
_TERMINAL_S, _LOG_S = 1.0, 30.0


class Progress:
    """``summary`` gives the line's text. Lines from any thread; the progress line from one."""

    def __init__(self, command: str, summary: Callable[[], str]) -> None:
        self._command, self._summary = command, summary
        self._lock = threading.Lock()
        self._on_terminal = sys.stderr.isatty()
        self._every_s = _TERMINAL_S if self._on_terminal else _LOG_S
        self._next = time.monotonic() + self._every_s
        self._shown = 0  # characters of the progress line that stands there

    def say(self, text: str) -> None:
        """One line, whole, above the progress line."""
        with self._lock:
            self._wipe()
            terminal.say(f"{self._command}: {' '.join(text.split())}", sys.stderr)

    def tick(self) -> None:
        """Show how far it is, if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every_s
        if not self._on_terminal:
            self.say(self._summary())
            return
        with self._lock:
            text = f"{self._command}: {self._summary()}"
            sys.stderr.write(f"\r{text:<{self._shown}}")
            sys.stderr.flush()
            self._shown = len(text)

    def end(self) -> None:
        """Take the progress line away."""
        with self._lock:
            self._wipe()

    def _wipe(self) -> None:
        if self._shown:
            sys.stderr.write(f"\r{'':<{self._shown}}\r")
            sys.stderr.flush()
            self._shown = 0
