"""What the set-up scripts say where Java or Python is missing or too old: one line, what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from local_services.process import free_ports


def executable(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def tools(folder: Path) -> Path:
    """A path with what the scripts use, and neither Java nor Python."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("bash", "dirname", "sed", "head", "env", "rm", "grep"):
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
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


@pytest.mark.parametrize(
    "picked_up",
    [
        'Picked up JAVA_TOOL_OPTIONS: -Dnine.version="9"',
        "NOTE: Picked up JDK_JAVA_OPTIONS: -Xmx1g\nPicked up _JAVA_OPTIONS: -Xms8m",
    ],
    ids=["JAVA_TOOL_OPTIONS", "two"],
)
def test_a_good_java_with_options_from_the_environment_is_taken(
    picked_up: str, root: Path, tmp_path: Path
) -> None:
    path = tools(tmp_path / "bin")
    lines = [f"echo '{line}' >&2" for line in picked_up.split("\n")]
    executable(path, "java", "\n".join([*lines, java_says("17.0.15")]))

    done = run(root / "scripts" / "check_java", path)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_java_that_does_not_run_says_why(root: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin")
    picked_up = "echo 'Picked up JAVA_TOOL_OPTIONS: -Xnone' >&2"
    executable(path, "java", f"{picked_up}\necho 'Unrecognized option: -Xnone' >&2\nexit 1")

    done = run(root / "scripts" / "check_java", path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Unrecognized option: -Xnone" in done.stderr
    assert "JAVA_TOOL_OPTIONS" in done.stderr


def shell_environment(root: Path, **given: str) -> dict[str, str]:
    """What a script has after `. scripts/own_environment`, of the variables it is about."""
    done = subprocess.run(
        ["/bin/bash", "-c", ". scripts/own_environment; env -0"],
        cwd=root,
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)


def test_scripts_leave_out_what_is_set_for_other_projects(root: Path) -> None:
    others = {
        "SPARK_HOME": "/opt/spark-3.3",
        "PYSPARK_PYTHON": "/other/python",
        "PYSPARK_DRIVER_PYTHON": "jupyter",
        "PYSPARK_DRIVER_PYTHON_OPTS": "lab",
        "PYTHONHOME": "/other",
        "PYTHONPATH": "/other",
        "PYTHONSAFEPATH": "1",
        "PIP_TARGET": "/other",
        "PIP_PREFIX": "/other",
        "PIP_REQUIRE_VIRTUALENV": "1",
    }

    found = shell_environment(root, **others, PIP_USER="1", HTTPS_PROXY="http://proxy:1")

    assert not others.keys() & found.keys()
    assert (found["PIP_USER"], found["HTTPS_PROXY"]) == ("0", "http://proxy:1")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [({"LC_ALL": "POSIX"}, "C.UTF-8"), ({}, "C.UTF-8"), ({"LANG": "C.UTF-8"}, None)],
    ids=str,
)
def test_scripts_name_files_in_utf8(given: dict[str, str], becomes: str | None, root: Path) -> None:
    assert shell_environment(root, **given).get("LC_ALL") == becomes


@pytest.mark.parametrize("script", ["submit", "fetch_jars", "pack_environment", "services"])
def test_scripts_find_their_modules_without_their_folder_on_the_path(
    script: str, root: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(root / "scripts" / script), "--help"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_services_take_their_usual_ports_or_the_ones_they_are_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = SourceFileLoader("services", str(root / "scripts" / "services"))
    services = types.ModuleType("services")
    services.__file__ = loader.path
    loader.exec_module(services)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        [free, other] = free_ports(2)
        monkeypatch.setattr(services, "USUAL_PORTS", {"kafka": free, "s3": taken, "hdfs": taken})

        ports = services.chosen_ports(["--hdfs-port", str(other)])

        assert ports == {"kafka": free, "s3": None, "hdfs": other}
        assert f"port {taken} is taken: s3 gets another" in capsys.readouterr().err
        assert services.chosen_ports(["--kafka-port", "0"])["kafka"] is None
        with pytest.raises(SystemExit):
            services.chosen_ports(["--kafka-port", str(taken)])
        assert f"--kafka-port {taken} is taken" in capsys.readouterr().err


def old_python(root: Path, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """``scripts/this_python.py`` as Python 3.9 would run it."""
    program = (
        "import sys\n"
        "sys.version_info = (3, 9, 18)\n"
        f"sys.argv = {argv!r}\n"
        f"sys.path.insert(0, {str(root / 'scripts')!r})\n"
        "import this_python\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_an_old_python_is_named_in_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(root / "scripts" / "this_python.py", tmp_path / "scripts")

    done = old_python(tmp_path, ["scripts/submit"])

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"scripts/submit needs Python 3.11 or later, and {sys.executable} is 3.9" in done.stderr


def test_an_old_python_hands_on_to_the_environments_own(root: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(root / "scripts" / "this_python.py", tmp_path / "scripts")
    executable(tmp_path / ".venv" / "bin", "python", 'echo "ran $@"')

    done = old_python(tmp_path, ["scripts/submit", "doctor"])

    assert (done.returncode, done.stdout) == (0, "ran scripts/submit doctor\n")
