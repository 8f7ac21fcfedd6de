"""The `pyspark-vision` command itself: its help, its version, its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pyspark_vision
from pyspark_vision.cli import bundle
from pyspark_vision.cli import main as cli
from pyspark_vision.errors import (
    InvalidModelError,
    InvalidOptionError,
    MissingDependencyError,
    WorkerEnvironmentError,
)


def exit_of(*argv: str) -> int | str | None:
    """The exit code of a call that argparse ends."""
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    return caught.value.code


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands_with_a_summary(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(flag) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^    bundle\s+inspect a model file,", shown, re.MULTILINE)
    assert re.search(r"^    contact-sheet\s+make a self-contained", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("argv", "shows"),
    [
        (["bundle", "--help"], "inspect"),
        (["bundle", "inspect", "--help"], "--labels"),
        (["bundle", "build", "--help"], "--output"),
        (["contact-sheet", "--help"], "usage: pyspark-vision contact-sheet"),
    ],
    ids=" ".join,
)
def test_each_command_has_help(
    argv: list[str], shows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(*argv) == 0
    assert shows in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("--version") == 0
    assert capsys.readouterr().out == f"{pyspark_vision.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["bundel"], "there is no command bundel; did you mean bundle? There are bundle, contact-"),
        (["xyz"], "there is no command xyz. There are bundle, contact-sheet"),
        (["bundle", "inspekt", "m"], "there is no command inspekt; did you mean inspect?"),
        (["bundle"], "the following arguments are required: COMMAND"),
        (["bundle", "inspect"], "the following arguments are required: MODEL"),
        (["bundle", "inspect", "m", "--nonsense"], "there is no option --nonsense"),
    ],
    ids=" ".join,
)
def test_wrong_command_line_exits_2_with_the_choices(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(*argv) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [InvalidModelError, InvalidOptionError, MissingDependencyError, WorkerEnvironmentError]
)
def test_error_of_the_library_is_one_line_and_exit_code_2(
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(arguments: object) -> int:
        raise error("no model at x")

    monkeypatch.setattr(bundle, "run", run)
    assert cli.main(["bundle", "inspect", "x"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "pyspark-vision bundle: no model at x\n")


def test_missing_model_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bundle", "inspect", str(tmp_path / "x.tflite")]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.startswith(f"pyspark-vision bundle: {tmp_path}/x.tflite is neither a file")


def test_failure_of_another_kind_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(bundle, "run", run)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["bundle", "inspect", "x"])


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_is_that_of_the_command(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "run", lambda arguments: code)
    assert cli.main(["bundle", "inspect", "x"]) == code


def test_output_that_a_full_disk_has_no_room_for_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pyspark_vision.cli.main", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )

    said = "pyspark-vision: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_module_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyspark_vision.cli.main", "--version"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == f"{pyspark_vision.__version__}\n"


@pytest.fixture
def without_pyspark(tmp_path: Path) -> dict[str, str]:
    """An environment in which PySpark is not installed: a package that says so lies before it."""
    (tmp_path / "pyspark.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'pyspark'\", name='pyspark')\n"
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def run_without(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyspark_vision.cli.main", *argv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_needs_no_extra(without_pyspark: dict[str, str]) -> None:
    done = run_without(without_pyspark, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "contact-sheet" in done.stdout


@pytest.mark.parametrize("command", ["replay", "bundle"])
def test_a_command_without_its_extra_says_which(
    command: str, without_pyspark: dict[str, str]
) -> None:
    done = run_without(without_pyspark, command, "--help")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"pyspark-vision {command}: it needs pyspark, which is not installed: pip install "
        "'pyspark_vision[spark]'"
    ]


@pytest.mark.parametrize(
    "command",
    ["contact-sheet", "dashboard", "doctor", "live", "produce", "receive", "simulate"],
)
def test_a_command_that_stands_without_spark_is_there_without_it(
    command: str, without_pyspark: dict[str, str]
) -> None:
    assert run_without(without_pyspark, command, "--help").returncode == 0
