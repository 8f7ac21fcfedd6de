"""Workers' Python, and models on their way to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from job_environment import job_environment
from pyspark.errors import PythonException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.errors import InvalidModelError, WorkerEnvironmentError
from pyspark_vision.functions import classify_image, decode_image, register
from pyspark_vision.session import JOB_DEFAULTS, active_session, check_workers


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

    @F.arrow_udf("long")
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


def test_executors_whose_python_does_not_exist_are_named(
    spark: SparkSession, bare_python: str
) -> None:
    spark.sparkContext.pythonExec = "/nowhere/python3"

    with pytest.raises(WorkerEnvironmentError, match=r"/nowhere/python3.*spark\.pyspark\.python"):
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
    ModelSpec.inspect(copy.path, labels=dict(copy.labels)).save(tmp_path / "on-every-node")
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


def test_a_session_that_python_started_shows_no_progress_bar() -> None:
    key = "spark.ui.showConsoleProgress"
    program = (
        "from pyspark_vision.session import tool_session\n"
        f"print(tool_session('one', 'local[1]', []).conf.get('{key}'))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=job_environment({"spark.ui.enabled": "false"}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout.split() == ["false"]
