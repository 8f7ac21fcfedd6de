"""Kafka clients and topics, S3 as Spark knows it."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from kafka_topics import make_topic
from local_services import gcs as local_gcs
from local_services import kafka as local_kafka
from local_services import s3 as local_s3
from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def s3(s3_server: local_s3.S3, spark: SparkSession) -> local_s3.S3:
    """An S3 server, known to the tests' Spark session as s3a://."""
    for key, value in s3_server.hadoop_conf().items():
        spark._jsc.hadoopConfiguration().set(key, value)
    return s3_server


@pytest.fixture(scope="session")
def gcs(gcs_server: local_gcs.Gcs, spark: SparkSession) -> local_gcs.Gcs:
    """A server of Cloud Storage, known to the tests' Spark session as gs://."""
    for key, value in gcs_server.hadoop_conf().items():
        spark._jsc.hadoopConfiguration().set(key, value)
    return gcs_server


@pytest.fixture(scope="session")
def new_topic(kafka: local_kafka.Kafka) -> Callable[..., str]:
    """``new_topic(partitions=2)`` makes a topic and gives its name, which no other has."""
    return functools.partial(make_topic, kafka.bootstrap_servers)


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
def s3_client(s3: local_s3.S3, s3_client: Any) -> Any:
    """All tests' own; here Spark's session knows the server, too."""
    return s3_client
