"""The services, each started by the first test that wants it, once per run; topics and buckets."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services import hdfs as local_hdfs
from local_services import kafka as local_kafka
from local_services import s3 as local_s3
from local_services import standalone as local_standalone
from local_services import yarn as local_yarn
from local_services.process import wait_until
from processes import working_in
from pyspark.sql import SparkSession


@contextmanager
def service_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder in which no process works any more when the service has stopped."""
    folder = tmp_path_factory.mktemp(name)
    yield folder
    wait_until(lambda: not working_in(folder), timeout_s=5)
    assert working_in(folder) == []


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_kafka.Kafka]:
    """A broker; who kills it starts it again."""
    with (
        service_folder(tmp_path_factory, "kafka") as folder,
        local_kafka.running(folder) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def s3(
    tmp_path_factory: pytest.TempPathFactory,
    s3_credentials: local_s3.S3Credentials,
    spark: SparkSession,
) -> Iterator[local_s3.S3]:
    """An S3 server, known to the tests' Spark session as s3a://."""
    with (
        service_folder(tmp_path_factory, "s3") as folder,
        local_s3.running(folder, s3_credentials) as service,
    ):
        for key, value in service.hadoop_conf().items():
            spark._jsc.hadoopConfiguration().set(key, value)
        yield service


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_hdfs.Hdfs]:
    """A file system; who kills a daemon of it starts that again."""
    with (
        service_folder(tmp_path_factory, "hdfs") as folder,
        local_hdfs.running(folder) as service,
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
def new_topic(kafka: local_kafka.Kafka) -> Callable[..., str]:
    """``new_topic(partitions=2)`` makes a topic and gives its name, which no other has."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})

    def make(partitions: int = 2) -> str:
        name = f"topic-{uuid.uuid4().hex}"
        [made] = admin.create_topics([NewTopic(name, partitions, 1)]).values()
        made.result(timeout=30)
        # Brokers learn of a topic a moment after it is made; readers fail on one without leaders.
        assert wait_until(lambda: _has_leaders(admin, name, partitions), timeout_s=10)
        return name

    return make


@pytest.fixture
def topic(new_topic: Callable[..., str]) -> str:
    """A fresh topic with two partitions."""
    return new_topic()


@pytest.fixture
def producer(kafka: local_kafka.Kafka) -> Iterator[Producer]:
    """confluent-kafka's, for messages as large as the broker takes."""
    client = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "message.max.bytes": local_kafka.MESSAGE_MAX_BYTES,
        }
    )
    yield client
    client.flush(10)


@pytest.fixture
def consumer(kafka: local_kafka.Kafka) -> Iterator[Consumer]:
    """confluent-kafka's, in a group of its own, from the first message; the test subscribes it."""
    client = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def s3_client(s3: local_s3.S3) -> Any:
    """boto3's; it finds the credentials in the environment, as a user's would."""
    return boto3.client("s3", endpoint_url=s3.endpoint_url)


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """A fresh bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    known = admin.list_topics(topic, timeout=10).topics[topic]
    return len(known.partitions) == partitions and all(
        partition.leader >= 0 for partition in known.partitions.values()
    )
