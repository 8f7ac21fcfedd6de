"""Numbers out of measurements: ratios round by round, a straight line, a table. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """How much faster ``top`` is than ``bottom``, by rounds that stood side by side."""

    rounds: tuple[float, ...]
    target: float | None
    images_per_s: dict[str, float]

    @property
    def median(self) -> float:
        """The median of the rounds' ratios (not the ratio of medians: the machine drifts)."""
        return statistics.median(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        return None if self.target is None else self.median >= self.target

    def as_json(self) -> dict[str, Any]:
        """What ``results.json`` holds of it."""
        return {
            "median": self.median,
            "low": min(self.rounds),
            "high": max(self.rounds),
            "rounds": list(self.rounds),
            "target": self.target,
            "met": self.met,
            "images_per_s": self.images_per_s,
        }


def ratio(
    rates: Mapping[str, Sequence[float]], top: str, bottom: str, target: float | None
) -> Ratio:
    """``rates`` holds the images/s of each contender, round by round.

    >>> ratio({"a": [3.0, 8.0], "b": [2.0, 4.0]}, "a", "b", 1.5).median
    1.75
    """
    rounds = tuple(mine / other for mine, other in zip(rates[top], rates[bottom], strict=True))
    medians = {name: statistics.median(rates[name]) for name in (top, bottom)}
    return Ratio(rounds, target, medians)


@dataclass(frozen=True)
class Line:
    """``y = start + slope * x``, how much of the variance it explains, and what it misses."""

    start: float
    slope: float
    r_squared: float
    residuals: tuple[float, ...]
    largest_relative_deviation: float


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Least squares; the deviation is relative to the value measured.

    >>> fit_line([1, 2, 3], [3, 5, 7]).slope
    2.0
    """
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((value - mean_x) ** 2 for value in x)
    together = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope = together / spread
    start = mean_y - slope * mean_x
    residuals = tuple(b - (start + slope * a) for a, b in zip(x, y, strict=True))
    total = sum((value - mean_y) ** 2 for value in y)
    r_squared = 1 - sum(value**2 for value in residuals) / total if total else 1.0
    deviations = (abs(miss) / value for miss, value in zip(residuals, y, strict=True))
    return Line(start, slope, r_squared, residuals, max(deviations))


def agreement(mine: Mapping[str, int], theirs: Mapping[str, int]) -> float:
    """Share of the ids of both with the same class; 0 where one lacks an id of the other.

    >>> agreement({"1": 7, "2": 8}, {"1": 7, "2": 9})
    0.5
    """
    if not mine or mine.keys() != theirs.keys():
        return 0.0
    return sum(mine[key] == theirs[key] for key in mine) / len(mine)


def ratio_table(ratios: Mapping[str, Mapping[str, Any]]) -> str:
    """The ``ratios`` of ``results.json`` as a Markdown table."""
    rows = []
    for name, one in ratios.items():
        (top, top_rate), (bottom, bottom_rate) = one["images_per_s"].items()
        target = "" if one["target"] is None else f"{one['target']:g}"
        met = {None: "", True: "yes", False: "**no**"}[one["met"]]
        rows.append(
            [
                f"`{name}`",
                f"{one['median']:.2f}",
                f"{one['low']:.2f} – {one['high']:.2f}",
                target,
                met,
                f"{top} {top_rate:.1f}, {bottom} {bottom_rate:.1f}",
            ]
        )
    return table(["ratio", "median", "spread", "target", "met", "images/s (medians)"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in plain text, too.

    >>> print(table(["a", "b"], [["1", "two"]]))
    | a | b   |
    |---|-----|
    | 1 | two |
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])
