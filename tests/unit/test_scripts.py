"""What the set-up scripts say where Java or Python is missing or too old: one line, what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def executable(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def tools(folder: Path) -> Path:
    """A path with what the scripts use, and neither Java nor Python."""
    for name in ("bash", "dirname", "sed", "head", "env", "rm"):
        found = subprocess.run(["/bin/sh", "-c", f"command -v {name}"], capture_output=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(found.stdout.decode().strip())
    return folder


def run(script: Path, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(script), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": str(path)},
        check=False,
    )


def java_says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2024-01-01' >&2"


@pytest.mark.parametrize("version", ["17.0.15", "21.0.2"])
def test_java_17_and_later_are_taken(version: str, root: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin")
    executable(path, "java", java_says(version))

    done = run(root / "scripts" / "check_java", path)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_named_with_what_to_install(
    version: str, root: Path, tmp_path: Path
) -> None:
    path = tools(tmp_path / "bin")
    executable(path, "java", java_says(version))

    done = run(root / "scripts" / "check_java", path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert version in done.stderr
    assert "openjdk-17" in done.stderr


def test_a_missing_java_is_said_with_what_to_install(root: Path, tmp_path: Path) -> None:
    done = run(root / "scripts" / "check_java", tools(tmp_path / "bin"))

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Java 17 is missing" in done.stderr


def test_a_missing_or_old_python_is_said_with_what_to_install(root: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin")
    executable(path, "python3", "exit 1")  # as 3.9 answers the question for 3.11

    done = run(root / "scripts" / "make_venv", path, "run", "spark")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or later is missing" in done.stderr
