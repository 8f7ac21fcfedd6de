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
    """How much a case does."""

    frames: int
    kills: int
    mutants: int


QUICK = Size(frames=300, kills=2, mutants=200)
FULL = Size(frames=30_000, kills=20, mutants=2000)
