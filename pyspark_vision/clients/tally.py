"""How many pictures came, and what became of each: the sums always agree."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from pyspark_vision.errors import by_reason


class Tally:
    """Of one camera or one target. ``captured`` = sent + dropped + failed + under way.

    ``dropped``: left out on purpose, by reason; ``failed``: not delivered, or not known to be.
    Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.captured = 0
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def capture(self) -> None:
        """One more has come; exactly one of the others follows."""
        with self._lock:
            self.captured += 1

    def send(self) -> None:
        """It is where it belongs: the broker has confirmed it."""
        with self._lock:
            self.sent += 1

    def drop(self, reason: str) -> None:
        """It was left out."""
        with self._lock:
            self.dropped[reason] += 1

    def fail(self, reason: str) -> None:
        """It did not arrive."""
        with self._lock:
            self.failed[reason] += 1

    @property
    def under_way(self) -> int:
        """What nothing has become of yet."""
        with self._lock:
            return self.captured - self.sent - self.dropped.total() - self.failed.total()

    def copy(self) -> Tally:
        """What is counted by now."""
        now = Tally()
        with self._lock:
            now.captured, now.sent = self.captured, self.sent
            now.dropped, now.failed = self.dropped.copy(), self.failed.copy()
        return now


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum, as of now."""
    whole = Tally()
    for tally in tallies:
        now = tally.copy()
        whole.captured += now.captured
        whole.sent += now.sent
        whole.dropped += now.dropped
        whole.failed += now.failed
    return whole


def counted(tally: Tally, what: str = "frames") -> str:
    """``frames 60, sent 57, dropped 2 (late 2), failed 1 (too_large 1)``"""
    return (
        f"{what} {tally.captured}, sent {tally.sent}, dropped {by_reason(tally.dropped)}, "
        f"failed {by_reason(tally.failed)}"
    )
