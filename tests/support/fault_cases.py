"""A row of the suite's table, and how much a case does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Case:
    """A row of the table; ``found`` stays empty where a case failed before it could look."""

    name: str
    injected: str = ""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True)
class Size:
    """How much a case does.

    ``frames`` for killed drivers and workers, ``few_frames`` for others; ``outages`` of a service
    that comes back soon, and one of ``away_s``.
    """

    frames: int
    few_frames: int
    kills: int
    outages: int
    away_s: float
    mutants: int


QUICK = Size(frames=300, few_frames=200, kills=1, outages=1, away_s=5, mutants=200)
FULL = Size(frames=30_000, few_frames=6000, kills=20, outages=6, away_s=60, mutants=2000)
