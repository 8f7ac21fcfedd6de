"""What all tests share: one Spark session, the others' photos and models, the demo models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from local_services import jars, s3
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec

ROOT = Path(__file__).resolve().parent.parent


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


@pytest.fixture(scope="session")
def s3_credentials() -> Iterator[s3.S3Credentials]:
    """Of this run only, in the environment: the JVM reads that once, when it starts."""
    credentials = s3.random_credentials()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)  # a developer's own profile or endpoint is for other buckets
        for name, value in credentials.environment().items():
            patch.setenv(name, value)
        yield credentials


@pytest.fixture(scope="session")
def spark(s3_credentials: s3.S3Credentials) -> Iterator[SparkSession]:
    """One session for all tests; PYSPARK_PYTHON stays unset, as for a new user."""
    os.environ.pop("PYSPARK_PYTHON", None)
    # Connectors are made for one Spark; `make test-pyspark-4.0` runs no test that needs them.
    connectors = jars.files("kafka", "s3a") if pyspark.__version__ >= "4.2" else []
    session = (
        # Two cores; a task is tried three times, as on a cluster (local[2] gives up at the first).
        SparkSession.builder.master("local[2,3]")
        .appName("tests")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.log.level", "ERROR")
        # The default of 1 GB is little for messages of 6 MB, 50 in a batch.
        .config("spark.driver.memory", "2g")
        # From the start, because all tests share one JVM and a JVM takes them only then.
        .config("spark.jars", ",".join(str(jar) for jar in connectors))
        .config("spark.hadoop.dfs.replication", "1")  # the HDFS of the tests has one DataNode
        .getOrCreate()
    )
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
