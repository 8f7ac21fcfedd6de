"""What all tests share: one Spark session, others' photos and models, the demo models, services.

A service is started by the first test that wants it, once per run.
"""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyspark
import pytest
from job_environment import SHORT_LIVED
from local_services import bigquery as local_bigquery
from local_services import gcs as local_gcs
from local_services import hdfs as local_hdfs
from local_services import jars
from local_services import kafka as local_kafka
from local_services import pubsub as local_pubsub
from local_services import s3 as local_s3
from local_services import standalone as local_standalone
from local_services import yarn as local_yarn
from pyspark.sql import SparkSession
from service_folders import service_folder

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.spark import delta_lake
from pyspark_vision.spark.interrupts import interrupted_afterwards
from pyspark_vision.spark.table_packages import package_for

ROOT = Path(__file__).resolve().parent.parent

# What nohup ignores would stay ignored in the programs that tests start and send it to.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """All test modules are kept until the end: no garbage collection needs to look at them.

    The library collects after it has loaded a model; with 5,000 tests that took 0.7 s each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photos, hostile files and models by others; never part of the repository."""
    data = Path(os.environ.get("PYSPARK_VISION_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not data.is_dir():
        pytest.skip(f"no test material by others at {data}; set PYSPARK_VISION_TEST_DATA")
    return data


@pytest.fixture(scope="session", autouse=True)
def short_lived_jvms() -> Iterator[None]:
    """Each JVM that spark-submit starts, PySpark's own way included, is one for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_SUBMIT_OPTS", SHORT_LIVED)
        yield


@pytest.fixture(scope="session")
def s3_credentials() -> Iterator[local_s3.S3Credentials]:
    """Of this run only, in the environment: the JVM reads that once, when it starts."""
    credentials = local_s3.random_credentials()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)  # a developer's own profile or endpoint is for other buckets
        for name, value in credentials.environment().items():
            patch.setenv(name, value)
        yield credentials


@pytest.fixture(scope="session")
def spark(s3_credentials: local_s3.S3Credentials) -> Iterator[SparkSession]:
    """One session for all tests; PYSPARK_PYTHON stays unset, as for a new user."""
    os.environ.pop("PYSPARK_PYTHON", None)
    # hadoop-aws is made for one Hadoop, that of Spark 4.2; `make test-spark` does without stores.
    connectors = jars.files(
        *(["kafka", "s3a", "gs"] if pyspark.__version__ >= "4.2" else ["kafka"])
    )
    # Not every Spark has Delta Lake; a session takes its settings only when it is made.
    has_delta = package_for(delta_lake.PACKAGES) is not None
    connectors += jars.files("delta") if has_delta else []
    connectors += jars.files("iceberg") if "iceberg" in jars.configurations() else []
    settings: dict[str, bool | float | int | str | None] = {}
    settings |= delta_lake.SETTINGS if has_delta else {}
    builder = (
        # Two cores; a task is tried three times, as on a cluster (local[2] gives up at the first).
        SparkSession.builder.master("local[2,3]")
        .appName("tests")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.log.level", "ERROR")
        # It lives for all tests: the second compiler, which SHORT_LIVED leaves out, pays here.
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=4")
        # The default of 1 GB is little for messages of 6 MB, 50 in a batch.
        .config("spark.driver.memory", "2g")
        # From the start, because all tests share one JVM and a JVM takes them only then.
        .config("spark.jars", ",".join(str(jar) for jar in connectors))
        .config("spark.hadoop.dfs.replication", "1")  # the HDFS of the tests has one DataNode
        .config(map=settings)
    )
    with interrupted_afterwards():
        session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def detector() -> ModelSpec:
    """The demo detector that ships with the project."""
    return ModelSpec.load(ROOT / "models" / "demo-detector")


@pytest.fixture(scope="session")
def classifier() -> ModelSpec:
    """The demo classifier that ships with the project."""
    return ModelSpec.load(ROOT / "models" / "demo-classifier")


@pytest.fixture(scope="session")
def embedder() -> ModelSpec:
    """The demo embedder that ships with the project."""
    return ModelSpec.load(ROOT / "models" / "demo-embedder")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_kafka.Kafka]:
    """A broker; who kills it starts it again."""
    with (
        service_folder(tmp_path_factory, "kafka") as folder,
        local_kafka.running(folder) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def s3_server(
    tmp_path_factory: pytest.TempPathFactory, s3_credentials: local_s3.S3Credentials
) -> Iterator[local_s3.S3]:
    """An S3 server; who kills it starts it again."""
    with (
        service_folder(tmp_path_factory, "s3") as folder,
        local_s3.running(folder, s3_credentials) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def s3_client(s3_server: local_s3.S3) -> Any:
    """boto3's; it finds the credentials in the environment, as a user's would."""
    return boto3.client("s3", endpoint_url=s3_server.endpoint_url)


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """A fresh bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_pubsub.PubSub]:
    """Google's own server of Pub/Sub; who kills it starts it again, and makes what it had."""
    try:
        local_pubsub.program()
    except local_pubsub.GoMissingError as why:
        pytest.skip(str(why))
    with (
        service_folder(tmp_path_factory, "pubsub") as folder,
        local_pubsub.running(folder) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_gcs.Gcs]:
    """A server of Cloud Storage, which announces nothing."""
    with (
        service_folder(tmp_path_factory, "gcs") as folder,
        local_gcs.running(folder) as service,
    ):
        yield service


@pytest.fixture
def gcs_bucket(gcs_server: local_gcs.Gcs) -> Any:
    """A fresh bucket, as google-cloud-storage knows it."""
    return gcs_server.client().create_bucket(f"bucket-{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_hdfs.Hdfs]:
    """A file system; who kills a daemon of it starts that again."""
    with (
        service_folder(tmp_path_factory, "hdfs") as folder,
        local_hdfs.running(folder) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def standalone(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[local_standalone.Standalone]:
    """Spark's own cluster: two workers of one core."""
    with (
        service_folder(tmp_path_factory, "standalone") as folder,
        local_standalone.running(folder) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def yarn(
    tmp_path_factory: pytest.TempPathFactory, hdfs: local_hdfs.Hdfs
) -> Iterator[local_yarn.Yarn]:
    """A cluster of one node on the tests' HDFS."""
    with (
        service_folder(tmp_path_factory, "yarn") as folder,
        local_yarn.running(folder, hdfs.fs_uri) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def bigquery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_bigquery.BigQuery]:
    """An emulator of BigQuery; who kills it starts it again."""
    with (
        service_folder(tmp_path_factory, "bigquery") as folder,
        local_bigquery.running(folder) as service,
    ):
        yield service
