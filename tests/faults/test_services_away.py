"""What a job reads from and writes to dies, comes back, or is away for a while."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob, Supervised
from fault_cases import Case, Size
from local_services.hdfs import Hdfs
from local_services.kafka import Kafka
from local_services.process import Daemon
from verdict import nothing_is_lost, nothing_is_lost_on_hdfs

# From the moment a batch is begun: during its inference, its sinks or its commit.
_BREAK_WITHIN_S = 2.0


@pytest.fixture
def job(root: Path, tmp_path: Path, kafka: Kafka, size: Size, rng: random.Random) -> DetectJob:
    """A job with its frames waiting, in batches enough for each outage to find some."""
    sent = frames.send(kafka.bootstrap_servers, size.few_frames, rng)
    rows = size.few_frames // ((size.outages + 1) * 8)
    return DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, rows)


def outages(size: Size, rng: random.Random) -> Iterator[float]:
    """How long each lasts, in seconds."""
    yield from (rng.uniform(0, 5) for _ in range(size.outages))
    yield size.away_s


@pytest.mark.full_size
def test_a_broker_that_dies_and_returns_loses_and_repeats_nothing(
    job: DetectJob, kafka: Kafka, case: Case, size: Size, rng: random.Random
) -> None:
    case.expected = "Parquet and dead letters once each, Kafka at least once with equal repeats"
    away = [round(seconds, 1) for seconds in outages(size, rng)]
    case.injected = f"{size.few_frames} frames, broker SIGKILLed and away for {away} s"
    with Supervised(job) as supervised:
        for seconds in away:
            supervised.wait_for_a_batch()
            time.sleep(rng.uniform(0, _BREAK_WITHIN_S))
            kafka.broker.kill()
            time.sleep(seconds)
            kafka.broker.start()
        supervised.wait_for_a_batch()

    assert set(supervised.codes) <= {1}, job.tail()
    nothing_is_lost(job, case)
    case.found += f", {len(supervised.codes)} ends of the job, each with 1"


@pytest.mark.parametrize("daemon", ["namenode", "datanode"])
@pytest.mark.full_size
def test_an_hdfs_daemon_that_dies_and_returns_loses_and_repeats_nothing(
    daemon: str,
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    hdfs: Hdfs,
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    case.expected = "Parquet and dead letters once each, Kafka at least once with equal repeats"
    sent = frames.send(kafka.bootstrap_servers, size.few_frames, rng)
    job = DetectJob(
        root,
        tmp_path,
        kafka.bootstrap_servers,
        sent,
        size.few_frames // ((size.outages + 1) * 8),
        storage=f"{hdfs.fs_uri}/{uuid.uuid4().hex}",
        environment={"HADOOP_CONF_DIR": str(hdfs.conf_dir)},
    )
    broken: Daemon = getattr(hdfs, daemon)
    away = [round(seconds, 1) for seconds in outages(size, rng)]
    case.injected = f"{size.few_frames} frames, {daemon} SIGKILLed and away for {away} s"
    with Supervised(job) as supervised:
        for seconds in away:
            supervised.wait_for_a_batch()
            time.sleep(rng.uniform(0, _BREAK_WITHIN_S))
            broken.kill()
            time.sleep(seconds)
            broken.start()
            hdfs.wait_until_writable()
        supervised.wait_for_a_batch()

    # 2: HDFS was away when it started; a supervisor tries again.
    assert set(supervised.codes) <= {1, 2}, job.tail()
    nothing_is_lost_on_hdfs(job, hdfs, case)
    case.found += f", ends of the job: {supervised.codes or 'none'}"
