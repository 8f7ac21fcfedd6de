"""Executors of a real cluster, killed while they work."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob, Supervised
from fault_cases import Case, Size
from local_services import proc
from local_services.kafka import Kafka
from local_services.process import wait_until
from local_services.standalone import Standalone
from verdict import nothing_is_lost

# From the moment a batch is begun.
_KILL_WITHIN_S = 3.0


def executors(standalone: Standalone) -> list[int]:
    """The Java processes in which the cluster runs tasks."""
    members = [pid for worker in standalone.workers for pid in proc.members(worker.pid)]
    return [pid for pid in members if "CoarseGrainedExecutorBackend" in proc.command_line(pid)]


@pytest.mark.full_size
def test_killed_executors_lose_and_repeat_nothing(
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    standalone: Standalone,
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    case.expected = "Parquet and dead letters once each, Kafka at least once with equal repeats"
    sent = frames.send(kafka.bootstrap_servers, size.few_frames, rng)
    conf = {"spark.master": standalone.master_url, "spark.executor.memory": "512m"}
    job = DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, size.few_frames // 40, conf=conf)
    kills = size.outages + 1
    case.injected = f"{size.few_frames} frames, {kills} of 2 executors SIGKILLed in turn"
    with Supervised(job) as supervised:
        for _ in range(kills):
            supervised.wait_for_a_batch()
            time.sleep(rng.uniform(0, _KILL_WITHIN_S))
            assert wait_until(lambda: bool(executors(standalone)), timeout_s=60)
            os.kill(rng.choice(executors(standalone)), signal.SIGKILL)
        supervised.wait_for_a_batch()

    # A task that lost four executors fails the batch, as Spark has it; a supervisor starts anew.
    assert set(supervised.codes) <= {1}, job.tail()
    nothing_is_lost(job, case)
    case.found += f", {len(supervised.codes)} ends of the job"
