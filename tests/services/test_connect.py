"""Spark Connect: the same rows as in a classic session, and jobs on a server that runs already."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import connect_session
import pyarrow.parquet as pq
import pytest
from local_services import jars
from local_services.proc import working_in
from local_services.process import Daemon, free_ports, wait_until
from pyspark.sql import SparkSession

from pyspark_vision.clients import scenes

HERE = Path(__file__).parents[1] / "support"
COMPARED = (
    "classified",
    "decoded in the same pass",
    "its plan",
    "decoded",
    "detected",
    "embedded",
    "named by texts",
    "texts embedded",
    "drawn",
    "segmented",
    "masks drawn",
    "posed",
    "in SQL",
    "flattened",
    "predictions exploded",
    "detections exploded",
    "split",
    "newest",
    "written",
    "counted",
)
PYTHON_SETTING = "spark.sql.execution.pyspark.python"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[str]:
    """The address of a Connect server of the pip package, whose viewfs holds the demo models."""
    folder = tmp_path_factory.mktemp("connect")
    (port,) = free_ports(1)
    conf = {
        "spark.master": "local[2]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.hadoop.fs.viewfs.mounttable.demo.link./models": (root / "models").as_uri(),
    }
    settings = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    submit = str(jars.pyspark_home() / "bin" / "spark-submit")
    main_class = "org.apache.spark.sql.connect.service.SparkConnectServer"
    command = [submit, *settings, "--class", main_class, "spark-internal"]
    environment = {
        "SPARK_HOME": str(jars.pyspark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    with Daemon("connect", command, folder, lambda: _listens(port), environment):
        yield f"sc://127.0.0.1:{port}"
    assert wait_until(lambda: not working_in(folder), timeout_s=5)


@pytest.fixture(scope="module")
def answers(server: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a Connect session answers."""
    folder = tmp_path_factory.mktemp("answers")
    done = run([sys.executable, str(HERE / "connect_session.py"), server, f"{root}/models", folder])
    assert done.returncode == 0, done.stderr[-5000:]
    given: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return given


@pytest.fixture(scope="module")
def expected(
    spark: SparkSession, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a classic session answers."""
    given = connect_session.answers(spark, root / "models", tmp_path_factory.mktemp("expected"))
    same: dict[str, Any] = json.loads(json.dumps(given))
    return same


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn scenes and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(2):
        scenes.draw_scene(seed)[0].save(folder / f"{seed}.jpg")
    (folder / "bad.jpg").write_bytes(b"no image")
    return folder


def run(command: list[Any], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it as a user would: nothing but these variables says anything of Spark."""
    inherited = {name: value for name, value in os.environ.items() if "SPARK" not in name}
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env={**inherited, "SPARK_LOCAL_IP": "127.0.0.1", **environment},
        timeout=120,
        check=False,
    )


def submit(server: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """PySpark's own spark-submit, against the server."""
    home = jars.pyspark_home()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [home / "bin" / "spark-submit", "--remote", server, *arguments]
    return run(command, SPARK_HOME=str(home), PATH=path)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("what", COMPARED)
def test_a_connect_session_gives_what_a_classic_one_gives(
    what: str, answers: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert answers[what] == expected[what]


def test_bad_rows_carry_their_reasons_under_connect(answers: dict[str, Any]) -> None:
    # Of the result struct: ``error`` stands before ``warnings``, the last field.
    codes = {row[0]: row[1][-2] and row[1][-2][0] for row in answers["classified"]}

    assert codes == {
        0: None,
        1: "null_input",
        2: None,
        3: "truncated",
        4: "unsupported_format",
    }
    assert answers["counted"]["failed"] == {
        "null_input": 1,
        "truncated": 1,
        "unsupported_format": 1,
    }


def test_decoding_around_the_model_is_one_python_node_under_connect(
    answers: dict[str, Any],
) -> None:
    assert answers["its plan"] == 1


def test_a_column_of_the_wrong_type_is_refused_in_the_client(answers: dict[str, Any]) -> None:
    assert "classify_image: the column is int; it must be BINARY" in answers["wrong type"]


def test_a_second_connect_session_is_given_the_model_anew(answers: dict[str, Any]) -> None:
    assert answers["in another session"]["in SQL"] == ["unsupported_format"]


def test_a_column_of_another_connect_session_says_to_make_it_again(answers: dict[str, Any]) -> None:
    said = answers["in another session"]["column of the first"]

    assert "made in another session" in said
    assert "Make it again in this session" in said


def test_a_python_job_runs_where_spark_remote_says(
    server: str, root: Path, pictures: Path, tmp_path: Path
) -> None:
    job = [sys.executable, HERE / "connect_job.py"]

    done = run(
        [*job, root / "models" / "demo-embedder", pictures, tmp_path / "out"], SPARK_REMOTE=server
    )

    assert done.returncode == 0, done.stderr[-5000:]
    assert_embedded(done.stdout, tmp_path / "out")


@pytest.mark.slow
def test_a_job_starts_its_own_server_with_its_own_python(
    root: Path, pictures: Path, tmp_path: Path
) -> None:
    """SPARK_TESTING: on any free port instead of 15002."""
    job = [sys.executable, HERE / "connect_job.py"]

    done = run(
        [*job, root / "models" / "demo-embedder", pictures, tmp_path / "out"],
        SPARK_REMOTE="local[2]",
        SPARK_TESTING="true",
        PATH="/usr/bin:/bin",  # without the virtual environment: another python3
    )

    assert done.returncode == 0, done.stderr[-5000:]
    assert "Warning" not in done.stderr
    assert_embedded(done.stdout, tmp_path / "out")


@pytest.mark.slow
def test_a_submitted_job_loads_its_model_through_the_server_and_ships_its_python(
    server: str, root: Path, pictures: Path, tmp_path: Path
) -> None:
    """The archive stands for an environment of venv-pack: here it names this very Python."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with tarfile.open(tmp_path / "env.tar.gz", "w:gz") as archive:
        archive.add(python, "bin/python")

    done = submit(
        server,
        *("--archives", f"{tmp_path}/env.tar.gz#environment"),
        *("--conf", f"{PYTHON_SETTING}=environment/bin/python"),
        *(
            HERE / "connect_job.py",
            "viewfs://demo/models/demo-embedder",
            pictures,
            tmp_path / "out",
        ),
    )

    assert done.returncode == 0, done.stderr[-5000:]
    assert_embedded(done.stdout, tmp_path / "out")


@pytest.mark.slow
def test_a_job_on_a_server_without_packages_says_what_they_lack_and_what_to_set(
    server: str, pictures: Path, tmp_path: Path
) -> None:
    bare = Path(sys.base_prefix) / "bin" / "python3"

    done = submit(
        server,
        *("--conf", f"{PYTHON_SETTING}={bare}"),
        *(HERE / "connect_job.py", "no model", pictures, tmp_path / "out"),
    )

    assert done.returncode == 1
    printed = f"{done.stdout}\n{done.stderr}"  # spark-submit makes one of the script's two
    (said,) = [line for line in printed.splitlines() if "WorkerEnvironmentError:" in line]
    assert f"executors run {bare}, which lacks numpy" in said
    assert PYTHON_SETTING in said


def assert_embedded(printed: str, output: Path) -> None:
    """The job was on Connect, with the package it brought, and wrote a row for each picture."""
    assert "connect: True" in printed
    assert "/pyspark_vision.zip/pyspark_vision/__init__.py" in printed
    assert "images in 3, embedded 2, failed 1 (unsupported_format 1)" in printed
    codes = [row["error"] and row["error"]["code"] for row in pq.read_table(output).to_pylist()]
    assert sorted(codes, key=str) == [None, None, "unsupported_format"]
