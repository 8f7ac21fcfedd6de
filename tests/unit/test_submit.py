"""scripts/submit: the line of spark-submit for each kind of cluster, and what it refuses."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pyspark
import pytest
from local_services import jars
from submitting.environment import DEFAULT_EXTRAS, requirements
from submitting.examined import doctor_flags
from submitting.flags import connectors, read_flags
from submitting.line import COMMANDS, Baggage, Submission, spark_submit_line

from pyspark_vision.clients.submitting import fast_start
from pyspark_vision.clients.submitting.errors import SubmitError
from pyspark_vision.clients.submitting.surroundings import surroundings
from pyspark_vision.spark.internals import SUBMIT_JAVA_OPTIONS

PACKAGE = Path("/checkout/dist/pyspark_vision.zip")
ENVIRONMENT = Path("/cache/environment.tar.gz")
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _no_other_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_HOME", raising=False)


@pytest.fixture
def job(root: Path) -> Path:
    return root / "jobs" / "stream_detect.py"


def line(
    job: Path,
    *flags: str,
    baggage: Baggage | None = None,
    master: str = "local[2]",
    conf: dict[str, str] | None = None,
    **asked: object,
) -> list[str]:
    """The line without its first word, spark-submit's path."""
    submission = Submission(master, job, read_flags(flags), conf=conf or {}, **asked)  # type: ignore[arg-type]
    return spark_submit_line(submission, baggage)[1:]


def test_in_local_mode_driver_and_workers_run_this_python(job: Path) -> None:
    assert line(job, "--input", "frames", baggage=Baggage(PACKAGE)) == [
        *("--master", "local[2]", "--py-files", str(PACKAGE)),
        *("--conf", f"spark.pyspark.python={PYTHON}"),
        *("--conf", f"spark.pyspark.driver.python={PYTHON}"),
        *(str(job), "--input", "frames"),
    ]


def test_a_standalone_cluster_elsewhere_gets_jars_and_environment(job: Path) -> None:
    brought = Baggage(PACKAGE, (Path("/cache/a.jar"), Path("/cache/b.jar")), ENVIRONMENT)

    made = line(job, baggage=brought, master="spark://node:7077", ship_environment=True)

    assert made == [
        *("--master", "spark://node:7077", "--deploy-mode", "client"),
        *("--py-files", str(PACKAGE), "--jars", "/cache/a.jar,/cache/b.jar"),
        *("--archives", f"{ENVIRONMENT}#environment"),
        *("--conf", "spark.pyspark.python=./environment/bin/python"),
        *("--conf", f"spark.pyspark.driver.python={PYTHON}"),
        str(job),
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_standalone_cluster_on_this_machine_runs_this_python(job: Path, host: str) -> None:
    made = line(job, baggage=Baggage(PACKAGE), master=f"spark://{host}:7077")

    assert f"spark.pyspark.python={PYTHON}" in made


def test_on_yarn_with_the_driver_here_only_executors_run_the_named_python(job: Path) -> None:
    made = line(job, baggage=Baggage(PACKAGE), master="yarn", python="/opt/py/bin/python")

    assert made == [
        *("--master", "yarn", "--deploy-mode", "client", "--py-files", str(PACKAGE)),
        *("--conf", "spark.pyspark.python=/opt/py/bin/python"),
        *("--conf", f"spark.pyspark.driver.python={PYTHON}"),
        str(job),
    ]


def test_on_yarn_with_the_driver_there_model_and_files_travel_under_their_own_names(
    job: Path, root: Path, tmp_path: Path
) -> None:
    kafka = tmp_path / "client.properties"
    kafka.write_text("security.protocol=SSL\n")
    flags = (
        *("--input", "hdfs://nn/frames", "--model", str(root / "models" / "demo-detector")),
        f"--kafka-config={kafka}",
    )
    brought = Baggage(tmp_path / "pyspark_vision.zip", (), ENVIRONMENT)

    made = line(
        *(job, *flags), baggage=brought, master="yarn", deploy_mode="cluster", ship_environment=True
    )

    model = tmp_path / "demo-detector.zip"
    assert made == [
        *("--master", "yarn", "--deploy-mode", "cluster"),
        *("--py-files", str(tmp_path / "pyspark_vision.zip"), "--files", f"{model},{kafka}"),
        *("--archives", f"{ENVIRONMENT}#environment"),
        *("--conf", "spark.pyspark.python=./environment/bin/python"),
        *("--conf", "spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python"),
        *(str(job), "--input", "hdfs://nn/frames", "--model", "demo-detector.zip"),
        "--kafka-config=client.properties",
    ]
    assert "model.json" in zipfile.ZipFile(model).namelist()


def test_a_model_named_in_the_options_file_travels_too(
    job: Path, root: Path, tmp_path: Path
) -> None:
    options = tmp_path / "job.toml"
    options.write_text(f'[model]\nmodel = "{root / "models" / "demo-detector"}"\n')

    made = line(
        *(job, "--config", str(options)),
        baggage=Baggage(tmp_path / "pyspark_vision.zip"),
        master="yarn",
        deploy_mode="cluster",
        python="/usr/bin/python3.11",
    )

    # Flags beat the file, which names a path that the driver does not have.
    assert made[-4:] == ["--config", "job.toml", "--model", "demo-detector.zip"]
    assert f"{tmp_path / 'demo-detector.zip'},{options}" in made


def test_a_model_by_uri_stays_where_it_is(job: Path) -> None:
    made = line(
        *(job, "--model", "s3a://models/detector"),
        baggage=Baggage(PACKAGE),
        master="yarn",
        deploy_mode="cluster",
        python="/usr/bin/python3.11",
    )

    assert "--files" not in made
    assert made[-2:] == ["--model", "s3a://models/detector"]


def test_on_kubernetes_job_package_and_python_are_the_images(job: Path, root: Path) -> None:
    made = line(
        *(job, "--model", "/opt/pyspark_vision/models/demo-detector"),
        master="k8s://https://host:6443",
        deploy_mode="cluster",
        image="registry/pyspark_vision:1",
    )

    pods = root / "conf" / "kubernetes"
    assert made == [
        *("--master", "k8s://https://host:6443", "--deploy-mode", "cluster"),
        "--conf",
        "spark.kubernetes.authenticate.driver.serviceAccountName=pyspark-vision",
        *("--conf", f"spark.kubernetes.driver.podTemplateFile={pods}/driver-pod.yaml"),
        *("--conf", f"spark.kubernetes.executor.podTemplateFile={pods}/executor-pod.yaml"),
        *("--conf", "spark.kubernetes.container.image=registry/pyspark_vision:1"),
        "local:///opt/pyspark_vision/jobs/stream_detect.py",
        *("--model", "/opt/pyspark_vision/models/demo-detector"),
    ]
    assert {"driver-pod.yaml", "executor-pod.yaml"} <= {path.name for path in pods.iterdir()}


def test_the_users_own_settings_come_last_and_win(job: Path) -> None:
    mine = {"spark.pyspark.driver.python": "/my/python", "spark.executor.memory": "3g"}

    made = line(job, baggage=Baggage(PACKAGE), conf=mine)

    assert "spark.pyspark.driver.python=/my/python" in made
    assert f"spark.pyspark.driver.python={PYTHON}" not in made
    assert made[-3:] == ["--conf", "spark.executor.memory=3g", str(job)]


def test_an_edge_nodes_own_spark_is_taken(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")
    submission = Submission("local[2]", job, read_flags([]))

    assert spark_submit_line(submission, Baggage(PACKAGE))[0] == "/opt/spark/bin/spark-submit"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"master": "spark://h:1", "deploy_mode": "cluster"}, "does not run Python drivers"),
        ({"master": "local[2]", "deploy_mode": "cluster"}, "needs a cluster"),
        ({"master": "mesos://h"}, "choose local[N], spark://HOST:PORT, yarn or k8s://URL"),
        ({"master": "spark://h:1"}, "--ship-environment sends one, --python PATH names one"),
        ({"master": "yarn"}, "--ship-environment sends one, --python PATH names one"),
        (
            {"master": "yarn", "ship_environment": True, "python": "/p"},
            "choose --ship-environment or --python",
        ),
        ({"master": "local[2]", "ship_environment": True}, "this machine's own Python"),
        ({"master": "local[2]", "image": "i"}, "--image is for --master k8s://URL"),
        ({"master": "k8s://h"}, "needs --image"),
        ({"master": "k8s://h", "image": "i", "python": "/p"}, "the image holds the Python"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_with_the_reason(
    asked: dict[str, object], says: str, job: Path
) -> None:
    with pytest.raises(SubmitError) as refused:
        Submission(job=job, flags=read_flags([]), **asked)  # type: ignore[arg-type]

    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--model", "models/none"], "--model models/none: there is no such file to send"),
        (["--kafka-config", "none.properties"], "there is no such file to send"),
        (["--model", "frames"], "a folder without model.json"),
        (["--input", "frames"], "--input frames is a path of this machine"),
        (["--output", "file:/tmp/out"], "file:/tmp/out: with --deploy-mode cluster"),
        (["--output=file:///tmp/out"], "which does not have this one's files"),
    ],
    ids=" ".join,
)
def test_a_path_that_only_this_machine_has_is_refused_in_cluster_mode(
    flags: list[str], says: str, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "frames").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SubmitError) as refused:
        Submission("yarn", job, read_flags(flags), deploy_mode="cluster", python="/p")

    assert says in str(refused.value)


def test_a_model_that_only_this_machine_has_is_refused_for_a_pod(job: Path) -> None:
    flags = read_flags(["--model", "models/demo-detector"])

    with pytest.raises(SubmitError, match="Give a path inside the image"):
        Submission("k8s://h", job, flags, deploy_mode="cluster", image="i")


@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        (["--input", "frames"], []),
        (["--input", "s3a://bucket/frames"], ["s3a"]),
        (["--input", "frames", "--output=s3a://bucket/out"], ["s3a"]),
        (["--input", "frames", "--sink", "kafka"], ["kafka"]),
        (["--input", "frames", "--dead-letters", "kafka:dead"], ["kafka"]),
        (["--kafka-servers", "host:9092", "--checkpoint", "s3a://b/c"], ["kafka", "s3a"]),
        ([], ["kafka"]),  # its default source
    ],
    ids=" ".join,
)
def test_the_flags_show_which_connectors_a_job_needs(
    flags: list[str], needed: list[str], job: Path
) -> None:
    assert connectors(job, read_flags(flags)) == needed


def test_an_options_file_shows_which_connectors_a_job_needs(job: Path, tmp_path: Path) -> None:
    options = tmp_path / "job.toml"
    options.write_text('[source]\ninput = "s3a://bucket"\n[sink]\nsink = ["parquet", "kafka"]\n')

    assert connectors(job, read_flags(["--config", str(options)])) == ["kafka", "s3a"]


def test_a_job_without_kafka_needs_no_connector(root: Path) -> None:
    assert connectors(root / "jobs" / "batch_embed.py", read_flags(["--images", "x"])) == []


def test_the_last_of_a_flags_values_counts() -> None:
    assert read_flags(["--model", "a", "--model=b"]).value("--model") == "b"


def submit(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "scripts" / "submit"), *arguments],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "SPARK_HOME"},
        timeout=120,
        check=False,
    )


def test_print_shows_the_line_and_runs_nothing(root: Path, job: Path, tmp_path: Path) -> None:
    done = submit(root, "--print", str(job), "--", "--input", "a b", "--checkpoint", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"{job} --input 'a b' --checkpoint {tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("job", "flags", "examined"),
    [
        (
            "stream_detect",
            "--kafka-servers b:9092 --kafka-topic a b --sink kafka console --keep-all --model m "
            "--max-age=1 --checkpoint c --starting-offsets earliest",
            "--kafka-servers b:9092 --kafka-topic a b --model m --checkpoint c",
        ),
        (
            "stream_classify",
            "--subscription s --model-gcs-path=gs://m --output-gcs-path gs://o --project-id p",
            "--pubsub-subscription s --model=gs://m --output gs://o --project-id p",
        ),
        (
            "batch_embed",
            "--images i --model m --output o --format csv",
            "--input i --model m --output o",
        ),
        ("stream_detect", "--chekpoint c --keep-all", "--chekpoint c"),
        ("stream_detect", "", ""),
    ],
)
def test_doctor_before_a_job_takes_the_jobs_own_flags(
    root: Path, job: str, flags: str, examined: str
) -> None:
    read = read_flags(flags.split())

    assert doctor_flags(root / "jobs" / f"{job}.py", read).argv == tuple(examined.split())


def test_doctor_before_a_job_takes_what_its_file_says(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text('model = "my model"\nkafka-topic = ["a", "b"]\nkeep-all = true\noutput = "o"')

    read = read_flags(["--config", str(file), "--output", "other"])

    assert doctor_flags(root / "jobs" / "stream_detect.py", read).argv == (
        *("--output", "other", "--model", "my model", "--kafka-topic", "a", "b"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [("import nowhere", "cannot be imported here"), ("", "is none of this package's jobs")],
)
def test_doctor_before_another_script_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    script = tmp_path / "mine.py"
    script.write_text(text)

    with pytest.raises(SubmitError, match=reason):
        doctor_flags(script, read_flags([]))


def test_the_doctor_is_submitted_as_a_job_is(root: Path) -> None:
    done = submit(root, "--print", "doctor", "--", "--model", "m")

    assert done.stdout.rstrip().endswith(f"{root}/pyspark_vision/cli/doctor.py --model m")


def test_a_command_with_a_session_is_submitted_as_a_job_is(root: Path) -> None:
    done = submit(root, "--print", "replay", "--", "kafka:dead", "--checkpoint", "c")

    main = f"{root}/pyspark_vision/cli/main.py"
    assert done.stdout.rstrip().endswith(f"{main} replay kafka:dead --checkpoint c")
    assert "spark-sql-kafka" in done.stdout


def test_replay_brings_kafka_for_letters_of_a_folder_too(root: Path) -> None:
    assert connectors(COMMANDS, read_flags(["replay", "letters", "--checkpoint", "c"])) == ["kafka"]


@pytest.mark.parametrize("sink", ["delta", "iceberg"])
def test_a_table_brings_what_writes_it(sink: str, root: Path) -> None:
    flags = read_flags(["--input", "frames", "--sink", sink, "--table", "s3a://bucket/table"])

    assert connectors(root / "jobs" / "stream_detect.py", flags) == ["s3a", sink]


def test_each_conf_of_a_submitted_command_is_sparks(root: Path) -> None:
    done = submit(
        *(root, "--print", "--conf", "spark.a=1", "replay", "--", "out", "--checkpoint", "c"),
        *("--conf", "spark.driver.memory=2g", "--conf=spark.b=2"),
    )

    words = shlex.split(done.stdout)
    assert words[-4:] == ["replay", "out", "--checkpoint", "c"]
    settings = [words[at + 1] for at, word in enumerate(words) if word == "--conf"]
    assert settings[-3:] == ["spark.a=1", "spark.driver.memory=2g", "spark.b=2"]


def a_spark(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "spark-submit").touch()
    (folder / "jars").mkdir()
    (folder / "jars" / f"spark-core_2.13-{version}.jar").touch()
    return folder


def test_an_edge_nodes_spark_that_fits_is_kept(tmp_path: Path) -> None:
    home = str(a_spark(tmp_path / "spark", "4.1.1"))

    around = surroundings({"SPARK_HOME": home})

    assert (around.variables["SPARK_HOME"], around.remarks) == (home, ())


@pytest.mark.parametrize(("version", "why"), [("3.3.2", "it is Spark 3.3.2"), (None, "no Spark")])
def test_a_spark_that_cannot_run_the_job_is_left_out_and_said(
    version: str | None, why: str, tmp_path: Path
) -> None:
    home = a_spark(tmp_path, version) if version else tmp_path

    around = surroundings({"SPARK_HOME": str(home)})

    assert around.variables["SPARK_HOME"] == str(Path(pyspark.__file__).parent)
    assert [why in remark and str(home) in remark for remark in around.remarks] == [True]


def test_pythons_of_other_projects_are_left_out_and_said() -> None:
    others = {"PYSPARK_PYTHON": "/other/python", "PYSPARK_DRIVER_PYTHON": "jupyter"}

    around = surroundings({**others, "PYSPARK_DRIVER_PYTHON_OPTS": "lab", "HOME": "/h"})

    assert around.variables["HOME"] == "/h"
    assert not {*others, "PYSPARK_DRIVER_PYTHON_OPTS"} & around.variables.keys()
    assert len(around.remarks) == 2
    assert "--python PATH" in around.remarks[0]


def test_a_user_id_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987654)

    with pytest.raises(SubmitError, match="user id 987654 has no name"):
        surroundings({})


def test_without_a_home_the_cache_is_a_folder_of_this_user_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PYSPARK_VISION_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    folder = jars.cache_folder()

    assert folder == tmp_path / f"pyspark_vision-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


CLUSTER_MODE = ["--master", "yarn", "--deploy-mode", "cluster", "--ship-environment"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["jobs/none.py"], "there is no job jobs/none.py"),
        (["doctor", "nowhere.py"], "there is no job nowhere.py"),
        (["mine.py", "doctor", "--", "--model", "m"], "doctor stands before the job"),
        (["mine.py", "replay", "--"], "scripts/submit replay -- FLAGS"),
        (["--with", "gcs", "doctor"], "--with gcs: choose from kafka,s3a"),
        (["--conf", "spark.ui.enabled", "doctor"], "is not KEY=VALUE"),
        (["--master", "yarn", "doctor"], "--ship-environment sends one"),
        (
            [*CLUSTER_MODE, "--fast-start", "doctor"],
            "--fast-start is for a driver on this machine",
        ),
    ],
    ids=" ".join,
)
def test_a_mistake_is_said_with_exit_code_2(arguments: list[str], says: str, root: Path) -> None:
    done = submit(root, "--print", *arguments)

    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing set that keeps a JVM from an archive of classes."""
    for name in ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR", SUBMIT_JAVA_OPTIONS):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("PYSPARK_VISION_CACHE", str(folder))
    return folder


@pytest.mark.parametrize("flags", [["--fast-start"], []])
def test_an_archive_of_classes_that_is_there_is_used(
    flags: list[str], root: Path, job: Path, cache: Path
) -> None:
    archive = fast_start.archive_file(surroundings(os.environ).variables)
    archive.parent.mkdir(parents=True)
    archive.touch()

    done = submit(root, "--print", *flags, str(job), "--", "--input", "frames")

    env, variable, program = shlex.split(done.stdout)[:3]
    assert env == "env"
    assert variable.startswith(f"SPARK_SUBMIT_OPTS=-XX:SharedArchiveFile={archive} ")
    assert program.endswith("/bin/spark-submit")


def test_no_archive_of_classes_is_made_for_a_job_that_does_not_ask(
    root: Path, job: Path, cache: Path
) -> None:
    done = submit(root, "--print", str(job), "--", "--input", "frames")

    assert done.returncode == 0, done.stderr
    assert "archive" not in done.stdout + done.stderr
    assert not (cache / "classes").exists()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("HADOOP_CONF_DIR", "/etc/hadoop", "HADOOP_CONF_DIR is set"),
        ("SPARK_SUBMIT_OPTS", "-Xshare:off", "SPARK_SUBMIT_OPTS says already"),
        ("PYSPARK_VISION_CACHE", "/dev/null/cache", "Not a directory"),
        ("PYSPARK_VISION_CACHE", "/a:b", "Java takes no archive with a colon"),
        ("JAVA_HOME", "/nowhere", "/nowhere/bin/java"),
    ],
)
def test_where_there_can_be_no_archive_of_classes_a_job_is_submitted_without(
    name: str,
    value: str,
    why: str,
    root: Path,
    job: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)

    done = submit(root, "--print", "--fast-start", str(job), "--", "--input", "frames")

    assert done.returncode == 0, done.stderr
    assert f"{job} --input frames" in done.stdout
    assert "SharedArchiveFile" not in done.stdout
    (said,) = [line for line in done.stderr.splitlines() if "no archive of Spark's" in line]
    assert why in said


def test_another_spark_or_another_java_has_another_archive(tmp_path: Path, cache: Path) -> None:
    home = a_spark(tmp_path / "spark", "4.2.0")
    java = tmp_path / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    variables = {"SPARK_HOME": str(home), "JAVA_HOME": str(tmp_path / "jdk")}
    first = fast_start.archive_file(variables)

    (home / "jars" / "spark-core_2.13-4.2.0.jar").write_text("another build")
    second = fast_start.archive_file(variables)
    java.write_text("another java")
    third = fast_start.archive_file(variables)

    assert len({first, second, third}) == 3
    assert {file.parent for file in (first, second, third)} == {cache / "classes"}


# What the small job's JVM is told last: where to write, in quotes, and what not to log.
WRITES = """f=${SPARK_SUBMIT_OPTS##*ArchiveClassesAtExit=}; echo classes >"${f%% *}"; """


@pytest.mark.parametrize(("code", "is_made"), [(0, True), (1, False)])
def test_an_archive_of_classes_is_there_whole_or_not_at_all(
    code: int, is_made: bool, tmp_path: Path, cache: Path
) -> None:
    home = a_spark(tmp_path / "spark", "4.2.0")
    program = home / "bin" / "spark-submit"
    program.write_text(f"#!/bin/bash\n{WRITES}\necho why >&2; exit {code}\n")
    program.chmod(0o755)
    variables = {**os.environ, "SPARK_HOME": str(home)}

    if is_made:
        assert fast_start.archived(variables).read_text() == "classes\n"
    else:
        with pytest.raises(fast_start.NoArchiveError, match="the small job failed: why"):
            fast_start.archived(variables)

    assert len(list((cache / "classes").iterdir())) == int(is_made)


def test_the_environment_holds_what_setup_py_says_and_neither_pyspark_nor_the_package() -> None:
    wanted = [re.split("[<>=;]", requirement)[0] for requirement in requirements(DEFAULT_EXTRAS)]

    required = ["numpy", "pandas", "pyarrow", "pillow", "jinja2"]
    extras = ["ai-edge-litert", "cykooz.resizer", "boto3", "obstore", "prometheus-client"]
    assert wanted == [*required, *extras]


def test_an_unknown_extra_is_refused_with_the_choices() -> None:
    with pytest.raises(SubmitError, match="no extra onyx; choose from .*litert"):
        requirements(["litert", "onyx"])
