"""`pyspark-vision up` without its parts: folders of runs, checks, command lines, logs, signals."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from job_scripts import job

from pyspark_vision.cli import live as live_command
from pyspark_vision.cli import main as cli
from pyspark_vision.cli import produce as produce_command
from pyspark_vision.clients import carried, stopping
from pyspark_vision.clients.local_services import jars, proc
from pyspark_vision.clients.local_services.process import reserved_ports, wait_until
from pyspark_vision.clients.up import checks, commands, parts, run_folder
from pyspark_vision.clients.up.progress import Progress
from pyspark_vision.errors import (
    InvalidOptionError,
    WorkerEnvironmentError,
)


def nothing(text: str) -> None:
    """Where a run's lines go."""


@contextmanager
def ended_run(base: Path) -> Iterator[Path]:
    with run_folder.new_run(base, nothing) as folder:
        yield folder


def test_each_run_has_a_folder_of_its_own_that_others_cannot_read(tmp_path: Path) -> None:
    with ended_run(tmp_path / "up") as first, ended_run(tmp_path / "up") as second:
        assert first != second
        assert {first.parent, second.parent} == {tmp_path / "up"}
        assert first.stat().st_mode & 0o777 == 0o700


def test_of_ended_runs_the_last_stays_and_nothing_of_others_is_touched(tmp_path: Path) -> None:
    said: list[str] = []
    others = tmp_path / "20200101-000000"
    others.mkdir()
    (others / "photo.jpg").touch()
    (tmp_path / "notes").touch()
    with ended_run(tmp_path) as living:
        with ended_run(tmp_path) as first:
            (first / "kafka.log").touch()
        with ended_run(tmp_path) as second:
            pass

        with run_folder.new_run(tmp_path, said.append) as third:
            assert {path.name for path in tmp_path.iterdir()} == {
                *(others.name, "notes", living.name, second.name, third.name)
            }

    assert said == [f"== an older run is removed: {first}"]
    assert (others / "photo.jpg").exists()


def test_a_folder_that_cannot_be_made_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(InvalidOptionError, match=r"file/up cannot be made .*: give --data DIR"),
        ended_run(tmp_path / "file" / "up"),
    ):
        pass


def test_a_full_disk_is_refused_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = types.SimpleNamespace(free=1_230_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    with (
        pytest.raises(InvalidOptionError, match=r"has 1\.2 GB left, and a run may fill 2 GB"),
        ended_run(tmp_path),
    ):
        pass

    assert not list(tmp_path.iterdir())


def test_data_lies_in_the_checkout_or_where_the_user_keeps_data(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_folder.default_base() == root / "build" / "up"

    monkeypatch.setattr(carried, "checkout", lambda: None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert run_folder.default_base() == tmp_path / "pyspark_vision" / "up"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert run_folder.default_base() == Path("/home/ann/.local/share/pyspark_vision/up")


def up_says(
    capsys: pytest.CaptureFixture[str], folder: Path, *flags: str, code: int = 2
) -> list[str]:
    assert cli.main(["up", "--no-open", "--data", str(folder), *flags]) == code
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("module", ["pyspark", "ai_edge_litert", "prometheus_client"])
def test_a_package_that_is_missing_is_one_line(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == module else object())

    [line] = up_says(capsys, tmp_path)

    assert line.startswith(f"pyspark-vision up: it needs {module}, ")
    assert "pip install 'pyspark_vision[" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("says", "line"),
    [
        (None, "cannot run /nowhere/bin/java"),
        ('openjdk version "11.0.2" 2019-01-15', "is Java 11.0.2, too old for Spark 4"),
    ],
)
def test_java_that_is_missing_or_too_old_is_one_line(
    says: str | None,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = Path("/nowhere")
    if says is not None:
        home = tmp_path / "jdk"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "java").write_text(f"#!/bin/sh\necho '{says}' >&2\n")
        (home / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))

    [said] = up_says(capsys, tmp_path / "up")

    assert line in said
    assert not (tmp_path / "up").exists()


def test_a_port_that_another_program_has_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        [said] = up_says(capsys, tmp_path, "--port", str(port))

    assert said.startswith(f"pyspark-vision up: --port {port}: another program has it")


def test_a_folder_that_was_removed_under_the_shell_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    [said] = up_says(capsys, tmp_path)

    assert said == (
        "pyspark-vision up: the folder that you are in was removed: go to another one, and start "
        "again"
    )


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYSPARK_VISION_CACHE", str(tmp_path / "file" / "cache"))

    [said] = up_says(capsys, tmp_path)

    assert f"cannot be kept in {tmp_path}/file/cache (Not a directory)" in said
    assert said.endswith("set PYSPARK_VISION_CACHE to a folder that you may write")


def test_jars_that_cannot_be_fetched_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(*wanted: str) -> list[Path]:
        raise jars.JarsNotFetchedError("could not fetch the jars of 'kafka'")

    monkeypatch.setattr(jars, "files", files)

    with pytest.raises(WorkerEnvironmentError, match="could not fetch the jars of 'kafka'"):
        checks.fetch_jars()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> commands.Run:
    monkeypatch.setattr(jars, "files", lambda *wanted: [Path("/jars/a.jar")])
    return commands.Run(tmp_path, "127.0.0.1:9092", 9108, None, False)


def parsed(module: types.ModuleType, words: list[str]) -> argparse.Namespace:
    """What a command makes of its words, behind Python, ``-m``, the module and its name."""
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words[4:])


def test_the_parts_understand_their_command_lines(run: commands.Run, root: Path) -> None:
    produced = parsed(produce_command, commands.producer(run, ["drawn:1", "drawn:2"]))
    shown = parsed(live_command, commands.page(run))
    detecting = commands.job(run)
    script = job(root, "stream_detect")
    detected = script.completed(script.parser().parse_job(detecting[2:]))

    assert produced.source == ["drawn:1", "drawn:2"]
    assert {produced.kafka_servers, shown.kafka_servers, detected.kafka_servers} == {run.servers}
    assert (produced.keep_input, shown.open, shown.port) == (run.folder / "input", False, None)
    assert shown.metrics == f"http://127.0.0.1:{detected.metrics_port}/metrics"
    assert shown.dead_letters == detected.dead_letters
    assert (detected.sink, detected.trigger) == (["kafka"], "0 seconds")
    assert Path(detected.model) == root / "models" / "demo-detector"


def test_spark_gets_the_connector_and_writes_below_the_runs_folder(run: commands.Run) -> None:
    found = commands.environment(run, {"SPARK_SUBMIT_OPTS": "-Dmine=1", "PATH": "/bin"})

    assert found["SPARK_SUBMIT_OPTS"].startswith("-Dmine=1 ")
    assert f"java.io.tmpdir={run.folder}/tmp" in found["SPARK_SUBMIT_OPTS"]
    assert "--conf spark.jars=/jars/a.jar" in found["PYSPARK_SUBMIT_ARGS"]
    assert f"spark.local.dir={run.folder}/tmp" in found["PYSPARK_SUBMIT_ARGS"]
    assert (found["PATH"], found["PYSPARK_PYTHON"]) == ("/bin", sys.executable)


@pytest.mark.parametrize(("cores", "tasks"), [(None, 1), (1, 1), (2, 1), (4, 2), (64, 2)])
def test_a_batch_is_cut_in_two_where_there_are_cores_for_it(
    run: commands.Run, monkeypatch: pytest.MonkeyPatch, cores: int | None, tasks: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    found = commands.environment(run, {})["PYSPARK_SUBMIT_ARGS"]

    assert f"spark.master=local[{tasks}]" in found
    assert "spark.sql.codegen.factoryMode=NO_CODEGEN" in found


def test_a_large_log_is_cut_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with log.open("ab") as writer:
        writer.write(b"a" * 100)
        writer.flush()
        parts.cut(log, limit_bytes=100)
        assert not (tmp_path / "part.log.1").exists()
        writer.write(b"b")
        writer.flush()

        parts.cut(log, limit_bytes=100)
        writer.write(b"c")

    assert (tmp_path / "part.log.1").read_bytes() == b"a" * 100 + b"b"
    assert log.read_bytes() == b"c"
    parts.cut(tmp_path / "missing.log")


def test_a_part_that_ends_is_named_and_the_others_are_ended(tmp_path: Path) -> None:
    running = parts.Parts()
    other = running.start("other", ["sleep", "60"], tmp_path, os.environ)
    broken = running.start("broken", ["sh", "-c", "echo no such disk"], tmp_path, os.environ)
    assert wait_until(broken.has_exited, 10.0)

    with pytest.raises(parts.PartEndedError) as caught:
        running.check()

    assert str(caught.value).splitlines() == [
        f"broken has ended by itself. {tmp_path}/broken.log ends:",
        "  no such disk",
    ]
    pid = other.pid
    running.stop()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(RuntimeError, match="broken is not running"):
        _ = broken.pid


def test_what_a_part_has_started_is_ended_with_it(tmp_path: Path) -> None:
    running = parts.Parts()
    # In a group of its own, as Spark's workers are.
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], process_group=0)\n"
        "print(child.pid); child.wait()"
    )
    part = running.start("part", [sys.executable, "-uc", code], tmp_path, os.environ)
    while not part.log.read_text().endswith("\n"):
        running.check()

    running.stop()

    child = int(part.log.read_text())
    # Nobody's child any more: what is left is for the system to clear away.
    assert wait_until(lambda: proc.command_line(child) == "", 5.0)


def test_the_first_signal_interrupts_and_a_later_one_hurries() -> None:
    # In a process of its own: pytest's has libraries that leave signals a stack which is gone.
    code = """
import signal, time
from pyspark_vision.clients import stopping

hurried, now = [], [100.0]
time.monotonic = lambda: now[0]
before = signal.getsignal(signal.SIGTERM)
with stopping.listening(stopping.interrupt, lambda _: hurried.append(True)):
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        print("interrupted")
    now[0] = 100.5  # make sends another for the same Ctrl-C
    signal.raise_signal(signal.SIGINT)
    print(hurried)
    now[0] = 102.0
    signal.raise_signal(signal.SIGHUP)
print(hurried, signal.getsignal(signal.SIGTERM) is before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.splitlines() == ["interrupted", "[]", "[True] True"], done.stderr


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.listening(stopping.interrupt):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_lines_go_nowhere_when_the_terminal_is_closed() -> None:
    code = (
        "import sys; from pyspark_vision.clients.up.progress import Progress\n"
        "from pyspark_vision.sinks import terminal\n"
        "terminal.make_tolerant(); print('ready', flush=True); sys.stdin.read()\n"
        "progress = Progress(); progress.say('a'); progress.stage('b'); print('c')"
    )
    outside, inside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=inside, stderr=inside
    ) as process:
        os.close(inside)
        assert os.read(outside, 100).startswith(b"ready")
        os.close(outside)
        process.communicate(timeout=60)

    assert process.returncode == 0


def test_a_stage_has_its_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().stage("Kafka: 127.0.0.1:9092")

    assert capsys.readouterr().err == "==   0.0 s  Kafka: 127.0.0.1:9092\n"


def test_reserved_ports_are_for_who_reserved_them() -> None:
    with reserved_ports(2) as (first, second):
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", first))

        # As a server that is started for it does.
        with socket.create_server(("127.0.0.1", second)):
            socket.create_connection(("127.0.0.1", second)).close()


def test_a_mark_is_locked_while_its_run_lives(tmp_path: Path) -> None:
    with ended_run(tmp_path) as folder:
        assert lock(folder) is False
    assert lock(folder) is True


def lock(folder: Path) -> bool:
    with (folder / run_folder.MARK).open() as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
