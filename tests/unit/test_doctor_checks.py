"""`pyspark-vision doctor`: each failure made for real, said in one line with what to do."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.cli import main as cli
from pyspark_vision.clients import scenes
from pyspark_vision.doctor import brokers, cluster, machine, model, storage
from pyspark_vision.doctor.findings import FAILED, NOT_CHECKED, OK, Examination
from pyspark_vision.spark.java_errors import Problem, remedy
from pyspark_vision.spark.secrets import Secrets, has_credentials, secrets_of


def doctor(
    *arguments: str, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as from a shell."""
    unset = ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_HOME", "HADOOP_CONF_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [python, "-m", "pyspark_vision.cli.doctor", *arguments],
        capture_output=True,
        text=True,
        env={**kept, "SPARK_LOCAL_IP": "127.0.0.1", **environment},
        timeout=200,
        check=False,
    )


def lines(printed: str) -> dict[str, tuple[str, str]]:
    """(state, text) by check."""
    found = {}
    for line in printed.splitlines():
        if match := re.match(r"(ok|failed|not checked) +(.+?)  +(.*)$", line):
            found[match[2]] = (match[1], match[3])
    return found


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python of the same version, without any package."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


@pytest.fixture
def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# The whole command


def test_all_is_well_where_all_is_well_and_nothing_is_left_behind(
    root: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    scenes.draw_scene(0, (320, 240))[0].save(frames / "0.jpg")
    before = tree(tmp_path)

    done = doctor(
        *("--master", "local[2]", "--model", str(root / "models" / "demo-classifier")),
        *("--input", str(frames), "--output", str(tmp_path / "new" / "out")),
        *("--checkpoint", str(tmp_path / "checkpoint")),
    )

    found = lines(done.stdout)
    asked = ("java", "python", "packages", "spark", "executors", "file names", "model", "input")
    assert done.returncode == 0, done.stdout
    assert {found[check][0] for check in (*asked, "output", "checkpoint")} == {"ok"}
    assert found["kafka brokers"] == ("not checked", "give --kafka-servers")
    assert found["executors"][1].startswith("1 of 1 executors on ")
    assert found["executors"][1].endswith(", as here")
    assert done.stdout.splitlines()[-1] == "doctor: 10 ok, 0 failed, 8 not checked"
    assert tree(tmp_path) == before


def test_a_jvm_that_takes_file_names_for_ascii_is_named_with_the_variable(
    spark: SparkSession,
) -> None:
    """Of a locale that spark-submit, or a cluster's workers, were started in."""
    system = spark._jvm.java.lang.System  # type: ignore[union-attr]
    before = system.getProperty("sun.jnu.encoding")
    system.setProperty("sun.jnu.encoding", "ANSI_X3.4-1968")
    try:
        with pytest.raises(Problem, match=r"executors: ANSI_X3.*LC_ALL=C\.UTF-8"):
            cluster.file_names(spark)
    finally:
        system.setProperty("sun.jnu.encoding", before)


def test_it_is_a_command_of_pyspark_vision(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--help"])

    assert "--max-message-bytes" in capsys.readouterr().out


def test_without_java_it_says_so_and_looks_no_further(tmp_path: Path) -> None:
    done = doctor("--model", "m", JAVA_HOME=str(tmp_path / "nothing"))

    found = lines(done.stdout)
    assert done.returncode == 1
    assert found["java"][0] == "failed"
    assert f"JAVA_HOME={tmp_path}/nothing" in found["java"][1]
    assert "Install Java 17 or 21" in found["java"][1]
    assert found["spark"] == ("not checked", "java comes first")
    assert found["model"] == ("not checked", "spark comes first")
    assert done.stderr == ""


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_named(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "bin" / "java", f"echo 'openjdk version \"{version}\" 2024' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    with pytest.raises(Problem, match=rf"is Java {re.escape(version)}, too old.*Install Java 17"):
        machine.java()


def test_a_java_that_is_none_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "bin" / "java", "echo 'no such thing'")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    with pytest.raises(Problem, match="says 'no such thing"):
        machine.java()


def test_a_python_without_packages_is_told_what_it_lacks(bare_python: str, root: Path) -> None:
    done = doctor(
        *("--kafka-servers", "127.0.0.1:1", "--kafka-config", os.devnull),
        python=bare_python,
        PYTHONPATH=str(root),
    )

    state, text = lines(done.stdout)["packages"]
    assert (done.returncode, state) == (1, "failed")
    assert "no pyspark (needed: >=3.5,<4.4), no numpy (needed: >=1.26)" in text
    assert "pip install" in text
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_executors_without_packages_are_named_with_the_setting(
    bare_python: str, root: Path
) -> None:
    done = doctor(
        *("--master", "local[1]", "--model", str(root / "models" / "demo-classifier")),
        PYSPARK_PYTHON=bare_python,
    )

    found = lines(done.stdout)
    assert done.returncode == 1
    assert found["spark"][0] == "ok"
    assert found["executors"][0] == "failed"
    assert f"executors run {bare_python}, which lacks numpy, pandas" in found["executors"][1]
    assert "spark.pyspark.python" in found["executors"][1]
    assert found["model"] == ("not checked", "executors comes first")


@pytest.mark.slow
def test_a_master_that_is_not_there_is_said_at_once(closed_port: int) -> None:
    started = time.monotonic()

    done = doctor("--master", f"spark://127.0.0.1:{closed_port}")

    state, text = lines(done.stdout)["spark"]
    assert (done.returncode, state) == (1, "failed")
    assert f"no master at 127.0.0.1:{closed_port}: connection refused" in text
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_yarn_without_its_settings_is_said_at_once() -> None:
    state, text = lines(doctor("--master", "yarn").stdout)["spark"]

    assert state == "failed"
    assert "Set HADOOP_CONF_DIR" in text


@pytest.mark.slow
def test_no_planted_secret_is_printed(root: Path, tmp_path: Path, closed_port: int) -> None:
    config = tmp_path / "client.properties"
    config.write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n"
        "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="planted-user" password="planted-password";\n'
        "ssl.keystore.password=planted-keystore\n"
    )

    done = doctor(
        *("--master", "local[1]", "--kafka-servers", f"127.0.0.1:{closed_port}"),
        *("--kafka-config", str(config), "--kafka-topic", "frames"),
        *("--model", "s3a://planted-key:planted/se+cret@bucket/model"),
        *("--input", "s3a://planted-key:planted/se+cret@bucket/in"),
        *("--output", "hdfs://planted-key:planted%2Fse%2Bcret@host/out"),
        *("--checkpoint", "https://host/c?sig=planted-sig&x=1"),
    )

    printed = done.stdout + done.stderr
    found = lines(done.stdout)
    assert done.returncode == 1
    assert "planted" not in printed
    assert "se+cret" not in printed
    assert found["kafka ports"][0] == found["output"][0] == found["checkpoint"][0] == "failed"
    assert "holds credentials" in found["output"][1]
    assert "Traceback" not in printed


def test_an_unreadable_properties_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = doctor("--kafka-servers", "h:1", "--kafka-config", str(tmp_path / "none"))

    assert done.returncode == 2
    assert done.stderr.startswith("doctor: cannot read Kafka properties")


# This machine


def test_the_versions_asked_for_are_those_of_setup_py(root: Path) -> None:
    text = (root / "setup.py").read_text(encoding="utf-8")
    required = ast.literal_eval(re.findall(r"install_requires=(\[.*?\])", text)[0])
    [pyspark] = re.findall(r'"pyspark(>=[^"]+)"', text)

    def said(bounds: tuple[str, str | None]) -> str:
        return f">={bounds[0]}" + (f",<{bounds[1]}" if bounds[1] else "")

    of_workers = [name for name in required if not name.startswith("jinja2")]
    assert [name + said(bounds) for name, bounds in machine.NEEDED.items()] == of_workers
    assert said(machine.PYSPARK) == pyspark


GOOD = {"pyspark": "4.2.0", "numpy": "2.4.6", "pandas": "2.3.3", "pyarrow": "26.0", "pillow": "13"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"pillow": "12.9.1"}, "pillow 12.9.1 (needed: >=13)"),
        ({"pandas": "3.0.0"}, "pandas 3.0.0 (needed: >=2.2,<3)"),
        ({"numpy": None}, "no numpy (needed: >=1.26)"),
        ({"pyspark": "3.4.4"}, "pyspark 3.4.4 (needed: >=3.5,<4.4)"),
    ],
    ids=str,
)
def test_a_package_that_does_not_fit_is_named(changed: dict[str, str | None], says: str) -> None:
    machine.check_versions(GOOD, "here", "")

    with pytest.raises(Problem, match=re.escape(f"here has {says}. do this")):
        machine.check_versions({**GOOD, **changed}, "here", "do this")


def worker(host: str, **changed: str | None) -> cluster.Worker:
    found = {**machine.versions(), **changed}
    return cluster.Worker(host, "/python", machine.python_version(), tuple(found.items()))


def test_executors_as_the_driver_are_well() -> None:
    text = cluster.compare([worker("a"), worker("b")])

    assert text.startswith("a, b: Python 3.")
    assert text.endswith(", as here")


def test_executors_that_differ_from_each_other_are_a_problem() -> None:
    with pytest.raises(Problem, match=r"executors differ: numpy 2\.0\.1 / 2\.3\.0\. .*depend on"):
        cluster.compare([worker("a", numpy="2.0.1"), worker("b", numpy="2.3.0")])


def test_executors_that_differ_from_the_driver_are_a_remark() -> None:
    text = cluster.compare([worker("a", numpy="2.0.1"), worker("b", numpy="2.0.1")])

    own = machine.versions()["numpy"]
    assert text.endswith(f"the driver differs (driver / executors): numpy {own} / 2.0.1")


def test_an_executor_with_an_unfit_package_is_named_with_its_host() -> None:
    with pytest.raises(Problem, match="/python on b has pandas 3.0.0"):
        cluster.compare([worker("a"), worker("b", pandas="3.0.0")])


# Model and storage, on the shared session


def test_a_model_that_is_not_there_is_said(spark: SparkSession, tmp_path: Path) -> None:
    examination = Examination(lambda finding: None, Secrets())

    assert not examination.look("model", lambda: model.runs(spark, str(tmp_path / "none")))

    assert examination.findings["model"].text.startswith("no model at")


def test_a_damaged_model_is_said(spark: SparkSession, root: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(root / "models" / "demo-classifier", tmp_path / "bundle"))
    with (bundle / "model.tflite").open("ab") as file:
        file.write(b"more")
    examination = Examination(lambda finding: None, Secrets())

    assert not examination.look("model", lambda: model.runs(spark, str(bundle)))

    assert "was changed or cut short" in examination.findings["model"].text


@pytest.mark.parametrize("task", ["classifier", "detector", "embedder"])
def test_a_model_of_each_task_runs_on_an_executor(
    task: str, spark: SparkSession, root: Path
) -> None:
    assert "on an executor" in model.runs(spark, str(root / "models" / f"demo-{task}"))


def test_a_missing_input_is_said(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="none does not exist. Create it, or correct --input"):
        storage.readable(spark, str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["Forbidden", "a Signature of 403", "NoSuchBucket does not exist"])
def test_what_to_do_is_told_by_what_went_wrong_not_by_a_name(
    name: str, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"a file where a folder should be")

    with pytest.raises(Problem, match="Choose a folder of yours"):
        storage.writable(spark, str(tmp_path / name / "out"))


@pytest.mark.parametrize(
    ("uri", "said", "to_do"),
    [
        (
            "s3a://403-forbidden/out",
            "UnknownStoreException: `s3a://403-forbidden/out': NoSuchBucketException: (Status "
            "Code: 404) <- The bucket 403-forbidden is not there",
            "Create it",
        ),
        ("s3a://b/out", "S3Exception: null (Service: S3, Status Code: 403)", "Give the right"),
        ("s3a://b/out", "something else, about b", ""),
    ],
)
def test_a_remedy_is_found_in_the_words_around_names(uri: str, said: str, to_do: str) -> None:
    remedies = ((("403", "forbidden"), "Give the right"), (("NoSuchBucket",), "Create it"))

    assert remedy(said, uri, remedies) == to_do


def test_an_empty_input_is_well_for_a_stream_that_waits(
    spark: SparkSession, tmp_path: Path
) -> None:
    assert storage.readable(spark, str(tmp_path)).endswith("holds no file yet")


@pytest.mark.parametrize("name", ["a.jpg", "a [1] {b}*.jpg", "ü & %20.jpg"])
def test_an_input_is_read_whatever_its_name(name: str, spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).write_bytes(b"12345")
    (tmp_path / "below" / "_hidden").write_bytes(b"1")

    assert "an executor read 5 bytes" in storage.readable(spark, str(tmp_path))


def test_an_input_may_be_a_glob(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")

    assert "5 bytes" in storage.readable(spark, f"{tmp_path}/*.jpg")


CHECKS: list[Callable[[SparkSession, str], str]] = [storage.writable, storage.checkpoint]


@pytest.mark.parametrize("check", CHECKS)
def test_a_folder_that_cannot_be_written_is_said(
    check: Callable[[SparkSession, str], str], spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(Problem) as problem:
        check(spark, str(tmp_path / "file" / "folder"))

    assert str(tmp_path / "file" / "folder") in str(problem.value)
    assert [path.name for path in tree(tmp_path)] == ["file"]
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("check", CHECKS)
def test_a_folder_in_use_stays_as_it_is(
    check: Callable[[SparkSession, str], str], spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "batch_id=0").mkdir()
    (tmp_path / "batch_id=0" / "part-0.parquet").write_bytes(b"rows")
    before = tree(tmp_path)

    check(spark, str(tmp_path))

    assert tree(tmp_path) == before


@pytest.mark.parametrize("check", [storage.readable, *CHECKS])
def test_a_file_system_without_its_jars_is_said(
    check: Callable[[SparkSession, str], str], spark: SparkSession
) -> None:
    with pytest.raises(Problem, match="The connector's jars are missing: scripts/submit brings"):
        check(spark, "nosuchfs://bucket/folder")


@pytest.mark.parametrize("check", [storage.readable, *CHECKS])
def test_a_name_node_that_does_not_answer_is_said_soon(
    check: Callable[[SparkSession, str], str], spark: SparkSession, closed_port: int
) -> None:
    started = time.monotonic()

    with pytest.raises(Problem, match="Nothing answers there: check host and port"):
        check(spark, f"hdfs://127.0.0.1:{closed_port}/folder")

    assert time.monotonic() - started < 30


# Brokers


def test_brokers_that_do_not_answer_are_said_soon(closed_port: int) -> None:
    with pytest.raises(Problem, match=f"127.0.0.1:{closed_port}: connection refused.*--kafka-serv"):
        brokers.ports(f"127.0.0.1:{closed_port}")


def test_one_broker_of_several_is_enough_and_the_other_is_said(closed_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        text = brokers.ports(f"127.0.0.1:{closed_port},127.0.0.1:{port}")

    assert text == f"127.0.0.1:{closed_port}: connection refused"


@pytest.mark.parametrize("address", ["broker", "broker:", ":9092", "broker:99999"])
def test_an_address_without_host_or_port_is_said(address: str) -> None:
    with pytest.raises(Problem, match="it is not HOST:PORT"):
        brokers.ports(address)


def test_a_host_that_does_not_exist_is_said() -> None:
    with pytest.raises(Problem, match="the name no-such-host.invalid is not known"):
        brokers.ports("no-such-host.invalid:9092")


# How checks are run, and what they may say


def test_an_unexpected_exception_is_a_finding() -> None:
    examination = Examination(lambda finding: None, Secrets())

    def broken() -> str:
        raise ZeroDivisionError("a bug")

    assert not examination.look("this", broken)

    assert examination.findings["this"].state == FAILED
    assert examination.findings["this"].text == "ZeroDivisionError: a bug"


def test_a_check_that_hangs_is_left_behind() -> None:
    examination = Examination(lambda finding: None, Secrets())

    def hanging() -> str:
        time.sleep(5)
        return "late"

    assert not examination.look("this", hanging, timeout_s=0.1)

    assert examination.findings["this"].text == "no answer in 0.1 s"


def test_a_check_waits_for_those_that_it_needs() -> None:
    reported: list[Any] = []
    examination = Examination(reported.append, Secrets())
    examination.skip("first", "not asked for")

    assert not examination.look("second", lambda: "never run", needs=("first",))

    assert [(finding.check, finding.state) for finding in reported] == [
        ("first", NOT_CHECKED),
        ("second", NOT_CHECKED),
    ]
    assert examination.look("third", lambda: "fine\nin one line")
    assert str(reported[2]) == f"{OK:<12} {'third':<20} fine in one line"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3a://key:secret@bucket/a", "s3a://***@bucket/a"),
        ("s3a://key:sec/ret@bucket/a", "s3a://***@bucket/a"),
        ("https://h/c?sv=1&sig=abc%2F&x=2", "https://h/c?sv=1&sig=***&x=2"),
        ("abfs://h/c?SharedKey=abc", "abfs://h/c?SharedKey=***"),
        ("hdfs://host:8020/a", "hdfs://host:8020/a"),
        ("s3a://bucket/a", "s3a://bucket/a"),
    ],
)
def test_credentials_of_a_uri_are_masked(uri: str, shown: str) -> None:
    assert Secrets().masked(f"cannot read {uri}") == f"cannot read {shown}"


@pytest.mark.parametrize(
    ("uri", "has"),
    [
        ("s3a://key:secret@bucket/a", True),
        ("s3a://key:sec/ret@bucket/a", True),
        ("s3a://bucket/a", False),
        ("abfs://container@account.dfs.core.windows.net/a", False),
        ("/data/a:b@c", False),
        ("file:///data/a:b@c", False),
    ],
)
def test_credentials_of_a_uri_are_noticed(uri: str, has: bool) -> None:
    assert has_credentials(uri) == has


def test_values_of_a_properties_file_are_masked_whole_and_in_parts() -> None:
    secrets = secrets_of(
        [
            ("security.protocol", "SASL_SSL"),
            ("sasl.jaas.config", "Module required username=\"me-me\" password='pass word';"),
            ("ssl.key.password", "sesame"),
        ],
        ["s3a://akia:se%2Fcret@bucket"],
    )

    said = secrets.masked("SASL_SSL me-me pass word sesame akia se/cret se%2Fcret")

    assert said == "SASL_SSL *** *** *** *** *** ***"
