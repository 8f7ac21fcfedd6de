"""`pyspark-vision doctor` on real brokers, stores and a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from local_services.hdfs import Hdfs
from local_services.kafka import MESSAGE_MAX_BYTES, Kafka
from local_services.standalone import Standalone
from pyspark.sql import SparkSession

from pyspark_vision.doctor import brokers, storage
from pyspark_vision.doctor.brokers import Client
from pyspark_vision.spark.java_errors import Problem

FIVE_MIB = 5 * 1024 * 1024


@pytest.fixture
def client(kafka: Kafka) -> Client:
    return Client(kafka.bootstrap_servers)


def with_password(kafka: Kafka, password: str) -> Client:
    login = f'username="{kafka.user}" password="{password}"'
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return Client(
        kafka.sasl_bootstrap_servers,
        (
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.jaas.config", f"{module} required {login};"),
        ),
    )


def test_brokers_answer_here_and_executors_reach_them(spark: SparkSession, client: Client) -> None:
    assert brokers.connector(spark)
    assert client.servers in brokers.ports(client.servers)
    assert brokers.brokers(spark, client) == f"1 answer, announced as {client.servers}"
    assert brokers.from_executors(spark, client).endswith(f"reach {client.servers}")


def test_brokers_that_ask_for_a_password_get_it(spark: SparkSession, kafka: Kafka) -> None:
    assert brokers.brokers(spark, with_password(kafka, kafka.password)).startswith("1 answer")


def test_a_wrong_password_is_said_without_it(spark: SparkSession, kafka: Kafka) -> None:
    with pytest.raises(Problem, match="Correct user and password in the file") as problem:
        brokers.brokers(spark, with_password(kafka, "planted-password"))

    assert "planted-password" not in str(problem.value)


@pytest.mark.slow
def test_a_listener_that_asks_and_is_not_answered_is_explained(
    spark: SparkSession, kafka: Kafka
) -> None:
    with pytest.raises(Problem, match=r"Does this listener want security\.protocol"):
        brokers.brokers(spark, Client(kafka.sasl_bootstrap_servers))


def test_a_topic_is_well_if_it_takes_the_jobs_messages(
    spark: SparkSession, client: Client, topic: str
) -> None:
    text = brokers.topic(spark, client, topic, MESSAGE_MAX_BYTES)
    smaller = brokers.topic(spark, client, topic, FIVE_MIB)

    assert text == f"{topic}: 2 partitions, messages of up to {MESSAGE_MAX_BYTES} bytes"
    assert smaller == f"{text}; those above {FIVE_MIB} would be too_many_bytes"


def test_a_missing_topic_is_said(spark: SparkSession, client: Client) -> None:
    with pytest.raises(Problem, match="Create the topic, or correct its name"):
        brokers.topic(spark, client, "no-such-topic", FIVE_MIB)


def test_a_topic_that_takes_less_than_the_job_is_said(spark: SparkSession, client: Client) -> None:
    name = f"topic-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": client.servers})
    small = NewTopic(name, 1, 1, config={"max.message.bytes": "1048588"})
    admin.create_topics([small])[name].result(timeout=30)

    with pytest.raises(Problem, match=r"up to 1048588 bytes.*or say --max-message-bytes 1048588"):
        brokers.topic(spark, client, name, FIVE_MIB)


def test_a_bucket_is_written_and_read_and_left_as_it_was(
    spark: SparkSession, bucket: str, s3_client: Any
) -> None:
    s3_client.put_object(Bucket=bucket, Key="in/frame.jpg", Body=b"12345")

    assert storage.connector(spark, "s3a")
    assert "5 bytes" in storage.readable(spark, f"s3a://{bucket}/in")
    assert "read back" in storage.writable(spark, f"s3a://{bucket}/out/detections")
    assert "renames by copying" in storage.checkpoint(spark, f"s3a://{bucket}/checkpoint")

    listed = s3_client.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == ["in/frame.jpg"]


def test_a_bucket_that_is_not_there_is_said(spark: SparkSession, bucket: str) -> None:
    with pytest.raises(Problem, match="Create it, or correct the path"):
        storage.writable(spark, f"s3a://no-403-forbidden-{bucket}/out")


def test_a_checkpoint_on_hdfs_is_well(spark: SparkSession, hdfs: Hdfs) -> None:
    uri = f"{hdfs.fs_uri}/doctor/checkpoint"

    assert storage.checkpoint(spark, uri) == f"{uri}: written, renamed and deleted"


@pytest.mark.slow
def test_submitted_to_a_cluster_it_compares_the_executors_there(
    standalone: Standalone, root: Path, kafka: Kafka, topic: str
) -> None:
    unset = ("PYTHONPATH", "PYSPARK_PYTHON", "SPARK_HOME")
    done = subprocess.run(
        [
            *(sys.executable, str(root / "scripts" / "submit")),
            *("--master", standalone.master_url, "--ship-environment"),
            *("--conf", "spark.executor.memory=512m", "--conf", "spark.driver.host=127.0.0.1"),
            *("doctor", "--", "--model", str(root / "models" / "demo-detector")),
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        ],
        capture_output=True,
        text=True,
        env={
            **{name: value for name, value in os.environ.items() if name not in unset},
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    [executors] = [line for line in done.stdout.splitlines() if " executors " in line[:30]]
    assert executors.startswith("ok")
    assert "2 of 2 executors" in executors
    assert "/environment/bin/python" in executors
    assert "tensorflow" in executors.partition("the driver differs")[2]
    assert "doctor: 12 ok, 0 failed" in done.stdout
