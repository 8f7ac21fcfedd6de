"""What the page asks of a summary: counts for the chosen cameras and events; nothing chosen is all.

Frames, failures and latencies are of cameras only: a frame may have many events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb

from pyspark_vision.clients.dashboard.summary import (
    BEFORE_SENT,
    EXAMPLES,
    LATENCY_STEP,
    QUARTER_US,
    SCORE_BINS,
    Summary,
)

MINUTE, HOUR, WEEKDAY = "minute", "hour", "weekday"
AXES = (MINUTE, WEEKDAY, HOUR)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
POSITIONS = {MINUTE: 60, HOUR: 24, WEEKDAY: 7}

# A line of more points is slow to draw, and its points cannot be told apart.
_MOST_BUCKETS = 3_000
# Wider buckets, in quarters: an hour, six, a day, a week, four, a year and more.
_WIDTHS = (1, 4, 24, 96, 672, 2_688, 35_040, 350_400)
# 1970 began on a Thursday.
_EPOCH_WEEKDAY = 3
_EPOCH = datetime(1970, 1, 1)
_QUARTERS_A_DAY = 96


@dataclass(frozen=True)
class Choice:
    """``cameras`` and ``events`` that are looked at; none: all of them."""

    cameras: tuple[str, ...] = ()
    events: tuple[str, ...] = ()

    def where(self, *, events: bool) -> str:
        """The condition in SQL, for :meth:`parameters`."""
        parts = ["TRUE"]
        if self.cameras:
            parts.append("list_contains($cameras, camera)")
        if events and self.events:
            parts.append("list_contains($events, label)")
        return " AND ".join(parts)

    def parameters(self, *, events: bool) -> dict[str, Any]:
        """The values of :meth:`where`."""
        given: dict[str, Any] = {}
        if self.cameras:
            given["cameras"] = list(self.cameras)
        if events and self.events:
            given["events"] = list(self.events)
        return given


@dataclass(frozen=True)
class Totals:
    """``timeless``: events whose time is missing or no time; frames are 0 of a list of events."""

    frames: int
    failed: int
    events: int
    timeless: int


@dataclass(frozen=True)
class OverTime:
    """Counts per bucket of ``minutes``; buckets without an event are not in ``counts``.

    ``counts``: (start of the bucket in local time, label, events), by time.
    """

    minutes: int
    counts: tuple[tuple[datetime, str, int], ...]


@dataclass(frozen=True)
class Latency:
    """Milliseconds, right to 1 %. ``before_sent``: frames that came before they were sent, by
    clocks that differ; they are in no percentile, which are null where no others are."""

    camera: str
    definition: str
    frames: int
    before_sent: int
    p50: float | None
    p95: float | None
    p99: float | None
    slowest: float | None


@dataclass(frozen=True)
class Example:
    """Where a picture of a label, or of a failure's code, may be found. ``at``: local time."""

    failed: bool
    label: str
    camera: str
    at: datetime | None
    origin: str
    file: str


@dataclass(frozen=True)
class Answers:
    """All that a page shows for one choice."""

    cameras: tuple[tuple[str, int], ...]
    labels: tuple[tuple[str, int], ...]
    totals: Totals
    events: tuple[tuple[str, int], ...]
    over_time: OverTime
    over_axis: tuple[tuple[int, str, int], ...]
    failures: tuple[tuple[str, int], ...]
    scores: tuple[tuple[int, str, int], ...]
    latencies: tuple[Latency, ...]


def answer(summary: Summary, choice: Choice, axis: str) -> Answers:
    """All of them, of one state of the summary."""
    with summary.reading() as cursor:
        return Answers(
            cameras(cursor),
            labels(cursor),
            totals(cursor, choice),
            events(cursor, choice),
            over_time(cursor, choice),
            over_axis(cursor, choice, axis),
            failures(cursor, choice),
            scores(cursor, choice),
            latencies(cursor, choice),
        )


def cameras(cursor: duckdb.DuckDBPyConnection) -> tuple[tuple[str, int], ...]:
    """All cameras, by name, each with its frames (its events, if there are only events)."""
    return _rows(
        cursor,
        "SELECT camera, sum(n) FROM (SELECT camera, n FROM frames UNION ALL SELECT camera, n FROM "
        "events WHERE NOT EXISTS (FROM frames)) GROUP BY ALL ORDER BY camera",
    )


def labels(cursor: duckdb.DuckDBPyConnection) -> tuple[tuple[str, int], ...]:
    """All events, whatever is chosen; the most frequent first."""
    return _rows(
        cursor, "SELECT label, sum(n) AS n FROM events GROUP BY ALL ORDER BY n DESC, label"
    )


def totals(cursor: duckdb.DuckDBPyConnection, choice: Choice) -> Totals:
    """How many there are."""
    of_frames = _rows(
        cursor,
        "SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (failed), 0) FROM frames "
        f"WHERE {choice.where(events=False)}",
        choice.parameters(events=False),
    )
    of_events = _rows(
        cursor,
        "SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (quarter IS NULL), 0) FROM events "
        f"WHERE {choice.where(events=True)}",
        choice.parameters(events=True),
    )
    return Totals(*of_frames[0], *of_events[0])


def events(cursor: duckdb.DuckDBPyConnection, choice: Choice) -> tuple[tuple[str, int], ...]:
    """Events by label, the most frequent first."""
    return _rows(
        cursor,
        f"SELECT label, sum(n) AS n FROM events WHERE {choice.where(events=True)} "
        "GROUP BY ALL ORDER BY n DESC, label",
        choice.parameters(events=True),
    )


def over_time(cursor: duckdb.DuckDBPyConnection, choice: Choice) -> OverTime:
    """Events by 15 minutes; by more where there would be too many points."""
    chosen = f"FROM events WHERE quarter IS NOT NULL AND {choice.where(events=True)}"
    given = choice.parameters(events=True)
    [(first, last)] = _rows(cursor, f"SELECT min(quarter), max(quarter) {chosen}", given)
    if first is None:
        return OverTime(15, ())
    buckets = last - first + 1
    width = next((w for w in _WIDTHS if buckets / w <= _MOST_BUCKETS), _WIDTHS[-1])
    counts = _rows(
        cursor,
        f"SELECT quarter // {width} * {width} AS start, label, sum(n) {chosen} "
        "GROUP BY ALL ORDER BY start, label",
        given,
    )
    return OverTime(width * 15, tuple((_local(q), label, n) for q, label, n in counts))


def over_axis(
    cursor: duckdb.DuckDBPyConnection, choice: Choice, axis: str
) -> tuple[tuple[int, str, int], ...]:
    """(position, label, events): minute of the hour, hour of the day, or weekday from Monday."""
    table, position = {
        MINUTE: ("minutes", "minute"),
        HOUR: ("events", "quarter // 4 % 24"),
        WEEKDAY: ("events", f"(quarter // {_QUARTERS_A_DAY} + {_EPOCH_WEEKDAY}) % 7"),
    }[axis]
    return _rows(
        cursor,
        f"SELECT {position} AS place, label, sum(n) FROM {table} "
        f"WHERE {choice.where(events=True)} AND place IS NOT NULL "
        "GROUP BY ALL ORDER BY place, label",
        choice.parameters(events=True),
    )


def failures(cursor: duckdb.DuckDBPyConnection, choice: Choice) -> tuple[tuple[str, int], ...]:
    """Failed frames by code, the most frequent first."""
    return _rows(
        cursor,
        f"SELECT code, sum(n) AS n FROM failures WHERE {choice.where(events=False)} "
        "GROUP BY ALL ORDER BY n DESC, code",
        choice.parameters(events=False),
    )


def scores(cursor: duckdb.DuckDBPyConnection, choice: Choice) -> tuple[tuple[int, str, int], ...]:
    """(hundredth that a score begins with, label, events)."""
    return _rows(
        cursor,
        f"SELECT bin * {100 // SCORE_BINS} AS low, label, sum(n) FROM scores "
        f"WHERE {choice.where(events=True)} GROUP BY ALL ORDER BY low, label",
        choice.parameters(events=True),
    )


def latencies(cursor: duckdb.DuckDBPyConnection, choice: Choice) -> tuple[Latency, ...]:
    """Percentiles for each camera and definition."""
    rows = _rows(
        cursor,
        f"SELECT definition, camera, bin, sum(n) FROM latencies WHERE {choice.where(events=False)} "
        "GROUP BY ALL ORDER BY ALL",
        choice.parameters(events=False),
    )
    by_camera: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for definition, camera, step, n in rows:
        by_camera.setdefault((definition, camera), []).append((step, n))
    return tuple(_latency(*key, counts) for key, counts in by_camera.items())


def examples(
    summary: Summary, choice: Choice, names: Sequence[str], *, failed: bool
) -> list[Example]:
    """The newest rows of each of these labels, or codes, in their order."""
    if not names:
        return []
    condition = choice.where(events=False)
    with summary.reading() as cursor:
        rows = _rows(
            cursor,
            "SELECT failed, label, camera, us, origin, file FROM examples "
            f"WHERE failed = $failed AND list_contains($names, label) AND {condition} "
            f"QUALIFY row_number() OVER (PARTITION BY label ORDER BY us DESC NULLS LAST, origin) "
            f"<= {EXAMPLES} ORDER BY list_position($names, label), us DESC NULLS LAST, origin",
            {"failed": failed, "names": list(names), **choice.parameters(events=False)},
        )
    return [
        Example(of_failure, label, camera, _at(us), origin, file)
        for of_failure, label, camera, us, origin, file in rows
    ]


def _latency(definition: str, camera: str, counts: Iterable[tuple[int, int]]) -> Latency:
    before = sum(n for step, n in counts if step == BEFORE_SENT)
    known = [(step, n) for step, n in counts if step != BEFORE_SENT]
    total = sum(n for _, n in known)

    def percentile(share: float) -> float | None:
        rank, below = math.ceil(share * total), 0
        for step, n in known:
            below += n
            if below >= rank:
                return math.exp(step * LATENCY_STEP) if step else 0.0
        return None

    slowest = percentile(1.0)
    return Latency(
        camera,
        definition,
        total + before,
        before,
        percentile(0.5),
        percentile(0.95),
        percentile(0.99),
        slowest,
    )


def _local(quarter: int) -> datetime:
    return _EPOCH + timedelta(microseconds=quarter * QUARTER_US)


def _at(us: int | None) -> datetime | None:
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def _rows(
    cursor: duckdb.DuckDBPyConnection, sql: str, given: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    return tuple(cursor.execute(sql, given or None).fetchall())
