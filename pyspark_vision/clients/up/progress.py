"""The lines that a person reads while all of it starts, runs and ends."""

from __future__ import annotations

import os
import sys
import time


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
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:  # a closed terminal (EIO); closed pipes are the command line's affair
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            os.close(nowhere)
