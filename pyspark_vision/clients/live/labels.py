"""How often each label was found in the last minutes."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable

WINDOW_S = 300.0
_BUCKET_S = 10.0
# Labels are what messages say: there may be a new one in each.
_MOST_LABELS = 200
OTHERS = "other labels"


class LabelTotals:
    """Counts by label in buckets of ten seconds. One thread adds, others look.

    >>> totals = LabelTotals()
    >>> totals.add(["car", "cat", "car"], 100.0)
    >>> totals.totals(100.0), totals.totals(500.0)
    ({'car': 2, 'cat': 1}, {})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: deque[tuple[float, Counter[str]]] = deque()

    def add(self, labels: Iterable[str], at: float) -> None:
        """``at``: seconds since 1970, when they came."""
        begins = at - at % _BUCKET_S
        with self._lock:
            if not self._buckets or self._buckets[-1][0] < begins:
                self._buckets.append((begins, Counter()))
                self._drop_old(at)
            counted = self._buckets[-1][1]
            for label in labels:
                is_room = label in counted or len(counted) < _MOST_LABELS
                counted[label if is_room else OTHERS] += 1

    def totals(self, now: float) -> dict[str, int]:
        """By label, most first, over the last five minutes."""
        with self._lock:
            self._drop_old(now)
            total: Counter[str] = Counter()
            for _, counted in self._buckets:
                total.update(counted)
        return dict(total.most_common())

    def _drop_old(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] <= now - WINDOW_S - _BUCKET_S:
            self._buckets.popleft()
