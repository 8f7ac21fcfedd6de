"""The latency benchmark's arithmetic: ages, growth, rates, backlogs, cores, what is said of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.latency_streams import ages
from benchmarks.latency_streams.children import Child
from benchmarks.latency_streams.report import Figure, figures_of, lost_frames, summary


def stream(p95_s: float, **changes: float) -> dict[str, Any]:
    """A part as a fixed rate gives it."""
    usual = {
        "p50_s": 0.1,
        "p95_s": p95_s,
        "p99_s": 0.3,
        "max_s": 0.4,
        "first_third_p95_s": 0.2,
        "last_third_p95_s": 0.2,
        "sent": 100,
        "received": 100,
        "repeats": 0,
    }
    return {**usual, **changes}


def test_age_counts_from_when_a_frame_was_due() -> None:
    # Two frames a second from 100 on: number 4 was due at 102, number 5 at 102.5.
    found = ages.frame_ages(range(4, 6), 2.0, 100.0, {4: 102.25, 5: 103.5}, until=200.0)

    assert found == [0.25, 1.0]


def test_a_frame_without_a_result_has_waited_all_the_while() -> None:
    assert ages.frame_ages(range(2), 1.0, 10.0, {0: 10.5}, until=31.0) == [0.5, 20.0]


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.2, 1.0), (0.5, 3.0), (0.95, 5.0), (1.0, 5.0)]
)
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert ages.quantile([5.0, 3.0, 1.0, 2.0, 4.0], share) == value


def test_thirds_are_those_of_the_time_and_not_of_the_ages() -> None:
    found = ages.summary([1.0] * 10 + [9.0] * 10 + [2.0] * 10)

    assert (found["first_third_p95_s"], found["last_third_p95_s"]) == (1.0, 2.0)
    assert (found["p50_s"], found["p95_s"], found["max_s"]) == (2.0, 9.0, 9.0)


def test_growth_is_that_of_the_later_half() -> None:
    settling = [number / 10 for number in range(100)]
    growing = [10 + 0.05 * number / 10 for number in range(100)]

    assert ages.slope(settling + [10.0] * 100, rate=10.0) == pytest.approx(0.0)
    assert ages.slope(settling + growing, rate=10.0) == pytest.approx(0.05)


def ages_of_batches(rate: float, *, seconds: int, fixed_s: float, row_s: float) -> list[float]:
    """Of frames of a stream whose batches follow each other: ``fixed_s + rows * row_s`` each."""
    found: list[float] = []
    clock = 1.0
    while clock < seconds:
        waiting = range(len(found), int(clock * rate))
        clock += fixed_s + len(waiting) * row_s
        found += [clock - number / rate for number in waiting]
    return found


@pytest.mark.parametrize(
    ("load", "seconds", "seems_bounded"),
    [(0.8, 60, True), (0.92, 60, False), (0.92, 240, True), (1.02, 240, False)],
)
def test_a_rate_near_what_a_stream_can_do_needs_minutes_to_show_that_it_is_bounded(
    load: float, seconds: int, seems_bounded: bool
) -> None:
    rate = load * 50
    found = ages_of_batches(rate, seconds=seconds, fixed_s=0.6, row_s=1 / 50)

    assert (ages.slope(found, rate) <= ages.BOUNDED_SLOPE) == seems_bounded


@pytest.mark.parametrize(
    ("steps", "share"),
    [
        ([(0.7, 0.0), (0.8, ages.BOUNDED_SLOPE), (0.9, 0.05)], 0.8),
        ([(0.7, 0.0), (0.8, 0.05), (0.9, 0.0)], 0.7),
        ([(0.7, 0.05)], 0.0),
        ([(0.7, -0.01), (0.8, 0.0)], 0.8),
        ([(0.8, 0.0), (0.75, 0.0), (0.9, 0.05)], 0.8),  # the machine became faster
    ],
)
def test_the_highest_bounded_rate_is_the_one_before_age_grew(
    steps: list[tuple[float, float]], share: float
) -> None:
    assert ages.highest_bounded(steps) == share


@pytest.mark.parametrize(
    ("growing", "apart", "share"),
    [
        (0.0, False, 0.8),  # 0.6 took three quarters of the two cores
        (0.0, True, 0.6),  # its own core, a half of the two, was busy
        (0.5, False, 0.4),  # half of what was sent was done
        (-0.25, True, 0.75),  # and a quarter more
    ],
)
def test_a_share_at_full_cores_counts_what_was_done_and_the_cores_that_the_stream_may_use(
    growing: float, apart: bool, share: float
) -> None:
    assert ages.at_full_cores(0.6, growing, 0.5, 0.25, apart=apart) == pytest.approx(share)


def test_catching_up_is_counted_from_the_end_of_the_first_batch() -> None:
    # In any order; a first batch of three that took long, then four in two seconds.
    assert ages.catch_up_rate([32.0, 30.0, 30.0, 30.0, 31.0, 31.0, 32.0], 3) == 2.0


def test_batches_are_read_from_the_log_among_other_lines() -> None:
    log = (
        "26/11/21 WARN Something: {not json}\n"
        '2026-11-21 20:00:00 INFO pyspark_vision.streaming: {"batch_id": 0, "rows": 3}\n'
        '2026-11-21 20:00:01 INFO pyspark_vision.streaming: {"batch_id": 1, "rows": 0}\n'
        '2026-11-21 20:00:02 WARNING pyspark_vision.streaming: {"batch_id": 1, "dropped": {}}\n'
        '2026-11-21 20:00:03 INFO pyspark_vision.streaming: {"batch_id": 2, "rows": 5}\n'
    )

    assert [report["rows"] for report in ages.batch_reports(log)] == [3, 5]


@pytest.mark.parametrize(
    ("figure", "met", "wanted"),
    [
        (Figure(2.0, 2.0, at_most=True), True, "at most 2"),
        (Figure(2.1, 2.0, at_most=True), False, "at most 2"),
        (Figure(0.85, 0.85), True, "at least 0.85"),
        (Figure(0.84, 0.85), False, "at least 0.85"),
        (Figure(7.0), None, ""),
    ],
)
def test_a_target_is_a_floor_or_a_ceiling(figure: Figure, met: bool | None, wanted: str) -> None:
    assert (figure.met, figure.wanted) == (met, wanted)
    assert figure.as_json() == {"value": figure.value, "target": wanted, "met": met}


def test_a_full_run_has_all_figures() -> None:
    found = {
        "floor": stream(0.5),
        "source": stream(0.25),
        "ours": stream(0.75, first_third_p95_s=0.5, last_third_p95_s=0.75),
        "seeds": stream(75.0, received=40),
        "rate": {"highest_bounded_share": 0.8, "at_full_cores": 0.83},
        "backlog": {"share": 0.9, "largest_batch": 1000},
    }

    figures = figures_of(found)

    assert {name: (figure.value, figure.met) for name, figure in figures.items()} == {
        "ours:p95_s": (0.75, True),
        "ours/floor:p95": (1.5, True),
        "ours/source:p95": (3.0, None),
        "seeds/ours:p95": (100.0, None),
        "last/first_third:p95": (1.5, False),
        "bounded/batch:rate": (0.8, False),
        "at_full_cores/batch:rate": (0.83, None),
        "backlog/batch:rate": (0.9, True),
        "backlog:largest_batch": (1000, True),
    }


def test_parts_that_were_not_run_have_no_figures() -> None:
    assert figures_of({"floor": stream(0.5)}) == {}
    rate = {"highest_bounded_share": 0.9, "at_full_cores": 0.95}
    assert list(figures_of({"floor": stream(0.5), "rate": rate})) == [
        "bounded/batch:rate",
        "at_full_cores/batch:rate",
    ]


def test_processor_time_of_a_worker_that_has_ended_still_counts(tmp_path: Path) -> None:
    # As Spark's daemon: it ignores that a worker of its own has ended.
    daemon = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
worker = os.fork()
if worker == 0:
    while time.process_time() < 0.5:
        pass
    print("worked", flush=True)
    os.read(0, 1)
    os._exit(0)
while os.path.exists(f"/proc/{worker}"):
    time.sleep(0.01)
print("ended", flush=True)
os.read(0, 1)
"""
    with subprocess.Popen(
        [sys.executable, "-c", daemon],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        child = Child("daemon", process, tmp_path / "log")
        assert process.stdout.readline() == "worked\n"
        before = child.cpu_s()
        process.stdin.write("!")
        process.stdin.flush()
        assert process.stdout.readline() == "ended\n"

        assert 0.45 < before <= child.cpu_s() < 5

        process.communicate("!")


def test_only_the_seeds_may_leave_frames_without_a_result() -> None:
    assert lost_frames("ours", stream(0.5, received=97)) == 3
    assert lost_frames("floor", stream(0.5)) == 0
    assert lost_frames("seeds", stream(0.5, received=40)) == 0
    assert lost_frames("backlog", {"share": 0.9}) == 0


def test_the_summary_names_streams_and_what_was_missed() -> None:
    found = {"floor": stream(0.25), "ours": stream(0.75)}

    lines = summary(found, figures_of(found)).splitlines()

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    assert rows[2] == ["floor", "0.10", "0.25", "0.30", "0.40", "0.20", "0.20", "100", "100", "0"]
    assert ["`ours/floor:p95`", "3.00", "at most 2", "**no**"] in rows
    assert summary({}, {}) == ""
