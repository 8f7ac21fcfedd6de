"""The wheel: what commands need is in it, and they work from it without the checkout."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import guides
import pytest
import wheels

from pyspark_vision.cli import main as cli


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build_wheel(root, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pyspark-vision`` of an environment that has the wheel."""
    return wheels.install(wheel, tmp_path_factory.mktemp("environment"))


def run(command: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(command), *words],
        cwd=folder,
        env=wheels.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def python(command: Path, folder: Path, code: str) -> str:
    done = subprocess.run(
        [str(command.with_name("python")), "-c", code],
        cwd=folder,
        env=wheels.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_up_md_installs_it_by_its_name(wheel: Path) -> None:
    assert f"pip install 'dist/{wheel.name}[" in guides.block("up.md", "pip wheel").text


def test_it_holds_all_of_the_package_and_what_commands_need_of_the_checkout(
    wheel: Path, root: Path
) -> None:
    package = root / "pyspark_vision"
    files = {
        path.relative_to(root).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    carried = {
        f"pyspark_vision/clients/carried/{path.relative_to(root).as_posix()}"
        for path in (
            *(root / "jobs").glob("*.py"),
            *(root / "models" / "demo-detector").iterdir(),
            root / "conf" / "ivy.xml",
        )
    }

    names = set(zipfile.ZipFile(wheel).namelist())

    of_package = {name for name in names if name.startswith("pyspark_vision/")}
    assert of_package == files | carried
    # What is no part of it: each further folder would be a top-level package of its own.
    assert {name.split("/")[0] for name in names} == {
        "pyspark_vision",
        "pyspark_vision-0.1.0.dist-info",
    }


def test_its_jobs_model_and_jars_are_those_it_carries(command: Path, tmp_path: Path) -> None:
    code = (
        "from pyspark_vision.clients import carried\n"
        "from pyspark_vision.clients.local_services import jars\n"
        "from pyspark_vision.clients.up import run_folder\n"
        "print(carried.checkout(), carried.path('jobs/stream_detect.py').is_file())\n"
        "print(jars.configurations()[0])\n"
        "print(carried.path('models/demo-detector/model.json').is_file())\n"
        "print(run_folder.default_base().is_relative_to(carried.path('.')))"
    )

    assert python(command, tmp_path, code).split() == ["None", "True", "kafka", "True", "False"]


@pytest.mark.parametrize("name", ["up"])
def test_a_command_runs_from_it(name: str, command: Path, tmp_path: Path) -> None:
    done = run(command, tmp_path, name, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: pyspark-vision {name}" in done.stdout


@pytest.mark.slow  # a process for each command, and Spark for doctor
def test_every_command_runs_from_it_without_the_checkout(command: Path, tmp_path: Path) -> None:
    for name in cli._COMMANDS:
        done = run(command, tmp_path, name, "--help")
        assert (done.returncode, done.stderr) == (0, ""), name
    where = (
        "from pyspark_vision.clients import carried; print(carried.path('models/demo-detector'))"
    )
    model = python(command, tmp_path, where)

    inspected = run(command, tmp_path, "bundle", "inspect", f"{model}/model.tflite")
    checked = run(command, tmp_path, "doctor", "--model", model, "--master", "local[1]")

    assert inspected.returncode == 0, inspected.stderr
    assert "detect" in inspected.stdout
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert str(tmp_path) not in inspected.stderr
    assert not list(tmp_path.iterdir())
