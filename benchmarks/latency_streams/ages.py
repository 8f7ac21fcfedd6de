"""Figures of a stream: ages of its results, whether they grow, how fast a backlog goes. No I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import fit_line
from benchmarks.latency_streams.names import CORES

# A stream that takes 98% of what comes in falls behind by 0.02 s in each second.
BOUNDED_SLOPE = 0.02


def frame_ages(
    frames: range, rate: float, started: float, arrivals: Mapping[int, float], until: float
) -> list[float]:
    """Seconds from when each frame was due (``started + number / rate``) to its first result.

    A frame without a result has waited ``until`` then, at least.

    >>> frame_ages(range(1, 3), 2.0, 10.0, {1: 10.75}, until=20.0)
    [0.25, 9.0]
    """
    return [arrivals.get(number, until) - (started + number / rate) for number in frames]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.75)
    3.0
    """
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def summary(ages: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max; p95 of the first and of the last third of the time; all in seconds."""
    third = len(ages) // 3
    return {
        "p50_s": quantile(ages, 0.5),
        "p95_s": quantile(ages, 0.95),
        "p99_s": quantile(ages, 0.99),
        "max_s": max(ages),
        "first_third_p95_s": quantile(ages[:third], 0.95),
        "last_third_p95_s": quantile(ages[-third:], 0.95),
    }


def slope(ages: Sequence[float], rate: float) -> float:
    """Seconds by which age grows in a second, over the later half of the frames.

    The earlier half is left out: after a change of rate, batches need some rounds to find the size
    at which they stay. Near what the stream can do these are many: at 0.9 of that each batch comes
    nearer by a tenth of what is left, and batches of some seconds take minutes in all. Where the
    frames are of less time than that, a rate that would stay bounded seems to grow.
    """
    later = ages[len(ages) // 2 :]
    return fit_line([number / rate for number in range(len(later))], later).slope


def highest_bounded(shares_and_slopes: Sequence[tuple[float, float]]) -> float:
    """The highest share of the batch rate before the first at which age grew; 0 if it always did.

    >>> highest_bounded([(0.7, 0.001), (0.8, -0.004), (0.9, 0.04)])
    0.8
    """
    found = 0.0
    for share, growing in shares_and_slopes:
        if growing > BOUNDED_SLOPE:
            break
        found = max(found, share)
    return found


def at_full_cores(
    share: float, growing: float, stream_cores: float, other_cores: float, *, apart: bool
) -> float:
    """The share of the batch rate at which no core would be idle, if a frame cost what it did.

    ``share`` was sent; where age was ``growing`` (seconds in a second), so much less was done.
    ``stream_cores`` and ``other_cores`` are of all cores; ``apart``: the stream has one for itself.

    >>> at_full_cores(0.5, 0.25, stream_cores=0.5, other_cores=0.25, apart=False)
    0.5
    """
    done = share * (1 - growing)
    if apart:
        return done / CORES / stream_cores
    return done / (stream_cores + other_cores)


def catch_up_rate(arrivals: Sequence[float], first_batch: int) -> float:
    """Frames per second from the first batch's last result until the last of all.

    >>> catch_up_rate([5.0, 5.0, 6.0, 6.0, 7.0, 7.0], first_batch=2)
    2.0
    """
    times = sorted(arrivals)
    return (len(times) - first_batch) / (times[-1] - times[first_batch - 1])


def batch_reports(log: str) -> list[dict[str, Any]]:
    """The JSON lines that a job has logged, one for each batch that had rows."""
    found = []
    for line in log.splitlines():
        _, brace, rest = line.partition('{"batch_id"')
        if brace:
            report = json.loads(brace + rest)
            if report.get("rows"):
                found.append(report)
    return found
