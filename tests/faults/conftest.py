"""The fault suite: real processes, broken on purpose at moments that a seed decides.

``make test-faults`` runs it whole; ``make test`` runs it at the size called quick. Each case says
what it injected, what it expected and what it found; a table of them ends the run.
"""

from __future__ import annotations

import os
import random
import secrets

import pytest
from fault_cases import FULL, QUICK, Case, Size

_SEED = int(os.environ.get("SEED") or secrets.randbelow(10**6))
_CASES: list[Case] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=["quick", "full"], default="quick")


def pytest_report_header() -> str:
    return f"faults: SEED={_SEED} repeats this run"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _CASES:
        terminalreporter.section(f"faults, SEED={_SEED}")
    for case in _CASES:
        terminalreporter.write_line(case.name)
        for word in ("injected", "expected", "found"):
            terminalreporter.write_line(f"  {word:<9} {getattr(case, word) or '(nothing)'}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes by its nature is for the full size only."""
    if _is_full(config):
        return
    long = [item for item in items if item.get_closest_marker("full_size") is not None]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def _is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--faults", "quick") == "full")


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """This test's row of the table."""
    _CASES.append(Case(request.node.name))
    return _CASES[-1]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Of the run's seed and the test's name: the same whatever other tests run."""
    return random.Random(f"{_SEED} {request.node.name}")


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    """``QUICK``, or ``FULL`` by ``--faults full``."""
    return FULL if _is_full(request.config) else QUICK
