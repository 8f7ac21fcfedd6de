"""The moments at which pictures are sent, by a monotonic clock: a rate does not drift.

A picture that is late is left out, or all later ones are put off; none are sent in a burst to make
up for lost time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

from pyspark_vision.clients.capture.source import Shot

# What a busy machine is late by now and then. At ten pictures a second and more the next one is due
# within it.
LATE_S = 0.1


def on_time(
    shots: Iterable[Shot],
    stop: threading.Event,
    *,
    rate: float | None,
    duration_s: float | None,
    puts_off: bool,
) -> Iterator[tuple[Shot, bool]]:
    """Each shot at its moment, and whether it is too late for it.

    Of a live source, ``rate`` shots a second are taken, and the others are never seen. With
    ``puts_off`` no shot is late: those that come after it are put off. Ends when ``stop`` is set,
    and with ``duration_s``: by the source's clock, or the wall's for a live one.
    """
    start = time.monotonic()
    taken = 0  # moments of the rate that have passed
    for shot in shots:
        now = time.monotonic()
        if shot.due_s is None:
            if stop.is_set() or (duration_s is not None and now - start >= duration_s):
                return
            if rate is not None:
                # A picture half a period early is nearer to its moment than the next one may be.
                if now < start + (taken - 0.5) / rate:
                    continue
                taken = max(taken + 1, int((now - start) * rate + 0.5))
            yield shot, False
            continue
        if duration_s is not None and shot.due_s >= duration_s:
            return
        late_s = now - (start + shot.due_s)
        if stop.wait(max(0.0, -late_s)):
            return
        is_late = late_s > max(LATE_S, 1 / rate if rate else 0.0)
        if is_late and puts_off:
            start += late_s
        yield shot, is_late and not puts_off
