"""Executors of a real cluster, killed while they work."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case, Size
from local_services import proc
from local_services.kafka import Kafka
from local_services.standalone import Standalone
from verdict import nothing_is_lost


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
    job = DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, size.few_frames // 12, conf=conf)
    killed = 0
    with job.running("available-now") as process:
        job.wait_for_new_batch(process)
        while process.poll() is None:
            time.sleep(rng.uniform(1, 4) if killed < size.outages + 1 else 1)
            found = executors(standalone)
            if found and killed < size.outages + 1:
                os.kill(rng.choice(found), signal.SIGKILL)
                killed += 1
    case.injected = f"{size.few_frames} frames, {killed} of 2 executors SIGKILLed in turn"
    assert killed > 0
    assert process.returncode == 0, job.tail()

    nothing_is_lost(job, case)
