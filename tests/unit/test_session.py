"""Workers' Python, and models on their way to them."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from job_environment import job_environment
from pyspark.errors import PythonException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.errors import (
    InvalidModelError,
    InvalidOptionError,
    MissingDependencyError,
    WorkerEnvironmentError,
)
from pyspark_vision.functions import classify_image, decode_image, register
from pyspark_vision.job.command_line import run_job
from pyspark_vision.spark import connect, session
from pyspark_vision.spark.internals import JavaError, java_class
from pyspark_vision.spark.session import JOB_DEFAULTS, active_session, check_workers, tool_session


@contextmanager
def setting(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    before = spark.conf.get(key)
    spark.conf.set(key, value)
    try:
        yield
    finally:
        spark.conf.set(key, before or "")


@pytest.fixture
def bare_python(spark: SparkSession) -> Iterator[str]:
    """Workers run the interpreter that this virtual environment was made from: no packages."""
    bare = str(Path(sys.base_prefix) / "bin" / "python3")
    active_session()
    own = spark.sparkContext.pythonExec
    spark.sparkContext.pythonExec = bare
    yield bare
    spark.sparkContext.pythonExec = own


def test_workers_run_this_python_in_local_mode_without_any_setting(spark: SparkSession) -> None:
    active_session()

    executable = spark.sparkContext.parallelize([0], 1).map(lambda _: sys.executable).first()

    assert executable == sys.executable
    check_workers(spark)


def test_a_thread_of_its_own_finds_the_session_of_the_process(spark: SparkSession) -> None:
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(active_session).result()

    assert found is spark


def test_a_worker_gets_no_more_bytes_at_once_than_spark_is_told_to_send(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [(bytes(100_000),)] * 40  # 4 MB
    spark.createDataFrame(rows, "content binary").coalesce(1).write.parquet(str(tmp_path / "rows"))

    @F.arrow_udf("long")  # type: ignore[attr-defined] # not in PySpark's hints
    def rows_at_once(arrays: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for array in arrays:
            yield pa.array([len(array)] * len(array), pa.int64())

    active_session()
    with setting(spark, "spark.sql.execution.arrow.maxBytesPerBatch", "1m"):
        found = spark.read.parquet(str(tmp_path / "rows")).select(rows_at_once("content")).collect()

    assert max(row[0] for row in found) <= 11  # of 40, in one batch of Spark's columnar input


def test_a_users_own_choice_of_columnar_input_is_left_alone(spark: SparkSession) -> None:
    key = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
    with setting(spark, key, "true"):
        active_session()

        assert spark.conf.get(key) == "true"


def test_a_udf_without_a_model_runs_this_python_too(spark: SparkSession, bare_python: str) -> None:
    df = spark.createDataFrame([(b"",)], "content binary")

    (row,) = df.select(decode_image("content").alias("r")).collect()

    assert row["r"]["error"]["code"] == "empty_input"


def test_a_sql_function_runs_this_python_too(
    spark: SparkSession, bare_python: str, classifier: ModelSpec
) -> None:
    register(spark, "classify_here", classify_image, classifier)

    (row,) = spark.sql("SELECT classify_here(X'') AS r").collect()

    assert row["r"]["error"]["code"] == "empty_input"


def test_a_job_on_bare_executors_says_what_they_lack_and_what_to_set(
    spark: SparkSession, bare_python: str
) -> None:
    with pytest.raises(WorkerEnvironmentError, match="lacks .*numpy") as error:
        check_workers(spark)

    assert bare_python in str(error.value)
    assert "spark.pyspark.python" in str(error.value)


def test_a_job_that_fails_on_bare_executors_ends_with_the_line_of_what_they_lack(
    spark: SparkSession,
    bare_python: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", bare_python)  # else the job takes this very Python
    rows = spark.createDataFrame([(b"",)], "content binary")

    def run(_: argparse.Namespace) -> None:
        rows.select(decode_image("content")).collect()

    code = run_job("some_job", run, argparse.Namespace())

    assert code == 2
    printed = capsys.readouterr().err
    said = printed.splitlines()[-1]
    assert said.startswith(f"some_job: executors run {bare_python}, which lacks numpy, pandas")
    assert "PYSPARK_PYTHON names it: unset it" in said
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("Error reading credential file from GOOGLE_APPLICATION_CREDENTIALS", 2),
        ("Connection reset", 1),
    ],
)
def test_a_store_that_hadoop_cannot_open_ends_a_job_with_one_line(
    raised: str, code: int, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = java_class(spark, "java.util.concurrent.CompletableFuture")()
    cause = java_class(spark, "java.io.IOException")(raised)

    def run(_: argparse.Namespace) -> None:
        failed.completeExceptionally(cause)
        try:
            failed.join()
        except JavaError as raised_by_py4j:
            error: Any = raised_by_py4j  # its cause is what a file system throws
            error.java_exception = error.java_exception.getCause()
            raise

    assert run_job("some_job", run, argparse.Namespace()) == code

    [said] = capsys.readouterr().err.splitlines()
    assert said == f"some_job: java.io.IOException: {raised}"


def test_a_job_whose_executors_python_does_not_exist_ends_with_a_line_that_names_it(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, bare_python: str
) -> None:
    spark.sparkContext.pythonExec = "/nowhere/python3"
    monkeypatch.setenv("PYSPARK_PYTHON", "/nowhere/python3")
    rows = spark.createDataFrame([(b"",)], "content binary").select(decode_image("content"))
    with pytest.raises(Exception, match="/nowhere/python3") as error:
        rows.collect()

    lack = session.lack_of_workers(error.value)

    assert lack is not None
    assert "executors cannot run /nowhere/python3: Cannot run program" in str(lack)


def test_a_module_that_a_users_own_function_lacks_is_not_said_of_executors(
    spark: SparkSession,
) -> None:
    def imports(_: int) -> int:
        import no_such_module  # type: ignore[import-not-found]

        return int(no_such_module.number)

    udf = F.udf(imports, "int", useArrow=False)
    with pytest.raises(PythonException, match="no_such_module") as error:
        spark.range(1).select(udf("id")).collect()

    assert session.lack_of_workers(error.value) is None


def test_after_a_failure_of_another_kind_executors_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They may be gone, and a task would wait for them."""
    monkeypatch.setattr(session, "check_workers", lambda _: pytest.fail("a task was started"))

    assert session.lack_of_workers(RuntimeError("Job aborted: all masters are gone")) is None


def test_executors_whose_python_does_not_exist_are_named(
    spark: SparkSession, bare_python: str
) -> None:
    spark.sparkContext.pythonExec = "/nowhere/python3"

    with pytest.raises(WorkerEnvironmentError, match=r"/nowhere/python3.*spark\.pyspark\.python"):
        check_workers(spark)


def test_a_python_of_another_project_is_said_with_its_variable(
    spark: SparkSession, bare_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", bare_python)

    with pytest.raises(WorkerEnvironmentError, match="PYSPARK_PYTHON names it: unset it"):
        check_workers(spark)


def test_a_bundle_is_read_from_any_hadoop_uri(
    spark: SparkSession, classifier: ModelSpec, tmp_path: Path
) -> None:
    """viewfs is a Hadoop file system of its own scheme, here mounted on a local folder."""
    classifier.save(tmp_path / "store" / "bundle")
    spark._jsc.hadoopConfiguration().set(
        "fs.viewfs.mounttable.models.link./store", (tmp_path / "store").as_uri()
    )

    loaded = ModelSpec.load("viewfs://models/store/bundle")

    assert loaded == classifier
    assert Path(loaded.path).read_bytes() == Path(classifier.path).read_bytes()


def test_a_hadoop_uri_without_a_bundle_is_named(spark: SparkSession, tmp_path: Path) -> None:
    spark._jsc.hadoopConfiguration().set(
        "fs.viewfs.mounttable.models.link./store", tmp_path.as_uri()
    )

    with pytest.raises(InvalidModelError, match="viewfs://models/store/nothing"):
        ModelSpec.load("viewfs://models/store/nothing")


def test_a_model_on_every_node_is_not_shipped(
    spark: SparkSession, classifier: ModelSpec, tmp_path: Path
) -> None:
    folder = classifier.save(tmp_path / "on-every-node")
    spec = ModelSpec.load(f"local:{folder}").with_options(name="everywhere")
    shipped = set(spark.sparkContext.listFiles)
    df = spark.createDataFrame([(b"",)], "content binary")

    (row,) = df.select(classify_image("content", spec).alias("r")).collect()

    assert row["r"]["model"] == "everywhere"
    assert set(spark.sparkContext.listFiles) == shipped


def test_a_model_changed_on_a_node_is_refused_by_its_worker(
    spark: SparkSession, classifier: ModelSpec, tmp_path: Path
) -> None:
    copy = ModelSpec.load(classifier.save(tmp_path / "copy"))
    # Another content than any other test's, so that no worker has it loaded already.
    with Path(copy.path).open("ab") as file:
        file.write(b"behind the end of a flatbuffer")
    ModelSpec.inspect(copy.path, labels=dict(copy.labels), accept=True).save(
        tmp_path / "on-every-node"
    )
    spec = ModelSpec.load(f"local:{tmp_path}/on-every-node")
    df = spark.createDataFrame([(b"x",)], "content binary")
    classified = df.select(classify_image("content", spec))
    with Path(spec.path).open("r+b") as file:
        file.truncate(1000)

    with pytest.raises(PythonException, match="changed or cut short"):
        classified.collect()


def test_the_settings_for_clusters_are_those_of_jobs(root: Path) -> None:
    lines = (root / "conf" / "spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    advised = {key: value.strip() for key, value in pairs}
    shared = JOB_DEFAULTS.keys() & advised.keys()
    assert len(shared) > 7
    assert {key: advised[key] for key in shared} == {key: JOB_DEFAULTS[key] for key in shared}


@pytest.fixture(scope="module")
def of_a_command(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a command's session, with a JVM of its own under a POSIX locale, says of itself."""
    folder = tmp_path_factory.mktemp("command")
    program = (
        "import json, sys\n"
        "from pyspark_vision.spark.session import tool_session\n"
        "session = tool_session('one', 'local[1]', sys.argv[1:])\n"
        "session.sparkContext.parallelize([0], 1).map(lambda x: x).count()\n"
        "java = session._jvm.java.lang\n"
        "loader = java.Thread.currentThread().getContextClassLoader()\n"
        "session.range(1).write.parquet('sortie-\\u00e9')\n"
        "print(json.dumps({\n"
        "    'bar': session.conf.get('spark.ui.showConsoleProgress'),\n"
        "    'in jar': loader.getResource('of_the_jar.txt') is not None,\n"
        "    'name': session.conf.get('spark.app.name'),\n"
        "    'heap': java.Runtime.getRuntime().maxMemory() >> 20,\n"
        "    'option': java.System.getProperty('said.by'),\n"
        "    'charset': java.System.getProperty('sun.jnu.encoding'),\n"
        "}))\n"
    )
    (folder / "a b.jar").write_bytes(zipped("of_the_jar.txt"))
    given = (
        "spark.driver.memory=600m",
        f"spark.jars={folder / 'a b.jar'}",
        "spark.driver.extraJavaOptions=-Dsaid.by=me -XX:+UseSerialGC",
        "spark.app.name=two words",
    )
    environment = job_environment({"spark.ui.enabled": "false"})
    environment = {k: v for k, v in environment.items() if k != "LANG" and not k.startswith("LC_")}

    done = subprocess.run(
        [sys.executable, "-c", program, *given],
        env={**environment, "LC_ALL": "POSIX"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )

    said: dict[str, str] = json.loads(done.stdout)
    return {**said, "folders": ascii(sorted(one.name for one in folder.iterdir() if one.is_dir()))}


def zipped(name: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(name, "")
    return written.getvalue()


def test_a_session_that_python_started_shows_no_progress_bar(of_a_command: dict[str, str]) -> None:
    assert of_a_command["bar"] == "false"


def test_each_conf_of_a_command_counts_also_what_only_a_jvms_start_takes(
    of_a_command: dict[str, str],
) -> None:
    assert 400 < int(of_a_command["heap"]) <= 600  # Java counts without one of its spaces
    assert of_a_command["option"] == "me"
    assert of_a_command["in jar"]
    assert of_a_command["name"] == "two words"


def test_a_commands_jvm_names_files_in_utf8_under_a_posix_locale(
    of_a_command: dict[str, str],
) -> None:
    assert of_a_command["charset"] == "UTF-8"
    assert of_a_command["folders"] == ascii(["sortie-é"])


@pytest.mark.parametrize("key", ["spark.driver.memory", "spark.jars.packages"])
def test_a_conf_that_comes_too_late_for_the_jvm_is_refused(key: str, spark: SparkSession) -> None:
    with pytest.raises(InvalidOptionError, match=f"--conf {key}=9g counts only before") as error:
        tool_session("late", None, [f"{key}=9g"])

    assert "scripts/submit --conf" in str(error.value)


# In a process of its own: Spark knows other workers of a session as idle whose parent has ended,
# and gives each up by a failed attempt of a task.
ENDING = """
import os
from pathlib import Path
from pyspark.sql import SparkSession
from pyspark_vision.spark.own_jvm import end_workers
from pyspark_vision.spark.session import active_session

settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
spark = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
active_session()
rows = spark.sparkContext.parallelize([0], 1).map(lambda _: os.getppid())
daemon = rows.first()
end_workers(spark)
print("ended", not Path(f"/proc/{daemon}").exists())
print("another", rows.first() != daemon)
"""


def test_idle_workers_end_with_their_parent_and_come_again_for_who_goes_on() -> None:
    """Ended by their sockets instead, they print a traceback after a job's last line."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.stdout.splitlines() == ["ended True", "another True"], done.stderr


def test_the_folder_of_workers_sockets_is_measured_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A socket's name has 108 bytes, and Spark's own part of it 43."""
    for folder, fits in (("/" + "t" * 58, True), ("/" + "é" * 29, True), ("/" + "é" * 30, False)):
        monkeypatch.setattr("tempfile.gettempdir", lambda folder=folder: folder)
        assert bool(session._local_sockets()) is fits, folder


def test_spark_connect_on_a_pyspark_before_4_is_refused_in_one_line() -> None:
    connect.refuse_old_version("4.0.5")

    with pytest.raises(MissingDependencyError, match=r"needs PySpark 4\.0 .*3\.5\.9"):
        connect.refuse_old_version("3.5.9")
