"""The same job started twice on one checkpoint."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case, Size
from local_services.kafka import Kafka
from verdict import nothing_is_lost


@pytest.mark.full_size
def test_a_second_copy_is_refused_and_takes_over_when_the_first_was_killed(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case, size: Size, rng: random.Random
) -> None:
    case.expected = "exit code 2 naming the first; once it is killed a copy goes on; nothing lost"
    sent = frames.send(kafka.bootstrap_servers, size.few_frames, rng)
    job = DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, size.few_frames // 12)
    with job.running() as first:
        job.wait_for_new_batch(first)
        with job.running() as second, job.running() as third:
            codes = [one.wait(60) for one in (second, third)]
        assert first.poll() is None
        job.kill(first)
        began_at = time.monotonic()
        with job.running() as successor:
            try:
                code: int | None = successor.wait(15)
            except subprocess.TimeoutExpired:
                code = None  # it works
    case.injected = f"{size.few_frames} frames, three copies, the first SIGKILLed"
    assert codes == [2, 2], job.tail()
    assert f"process {first.pid}" in job.tail(None)
    assert code is None, job.tail()
    assert time.monotonic() - began_at < 60

    nothing_is_lost(job, case)
    case.found += f"; the copies' exit codes {codes}"
