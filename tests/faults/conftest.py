"""The fault suite: real processes, broken on purpose at moments that a seed decides.

``make test-faults`` runs it whole; ``make test`` runs it at the size called quick. Each case says
what it injected, what it expected and what it found; a table of them ends the run.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_cases import FULL, QUICK, Case, Size
from local_services import kafka as local_kafka

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
    return FULL if request.config.getoption("--faults", "quick") == "full" else QUICK


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_kafka.Kafka]:
    """A broker of this suite's own: some cases kill it."""
    folder: Path = tmp_path_factory.mktemp("kafka")
    with local_kafka.running(folder) as service:
        yield service
