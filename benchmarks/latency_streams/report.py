"""What was measured, held against its targets, as JSON and in words. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import table
from benchmarks.latency_streams.names import (
    BACKLOG,
    BATCH_ROWS,
    FLOOR,
    OURS,
    RATE,
    RATE_APART,
    SEEDS,
    SOURCE,
    STREAMS,
)

# p95 of thirds of ten minutes differs by some percent between runs of the empty stream, too.
_GROWTH_TARGET = 1.1
_P95_TARGET_S, _P95_FLOOR_TARGET, _BATCH_TARGET = 1.5, 2.0, 0.85

_COLUMNS = ("p50_s", "p95_s", "p99_s", "max_s", "first_third_p95_s", "last_third_p95_s")


@dataclass(frozen=True)
class Figure:
    """A number with its target: at least that much, or with ``at_most`` no more."""

    value: float
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    @property
    def wanted(self) -> str:
        """The target in words."""
        if self.target is None:
            return ""
        return f"{'at most' if self.at_most else 'at least'} {self.target:g}"

    def as_json(self) -> dict[str, Any]:
        """What ``latency.json`` holds of it."""
        return {"value": self.value, "target": self.wanted, "met": self.met}


def figures_of(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """The figures that the parts allow which were run."""
    figures: dict[str, Figure] = {}
    if OURS in found:
        ours = found[OURS]
        figures["ours:p95_s"] = Figure(ours["p95_s"], _P95_TARGET_S, at_most=True)
        if FLOOR in found:
            ratio = ours["p95_s"] / found[FLOOR]["p95_s"]
            figures["ours/floor:p95"] = Figure(ratio, _P95_FLOOR_TARGET, at_most=True)
        if SOURCE in found:
            figures["ours/source:p95"] = Figure(ours["p95_s"] / found[SOURCE]["p95_s"])
        if SEEDS in found:
            figures["seeds/ours:p95"] = Figure(found[SEEDS]["p95_s"] / ours["p95_s"])
        growth = ours["last_third_p95_s"] / ours["first_third_p95_s"]
        figures["last/first_third:p95"] = Figure(growth, _GROWTH_TARGET, at_most=True)
    for part in (RATE, RATE_APART):
        if part in found:
            share = found[part]["highest_bounded_share"]
            figures[f"bounded/batch:{part}"] = Figure(share, _BATCH_TARGET)
            figures[f"at_full_cores/batch:{part}"] = Figure(found[part]["at_full_cores"])
    if BACKLOG in found:
        figures["backlog/batch:rate"] = Figure(found[BACKLOG]["share"], _BATCH_TARGET)
        largest = found[BACKLOG]["largest_batch"]
        figures["backlog:largest_batch"] = Figure(largest, BATCH_ROWS, at_most=True)
    return figures


def lost_frames(name: str, found: Mapping[str, Any]) -> int:
    """Frames without a result, which is an error; not of the seeds, which fall behind."""
    if name == SEEDS or "received" not in found:
        return 0
    return int(found["sent"] - found["received"])


def summary(found: Mapping[str, Mapping[str, Any]], figures: Mapping[str, Figure]) -> str:
    """Two Markdown tables: the streams' ages, and the figures."""
    tables = []
    if streams := [name for name in STREAMS if name in found]:
        header = ["stream", *_COLUMNS, "sent", "received", "repeats"]
        tables.append(table(header, [[name, *_cells(found[name])] for name in streams]))
    if figures:
        verdicts = {None: "", True: "yes", False: "**no**"}
        rows = [
            [f"`{name}`", f"{figure.value:.2f}", figure.wanted, verdicts[figure.met]]
            for name, figure in figures.items()
        ]
        tables.append(table(["figure", "value", "target", "met"], rows))
    return "\n\n".join(tables)


def _cells(stream: Mapping[str, Any]) -> list[str]:
    counts = (str(stream[key]) for key in ("sent", "received", "repeats"))
    return [*(f"{stream[key]:.2f}" for key in _COLUMNS), *counts]
