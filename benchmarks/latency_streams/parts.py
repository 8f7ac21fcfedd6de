"""The parts of the benchmark: a fixed rate, rising rates, a backlog; each gives plain numbers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.latency_streams import ages
from benchmarks.latency_streams.children import Child
from benchmarks.latency_streams.clients import (
    Arrivals,
    Place,
    Sender,
    arriving,
    fresh_place,
    sending,
)
from benchmarks.latency_streams.names import CORES, OURS
from benchmarks.latency_streams.streams import streaming
from benchmarks.race import Entry, race
from benchmarks.races import job_of

# Of the batch rate, one after the other until age grows.
SHARES = (0.7, 0.8, 0.85, 0.9, 0.95)

_WARM_UP_SHARE = 0.5
_WAKE_FRAMES = 2 * CORES
_WAKE_TIMEOUT_S = 180.0
# What a stream may take for the frames that lie there when the last one is sent.
DRAIN_S = 60.0
_LOOK_S = 0.2
_MEMORY_EVERY_S = 5.0
_BATCH_ROUNDS = 3


@dataclass(frozen=True)
class Sizes:
    """Seconds, frames and rates of a run; ``images``: of a round that measures the batch rate."""

    seconds: float
    rate: float
    warm_up_s: float
    step_s: float
    backlog: int
    images: int


def fixed_rate(name: str, sizes: Sizes) -> dict[str, Any]:
    """Ages of one stream's results at ``sizes.rate``, after a warm-up at the same rate."""
    warm_up = round(sizes.warm_up_s * sizes.rate)
    frames = warm_up + round(sizes.seconds * sizes.rate)
    memory: list[dict[str, float]] = []
    with _stream_at_work(name) as (place, arrivals, stream):
        with sending(place, "timed", frames, sizes.rate) as sender:
            while not sender.is_done():
                _look(arrivals, stream)
                elapsed = time.monotonic() - sender.started
                if elapsed - sizes.warm_up_s > len(memory) * _MEMORY_EVERY_S:
                    memory.append(stream.resident_mb())
            _wait(arrivals, stream, "timed", frames, DRAIN_S)
            latest_s = sender.report()["latest_s"]
        seen, until = arrivals.of("timed"), time.monotonic()
        repeats = arrivals.repeats("timed")
    counted = range(warm_up, frames)
    found = ages.frame_ages(counted, sizes.rate, sender.started, seen, until)
    return {
        **ages.summary(found),
        "sent": len(counted),
        "received": sum(number in seen for number in counted),
        "repeats": repeats,
        "sent_late_at_most_s": latest_s,
        "resident_mb": {"start": memory[0], "end": memory[-1]},
    }


def rising_rates(sizes: Sizes) -> dict[str, Any]:
    """Steps at rising shares of the batch rate, until age grows within one."""
    batch_rate = measure_batch_rate(sizes.images)
    steps: list[dict[str, float]] = []
    with _stream_at_work(OURS) as (place, arrivals, stream):
        warm_up_rate = _WARM_UP_SHARE * batch_rate
        _step(place, arrivals, stream, "warm", warm_up_rate, sizes.warm_up_s)
        for share in SHARES:
            rate = share * batch_rate
            run = f"share{share}"
            found = _step(place, arrivals, stream, run, rate, sizes.step_s)
            steps.append({"share": share, "rate": rate, **found})
            print(
                f"  {share:.2f} of the batch rate, {rate:.0f} frames/s: "
                f"p95 {found['p95_s']:.2f} s, age grows by {found['slope']:+.4f} s/s",
                flush=True,
            )
            if found["slope"] > ages.BOUNDED_SLOPE:
                break
    # The machine may have become faster or slower meanwhile.
    batch_rate = statistics.mean((batch_rate, measure_batch_rate(sizes.images)))
    shares = [(step["rate"] / batch_rate, step["slope"]) for step in steps]
    return {
        "batch_rate": batch_rate,
        "steps": steps,
        "highest_bounded_share": ages.highest_bounded(shares),
    }


def backlog(sizes: Sizes) -> dict[str, Any]:
    """Frames that came while the job was down, taken by a job that starts."""
    batch_rate = measure_batch_rate(sizes.images)
    with fresh_place() as place, arriving(place) as arrivals:
        with sending(place, "missed", sizes.backlog) as sender:
            sender.report()
        with streaming(OURS, place) as stream:
            patience_s = _WAKE_TIMEOUT_S + 10 * sizes.backlog / batch_rate
            _need(arrivals, stream, "missed", sizes.backlog, patience_s)
            log = stream.log.read_text(errors="replace")
        times = list(arrivals.of("missed").values())
    batch_rate = statistics.mean((batch_rate, measure_batch_rate(sizes.images)))
    batches = ages.batch_reports(log)
    rate = ages.catch_up_rate(times, batches[0]["rows"])
    return {
        "batch_rate": batch_rate,
        "frames": sizes.backlog,
        "rate": rate,
        "share": rate / batch_rate,
        "last_half_share": _last_half_rate(times) / batch_rate,
        "batches": len(batches),
        "largest_batch": max(one["rows"] for one in batches),
        "longest_batch_s": max(one["took_s"] for one in batches),
        "repeats": arrivals.repeats("missed"),
    }


def measure_batch_rate(images: int) -> float:
    """Images per second of ``classify_image`` over Parquet, as `make bench` measures ours.

    Asked before and after a part; the mean of the two is what the part is held against.
    """
    entry = Entry("contenders.ours", job_of(images, cores=CORES), images)
    return statistics.median(
        race("latency-batch", {"ours": entry}, _BATCH_ROUNDS).images_per_s["ours"]
    )


def _step(
    place: Place, arrivals: Arrivals, stream: Child, run: str, rate: float, seconds: float
) -> dict[str, float]:
    frames = round(rate * seconds)
    with sending(place, run, frames, rate) as sender:
        _until_sent(sender, arrivals, stream)
        _need(arrivals, stream, run, frames, DRAIN_S + seconds)
        latest_s = sender.report()["latest_s"]
    found = ages.frame_ages(range(frames), rate, sender.started, arrivals.of(run), 0.0)
    return {
        **ages.summary(found),
        "slope": ages.slope(found, rate),
        "sent": frames,
        "sent_late_at_most_s": latest_s,
    }


@contextmanager
def _stream_at_work(name: str) -> Iterator[tuple[Place, Arrivals, Child]]:
    """A stream that has begun to give results."""
    with fresh_place() as place, arriving(place) as arrivals, streaming(name, place) as stream:
        with sending(place, "wake", _WAKE_FRAMES) as sender:
            sender.report()
        _need(arrivals, stream, "wake", _WAKE_FRAMES, _WAKE_TIMEOUT_S)
        yield place, arrivals, stream


def _until_sent(sender: Sender, arrivals: Arrivals, stream: Child) -> None:
    while not sender.is_done():
        _look(arrivals, stream)


def _look(arrivals: Arrivals, stream: Child) -> None:
    """One turn of waiting, which ends where the stream or a frame has failed."""
    stream.check()
    if arrivals.failure is not None:
        raise stream.failure(arrivals.failure)
    time.sleep(_LOOK_S)


def _wait(arrivals: Arrivals, stream: Child, run: str, frames: int, timeout_s: float) -> bool:
    """Whether all frames of a run had results in time."""
    deadline = time.monotonic() + timeout_s
    while arrivals.count(run) < frames and time.monotonic() < deadline:
        _look(arrivals, stream)
    return arrivals.count(run) == frames


def _need(arrivals: Arrivals, stream: Child, run: str, frames: int, timeout_s: float) -> None:
    if not _wait(arrivals, stream, run, frames, timeout_s):
        seen = arrivals.count(run)
        raise stream.failure(f"gave {seen} of {frames} results ({run}) in {timeout_s:.0f} s")


def _last_half_rate(times: Sequence[float]) -> float:
    """Frames per second of the later half: the JVM has compiled by then what it runs often."""
    return ages.catch_up_rate(times, len(times) // 2)
