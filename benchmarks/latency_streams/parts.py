"""The parts of the benchmark: a fixed rate, rising rates, a backlog; each gives plain numbers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from local_services import proc

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
from benchmarks.one_core import JOB_CORE, SERVICE_CORE, children_on_core
from benchmarks.race import WARM_UP_ROUNDS, Entry, started
from benchmarks.races import job_of

# Of the batch rate, one after the other until age grows.
SHARES = (0.7, 0.8, 0.85, 0.9)

_WARM_UP_SHARE = 0.5
_WAKE_FRAMES = 2 * CORES
_WAKE_TIMEOUT_S = 180.0
# What a stream may take for the frames that lie there when the last one is sent.
DRAIN_S = 60.0
_LOOK_S = 0.2
_MEMORY_EVERY_S = 5.0
_BATCH_ROUNDS = 2


@dataclass(frozen=True)
class Sizes:
    """Seconds, frames and rates of a run; ``images``: of a round that measures the batch rate."""

    seconds: float
    rate: float
    warm_up_s: float
    step_s: float
    backlog: int
    images: int

    @property
    def rate_warm_up_s(self) -> float:
        """Before the first rate: the long run is asked for, and a JVM compiles for minutes."""
        return max(self.warm_up_s, self.step_s)


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


def rising_rates(sizes: Sizes, *, apart: bool) -> dict[str, Any]:
    """Steps at rising shares of the batch rate, until age grows within one.

    ``apart``: the batch and the stream have one core, the broker and its clients another.
    """
    steps: list[dict[str, float]] = []
    with (
        children_on_core(SERVICE_CORE) if apart else nullcontext(),
        _batch(sizes.images, apart=apart) as batch_rate,
        _stream_at_work(OURS, apart=apart) as (place, arrivals, stream),
    ):
        before = batch_rate(stream)
        _step(place, arrivals, stream, "warm", _WARM_UP_SHARE * before, sizes.rate_warm_up_s)
        before = batch_rate(stream)
        for planned in SHARES:
            rate = planned * before
            found = _step(place, arrivals, stream, f"share{planned}", rate, sizes.step_s)
            # The machine may have become faster or slower meanwhile.
            after = batch_rate(stream)
            share = rate / statistics.mean((before, after))
            before = after
            at_full_cores = ages.at_full_cores(
                share,
                found["slope"],
                found["stream_cores"],
                found["other_cores"],
                apart=apart,
            )
            steps.append({"share": share, "rate": rate, "at_full_cores": at_full_cores, **found})
            print(
                f"  {share:.2f} of the batch rate, {rate:.0f} frames/s: "
                f"p95 {found['p95_s']:.2f} s, age grows by {found['slope']:+.4f} s/s; "
                f"of the cores {found['stream_cores']:.0%} are the stream's and "
                f"{found['other_cores']:.0%} the broker's and its clients'; with nothing idle "
                f"that would be {at_full_cores:.2f} of the batch rate",
                flush=True,
            )
            if found["slope"] > ages.BOUNDED_SLOPE:
                break
    shares = [(step["share"], step["slope"]) for step in steps]
    return {
        "steps": steps,
        "highest_bounded_share": ages.highest_bounded(shares),
        "at_full_cores": max(step["at_full_cores"] for step in steps),
    }


def backlog(sizes: Sizes) -> dict[str, Any]:
    """Frames that came while the job was down, taken by a job that starts."""
    with (
        _batch(sizes.images) as batch_rate,
        fresh_place() as place,
        arriving(place) as arrivals,
    ):
        with sending(place, "missed", sizes.backlog) as sender:
            sender.report()
        before = batch_rate(None)
        with streaming(OURS, place) as stream:
            patience_s = _WAKE_TIMEOUT_S + 10 * sizes.backlog / before
            _need(arrivals, stream, "missed", sizes.backlog, patience_s)
            log = stream.log.read_text(errors="replace")
            # The machine may have become faster or slower meanwhile.
            batch = statistics.mean((before, batch_rate(stream)))
        times = list(arrivals.of("missed").values())
    batches = ages.batch_reports(log)
    rate = ages.catch_up_rate(times, batches[0]["rows"])
    return {
        "batch_rate": batch,
        "frames": sizes.backlog,
        "rate": rate,
        "share": rate / batch,
        "last_half_share": _last_half_rate(times) / batch,
        "batches": len(batches),
        "largest_batch": max(one["rows"] for one in batches),
        "longest_batch_s": max(one["took_s"] for one in batches),
        "repeats": arrivals.repeats("missed"),
    }


@contextmanager
def _batch(images: int, *, apart: bool = False) -> Iterator[Callable[[Child | None], float]]:
    """Measures images per second of ``classify_image`` over Parquet, as `make bench` does ours.

    Its process stays, warm and idle; a stream that is there is paused while it works.
    """
    job = job_of(images, cores=1 if apart else CORES)
    entry = Entry("contenders.ours", job, images, pinned_to=JOB_CORE if apart else None)
    with started("latency-batch", entry) as process:
        process.answer()  # it is ready

        def rate() -> float:
            found = process.run()
            return float(found["images"] / found["seconds"])

        def measure(stream: Child | None) -> float:
            with stream.paused() if stream else nullcontext():
                rate()  # Spark has let workers go that were idle for a minute
                found = statistics.median(rate() for _ in range(_BATCH_ROUNDS))
            print(f"  batch: {found:.1f} images/s", flush=True)
            return found

        for _ in range(WARM_UP_ROUNDS - 1):  # each measurement begins with one more
            rate()
        yield measure


def _step(
    place: Place, arrivals: Arrivals, stream: Child, run: str, rate: float, seconds: float
) -> dict[str, float]:
    frames = round(rate * seconds)
    stream_s, machine_s, began = stream.cpu_s(), proc.machine_cpu_s(), time.monotonic()
    with sending(place, run, frames, rate) as sender:
        _until_sent(sender, arrivals, stream)
        stream_s, machine_s = stream.cpu_s() - stream_s, proc.machine_cpu_s() - machine_s
        cores_s = CORES * (time.monotonic() - began)
        _need(arrivals, stream, run, frames, DRAIN_S + seconds)
        latest_s = sender.report()["latest_s"]
    found = ages.frame_ages(range(frames), rate, sender.started, arrivals.of(run), 0.0)
    return {
        **ages.summary(found),
        "slope": ages.slope(found, rate),
        "sent": frames,
        "sent_late_at_most_s": latest_s,
        "stream_cores": stream_s / cores_s,
        "other_cores": (machine_s - stream_s) / cores_s,
    }


@contextmanager
def _stream_at_work(name: str, *, apart: bool = False) -> Iterator[tuple[Place, Arrivals, Child]]:
    """A stream that has begun to give results."""
    with fresh_place() as place, arriving(place) as arrivals, ExitStack() as stack:
        with children_on_core(JOB_CORE) if apart else nullcontext():
            stream = stack.enter_context(streaming(name, place, 1 if apart else CORES))
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
