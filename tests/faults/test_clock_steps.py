"""A wall clock that jumps while the job runs, as NTP, an operator or a resumed machine makes it."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case, Size
from local_services.kafka import Kafka
from verdict import nothing_is_lost

# Ahead by less than the hour beyond which brokers refuse a record: such a job fails, and says so.
_STEPS_S = (1800, -1800, -86_400, 0)


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    """Environment of processes whose clock :func:`step` moves."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine to build tests/faults/clock_step.c")
    library, moved = tmp_path / "clock_step.so", tmp_path / "clock"
    source = Path(__file__).with_name("clock_step.c")
    options = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", str(library), str(source), "-ldl"], check=True)
    step(moved, 0)
    return {"LD_PRELOAD": str(library), "CLOCK_STEP_FILE": str(moved)}


def step(moved: Path, seconds: int) -> None:
    """From now on the processes' clock is so many seconds ahead; in place, since it is mapped."""
    with moved.open("r+b" if moved.exists() else "wb") as file:
        file.write(struct.pack("=q", seconds))


@pytest.mark.full_size
def test_clock_steps_lose_and_repeat_nothing(
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    clock: dict[str, str],
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    case.injected = f"{size.few_frames} frames, the clock ahead by {_STEPS_S} s in turn"
    case.expected = "the job goes on; Parquet and dead letters once each, Kafka at least once"
    sent = frames.send(kafka.bootstrap_servers, size.few_frames, rng)
    rows = size.few_frames // (len(_STEPS_S) * 4)
    job = DetectJob(
        *(root, tmp_path, kafka.bootstrap_servers, sent, rows),
        flags=("--metrics-port", "auto"),
        environment=clock,
    )
    with job.running() as process:
        for seconds in _STEPS_S:
            job.wait_for_new_batch(process)
            time.sleep(rng.uniform(0, 1))
            step(Path(clock["CLOCK_STEP_FILE"]), seconds)
        job.wait_for_new_batch(process)
        assert process.poll() is None, job.tail()
        process.terminate()
        assert process.wait(90) == 0, job.tail()
    ends = [batch["age_p50_s"] for batch in job.batches() if "age_p50_s" in batch]
    # Or nothing was moved: frames are hours old, results of the moved clock a day more or less.
    assert max(ends) - min(ends) > 3600

    nothing_is_lost(job, case)
