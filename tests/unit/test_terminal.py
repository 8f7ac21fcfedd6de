"""Letters that a terminal lacks, and pipes that nobody reads any more."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.sinks import terminal
from pyspark_vision.sinks.console import console_sink

TOLERANT = "from pyspark_vision.sinks import terminal; terminal.make_tolerant()"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_a_letter_that_the_encoding_lacks_is_an_escape() -> None:
    program = f"{TOLERANT}; print('caf\\u00e9 …')"

    done = run("-c", program, PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9 \\u2026\n", "")


def test_a_letter_that_the_encoding_has_stays() -> None:
    program = f"{TOLERANT}; print('caf\\u00e9')"

    assert run("-c", program, PYTHONIOENCODING="utf-8").stdout == "café\n"


def test_a_half_letter_of_a_file_name_is_an_escape_in_utf8_too() -> None:
    program = f"{TOLERANT}; print('\\udce9')"

    assert run("-c", program, PYTHONIOENCODING="utf-8").stdout == "\\udce9\n"


@pytest.mark.parametrize("job", ["stream_detect", "stream_classify", "batch_embed"])
def test_the_help_of_a_job_is_shown_by_an_ascii_terminal(job: str, root: Path) -> None:
    done = run(root / "jobs" / f"{job}.py", "--help", PYTHONIOENCODING="ascii")

    assert done.returncode == 0, done.stderr
    assert "--output" in done.stdout


@pytest.mark.parametrize("command", [["--help"], ["replay", "--help"], ["doctor", "--help"]])
def test_the_help_of_a_command_is_shown_by_an_ascii_terminal(command: list[str]) -> None:
    done = run("-m", "pyspark_vision.cli.main", *command, PYTHONIOENCODING="ascii")

    assert done.returncode == 0, done.stderr
    assert "usage: pyspark-vision" in done.stdout


def test_what_is_written_after_the_reader_has_gone_goes_nowhere(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from pyspark_vision.sinks import terminal\n"
        "terminal.make_tolerant()\n"
        "for line in range(50_000): print('line', line, flush=line % 2 == 0)\n"
        f"pathlib.Path({str(tmp_path / 'done')!r}).touch()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    assert writer.stdout.readline() == b"line 0\n"
    writer.stdout.close()
    said = writer.stderr.read()
    writer.stderr.close()

    assert (writer.wait(60), said) == (0, b"")
    assert (tmp_path / "done").exists()


def test_the_console_sink_escapes_what_the_terminal_lacks(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    rows = spark.createDataFrame(
        [("file:/in/žába.jpg", [("猫", 1, 0.5)], None)],
        "origin string, detections array<struct<label: string, class_id: int, score: double>>, "
        "error struct<code: string, message: string>",
    )

    console_sink()(rows, 7)

    shown = written.getvalue().decode("cp1252")
    assert shown.startswith("batch 7: žába.jpg ")
    assert shown.endswith("\\u732b 0.50\n")


def test_the_console_sink_goes_on_without_a_reader(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    rows = spark.createDataFrame([("a", None)], "origin string, error struct<code: string>")

    console_sink()(rows, 0)


def test_a_stream_that_somebody_else_has_put_there_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", own)

    terminal.make_tolerant()

    assert sys.stdout is own
    assert own.errors == "backslashreplace"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_at_the_start_goes_nowhere(closed: str, tmp_path: Path) -> None:
    program = (
        f"{TOLERANT}\n"
        "import os, sys\n"
        "results = open('results', 'w')\n"
        "print('out'); print('err', file=sys.stderr); sys.stdout.flush()\n"
        "os.write(2, b'of a library')\n"
        "results.write('whole')\n"
    )

    shell = f'exec "$0" -c "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results").read_text() == "whole"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("full", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
def test_a_line_that_a_full_disk_has_no_room_for_ends_nothing(full: str, other: str) -> None:
    program = (
        f"{TOLERANT}; import sys\n"
        f"for line in range(3): terminal.say('line', sys.{full})\n"
        f"print('end', file=sys.{other})"
    )

    with open("/dev/full", "w") as device:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=device if full == "stdout" else subprocess.PIPE,
            stderr=device if full == "stderr" else subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stdout or done.stderr) == (0, "end\n")
