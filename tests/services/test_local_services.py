"""The services that the other tests stand on are real, survive a kill, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from local_services import s3 as local_s3
from local_services.hdfs import Hdfs
from local_services.kafka import Kafka
from local_services.proc import working_in
from local_services.process import Daemon, ServiceError, wait_until
from local_services.standalone import Standalone
from local_services.yarn import Yarn
from processes import spark_submit
from pyspark.sql import SparkSession

JOB = Path(__file__).parents[1] / "support" / "executor_folders_job.py"


def test_spark_reads_what_a_kafka_client_wrote(
    spark: SparkSession, kafka: Kafka, topic: str, producer: Producer
) -> None:
    frame = bytes(5_000_000)  # five times Kafka's default limit
    producer.produce(topic, frame, key="large")
    producer.produce(topic, b"hello", key="small")
    assert producer.flush(30) == 0

    messages = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", kafka.bootstrap_servers)
        .option("subscribe", topic)
        .load()
    )

    values = {bytes(row.key): bytes(row.value) for row in messages.collect()}
    assert values == {b"large": frame, b"small": b"hello"}


@pytest.mark.slow
def test_a_killed_broker_has_its_messages_when_it_is_back(
    kafka: Kafka, topic: str, producer: Producer, consumer: Consumer
) -> None:
    producer.produce(topic, b"before", partition=0)
    assert producer.flush(30) == 0

    kafka.broker.kill()
    kafka.broker.start()

    producer.produce(topic, b"after", partition=0)
    assert producer.flush(30) == 0
    consumer.subscribe([topic])
    values = [message.value() for message in consumer.consume(2, timeout=30)]
    assert values == [b"before", b"after"]


def test_the_brokers_other_address_asks_for_the_password(kafka: Kafka) -> None:
    assert AdminClient(kafka.sasl_conf()).list_topics(timeout=30).brokers

    errors: list[KafkaError] = []
    wrong = kafka.sasl_conf() | {"sasl.password": "wrong"}
    stranger = AdminClient(wrong | {"error_cb": errors.append})
    with pytest.raises(KafkaException):
        stranger.list_topics(timeout=3)
    stranger.poll(1)
    assert KafkaError._AUTHENTICATION in {error.code() for error in errors}


def test_spark_writes_parquet_to_s3a_and_reads_it(
    spark: SparkSession, bucket: str, s3_client: Any
) -> None:
    numbers = f"s3a://{bucket}/numbers"

    spark.range(10).write.parquet(numbers)

    assert sorted(row.id for row in spark.read.parquet(numbers).collect()) == list(range(10))
    listed = s3_client.list_objects_v2(Bucket=bucket, Prefix="numbers/")["Contents"]
    assert "numbers/_SUCCESS" in {entry["Key"] for entry in listed}
    assert sum(entry["Key"].endswith(".parquet") for entry in listed) >= 1


def test_no_credential_is_in_sparks_configuration(
    spark: SparkSession, s3: local_s3.S3, s3_credentials: local_s3.S3Credentials
) -> None:
    configured = str(spark.sparkContext.getConf().getAll())

    assert s3_credentials.access_key_id not in configured
    assert s3_credentials.secret_access_key not in configured


@pytest.mark.slow
def test_files_on_hdfs_outlive_both_daemons(spark: SparkSession, hdfs: Hdfs) -> None:
    numbers = f"{hdfs.fs_uri}/numbers"
    spark.range(10).write.parquet(numbers)

    for daemon in (hdfs.namenode, hdfs.datanode):
        daemon.kill()
    for daemon in (hdfs.namenode, hdfs.datanode):
        daemon.start()
    hdfs.wait_until_writable()

    assert sorted(row.id for row in spark.read.parquet(numbers).collect()) == list(range(10))
    spark.range(1).write.parquet(f"{hdfs.fs_uri}/more")


@pytest.mark.slow  # test_same_rows.py runs a job on it, too
def test_a_job_runs_on_both_workers_of_a_standalone_cluster(standalone: Standalone) -> None:
    printed = spark_submit(
        *("--master", standalone.master_url, str(JOB)), conf={"spark.executor.cores": "1"}
    )

    workers = {Path(line).parts[-3] for line in printed.splitlines()}
    assert workers == {"worker-0", "worker-1"}


def test_a_job_runs_in_a_container_of_yarn(yarn: Yarn) -> None:
    printed = spark_submit(
        *("--master", "yarn", "--num-executors", "1", str(JOB)),
        conf={
            **yarn.spark_conf(),
            "spark.executor.cores": "2",
            "spark.yarn.am.memory": "512m",
        },
        environment={"HADOOP_CONF_DIR": str(yarn.conf_dir)},
    )

    [container] = {Path(line).name for line in printed.splitlines()}
    assert container.startswith("container_")


def test_a_stopped_service_leaves_no_process(tmp_path: Path) -> None:
    with local_s3.running(tmp_path, local_s3.random_credentials()):
        assert len(working_in(tmp_path)) == 1

    assert working_in(tmp_path) == []


def test_a_service_dies_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from local_services import s3\n"
        "with s3.running(Path(sys.argv[1]), s3.random_credentials()):\n"
        "    print('up', flush=True); time.sleep(60)"
    )
    folder = tmp_path / "service"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        assert len(working_in(folder)) == 1
        parent.send_signal(signal.SIGKILL)

    assert wait_until(lambda: not working_in(folder), timeout_s=5)


def test_a_daemon_that_ends_at_once_says_why(tmp_path: Path) -> None:
    daemon = Daemon("broken", ["sh", "-c", "echo no such disk; exit 1"], tmp_path, lambda: False)

    with pytest.raises(ServiceError, match="(?s)broken ended while it started.*no such disk"):
        daemon.start()


def test_a_daemon_that_never_answers_is_ended(tmp_path: Path) -> None:
    daemon = Daemon("mute", ["sleep", "60"], tmp_path, lambda: False)

    with pytest.raises(ServiceError, match="mute gave no answer in 0.5 s"):
        daemon.start(timeout_s=0.5)

    assert working_in(tmp_path) == []
