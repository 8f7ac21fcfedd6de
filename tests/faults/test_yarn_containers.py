"""A stream whose driver is in a container of YARN: told to stop, and killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numbered_frames as frames
import pytest
from confluent_kafka import Consumer, TopicPartition
from detect_job import DetectJob
from fault_cases import Case, Size
from job_environment import SHORT_LIVED_ON_CLUSTERS, job_environment
from local_services import hadoop, proc
from local_services.hdfs import Hdfs
from local_services.kafka import Kafka
from local_services.process import json_from, run_once, wait_until
from local_services.yarn import Yarn
from verdict import nothing_is_lost_on_hdfs

_CONF = {
    **SHORT_LIVED_ON_CLUSTERS,
    "spark.ui.enabled": "false",
    "spark.driver.memory": "768m",
    "spark.executor.memory": "512m",
    "spark.executor.instances": "1",
}
_WITHIN_S = 3.0


@pytest.fixture
def job(
    root: Path, tmp_path: Path, kafka: Kafka, hdfs: Hdfs, size: Size, rng: random.Random
) -> DetectJob:
    """A job with its frames waiting and all that it keeps on HDFS."""
    return DetectJob(
        root,
        tmp_path,
        kafka.bootstrap_servers,
        frames.send(kafka.bootstrap_servers, size.few_frames, rng),
        size.few_frames // 60,
        storage=f"{hdfs.fs_uri}/{uuid.uuid4().hex}",
        environment={"HADOOP_CONF_DIR": str(hdfs.conf_dir)},
    )


@pytest.mark.full_size
def test_a_signalled_application_master_ends_its_batch_and_repeats_nothing(
    job: DetectJob, yarn: Yarn, hdfs: Hdfs, case: Case, size: Size, rng: random.Random
) -> None:
    case.injected = f"{size.few_frames} frames, SIGTERM to the driver's JVM in its container"
    case.expected = "the application succeeds between two batches; nothing is sent twice"
    with submitted(job, yarn) as client:
        wait_for_results(job, client)
        time.sleep(rng.uniform(0, _WITHIN_S))
        os.kill(application_master(yarn), signal.SIGTERM)
        assert client.wait(120) == 0, job.tail()
    assert last_application(yarn)["finalStatus"] == "SUCCEEDED"
    before = results_of(job)

    found = nothing_is_lost_on_hdfs(job, hdfs, case)

    assert before < len(found.messages)
    assert found.messages.total() == len(found.messages)
    case.found += f", {before} of them from YARN"


@pytest.mark.full_size
def test_a_killed_application_loses_and_repeats_nothing(
    job: DetectJob, yarn: Yarn, hdfs: Hdfs, case: Case, size: Size, rng: random.Random
) -> None:
    case.injected = f"{size.few_frames} frames, `yarn application -kill`"
    case.expected = "Parquet and dead letters once each, Kafka at least once with equal repeats"
    with submitted(job, yarn) as client:
        wait_for_results(job, client)
        time.sleep(rng.uniform(0, _WITHIN_S))
        yarn_command(yarn, "application", "-kill", last_application(yarn)["id"])
        assert client.wait(120) == 1
    assert last_application(yarn)["finalStatus"] == "KILLED"
    before = results_of(job)

    found = nothing_is_lost_on_hdfs(job, hdfs, case)

    assert before < len(found.messages)
    case.found += f", {before} of them from YARN"


@contextmanager
def submitted(job: DetectJob, yarn: Yarn) -> Iterator[subprocess.Popen[bytes]]:
    """The job in YARN's cluster mode; the process waits for its end."""
    conf = _CONF | yarn.spark_conf()
    line: Sequence[str] = [
        *(sys.executable, str(job.root / "scripts" / "submit")),
        *("--master", "yarn", "--deploy-mode", "cluster", "--python", sys.executable),
        *(word for key, value in conf.items() for word in ("--conf", f"{key}={value}")),
        *(str(job.root / "jobs" / "stream_detect.py"), "--"),
        *(*job.all_flags(), "--trigger", "0 seconds"),
    ]
    with (
        job.log.open("ab") as log,
        subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**job_environment(), "HADOOP_CONF_DIR": str(yarn.conf_dir)},
        ) as client,
    ):
        try:
            yield client
        finally:
            client.kill()


def wait_for_results(job: DetectJob, client: subprocess.Popen[bytes]) -> None:
    """Until the stream is at work."""

    def has_results() -> bool:
        assert client.poll() is None, job.tail()
        return results_of(job) > 0

    assert wait_until(has_results, timeout_s=300), job.tail()


def results_of(job: DetectJob) -> int:
    """Messages in the topic of results."""
    consumer = Consumer({"bootstrap.servers": job.servers, "group.id": uuid.uuid4().hex})
    try:
        ends = (
            consumer.get_watermark_offsets(TopicPartition(job.sent.results, partition), 30)[1]
            for partition in range(frames.PARTITIONS)
        )
        return sum(ends)
    finally:
        consumer.close()


def last_application(yarn: Yarn) -> dict[str, Any]:
    """What the ResourceManager says of the application that was submitted last."""
    answer = json_from(f"{yarn.resourcemanager_url}/ws/v1/cluster/apps")
    assert answer is not None
    newest: dict[str, Any] = max(answer["apps"]["app"], key=lambda one: one["startedTime"])
    return newest


def application_master(yarn: Yarn) -> int:
    """The process of its JVM; YARN's shell around it names the same things."""
    application = last_application(yarn)["id"].removeprefix("application_")
    commands = {pid: proc.command_line(pid) for pid, _ in proc.stats()}
    [pid] = [
        pid
        for pid, command in commands.items()
        if command.split(" ", 1)[0].endswith("/java")
        and f"container_{application}" in command
        and "yarn.ApplicationMaster" in command
    ]
    return pid


def yarn_command(yarn: Yarn, *arguments: str) -> None:
    """``yarn application …``, ``yarn container …``."""
    main_class = "yarn.client.cli.ApplicationCLI"
    command = hadoop.command(main_class, yarn.conf_dir, yarn.conf_dir.parent, *arguments)
    run_once(" ".join(arguments), command, yarn.conf_dir.parent)
