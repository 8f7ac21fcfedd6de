"""Models on a cluster: two sessions of an application, later executors, sessions that ended."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from job_environment import job_environment
from local_services.standalone import Standalone

SCRIPT = Path(__file__).parents[1] / "support" / "long_lived_model.py"
CODES = [None, "unsupported_format"]


# One job of a minute, which all of them look at.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(
    standalone: Standalone, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("long_lived")
    shutil.copytree(root / "models" / "demo-classifier", folder / "bundle")
    scratch = folder / "scratch"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), standalone.master_url, str(folder / "bundle"), str(scratch)],
        capture_output=True,
        text=True,
        env=job_environment() | {"PYTHONPATH": str(root)},
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_a_second_session_of_the_application_uses_the_same_model(found: dict[str, Any]) -> None:
    assert found["first session"] == CODES
    assert found["second session, in SQL"] == CODES


def test_an_executor_that_comes_after_the_drivers_folder_was_swept_finds_the_model(
    found: dict[str, Any],
) -> None:
    assert found["is another"] is True
    assert found["another executor, after a sweep"] == CODES


def test_a_column_of_a_session_that_ended_says_to_make_it_again(found: dict[str, Any]) -> None:
    said = found["column of a session that ended"]

    assert "made in another session (one that has ended" in said
    assert "Make it again in this session" in said
