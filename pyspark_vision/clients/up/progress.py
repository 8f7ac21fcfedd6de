"""The lines that a person reads while all of it starts, runs and ends."""

from __future__ import annotations

import sys
import time

from pyspark_vision.sinks import terminal


class Progress:
    """Lines with the seconds since the command; they go nowhere once the terminal is closed."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Since the command."""
        return time.monotonic() - self._began

    def stage(self, text: str) -> None:
        """``==  8.4 s  text``."""
        self.say(f"== {self.elapsed_s:5.1f} s  {text}")

    def say(self, text: str) -> None:
        """A line as it is."""
        terminal.say(text, sys.stderr)
