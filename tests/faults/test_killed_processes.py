"""A driver, a worker, a job that is stopped: each frame is in the sinks all the same."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numbered_frames as frames
import pytest
from deltalake import DeltaTable
from detect_job import DetectJob, Supervised
from fault_cases import Case, Size
from local_services import jars
from local_services.kafka import Kafka
from verdict import nothing_is_lost

# From the moment a batch is begun: during its inference, its sinks, its commit, or the next one.
_KILL_WITHIN_S = 4.0
_KILL_WORKER_EVERY_S = (1.0, 4.0)
# Once nothing is killed any more.
_LARGE_BATCH = 1000


@pytest.fixture
def job_with(
    root: Path, tmp_path: Path, kafka: Kafka, size: Size, rng: random.Random
) -> Callable[[int], DetectJob]:
    """Makes a job with so many frames waiting."""

    def make(count: int) -> DetectJob:
        sent = frames.send(kafka.bootstrap_servers, count, rng)
        # So many batches that each kill finds some.
        rows = count // (size.kills * 6)
        return DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, rows)

    return make


def test_a_killed_driver_loses_and_repeats_nothing(
    job_with: Callable[[int], DetectJob], case: Case, size: Size, rng: random.Random
) -> None:
    job = job_with(size.frames)
    case.expected = "Parquet and dead letters once each, Kafka at least once with equal repeats"
    pauses = [rng.uniform(0, _KILL_WITHIN_S) for _ in range(size.kills)]
    for pause_s in pauses:
        with job.running() as process:
            job.wait_for_new_batch(process)
            time.sleep(pause_s)
            job.kill(process)
    case.injected = f"{size.frames} frames, driver and JVM SIGKILLed {len(pauses)} times"

    nothing_is_lost(replace(job, batch_rows=_LARGE_BATCH), case)


@pytest.mark.slow
def test_a_killed_driver_adds_each_row_to_a_table_once(
    job_with: Callable[[int], DetectJob],
    case: Case,
    size: Size,
    rng: random.Random,
    tmp_path: Path,
) -> None:
    table = tmp_path / "table"
    all_jars = ",".join(str(jar) for jar in jars.files("kafka", "delta"))
    job = replace(
        job_with(size.frames),
        flags=("--sink", "parquet", "kafka", "delta", "--table", str(table)),
        conf={"spark.jars": all_jars},
    )
    case.expected = "as above, and once each in a Delta table, read by delta-rs"
    kills = max(3, size.kills)
    for _ in range(kills):
        with job.running() as process:
            job.wait_for_new_batch(process)
            time.sleep(rng.uniform(0, _KILL_WITHIN_S))
            job.kill(process)
    case.injected = f"{size.frames} frames, driver and JVM SIGKILLed {kills} times"

    nothing_is_lost(replace(job, batch_rows=_LARGE_BATCH), case)
    rows = DeltaTable(str(table)).to_pyarrow_table(columns=["partition", "offset"]).to_pylist()
    places = Counter((row["partition"], row["offset"]) for row in rows)
    case.found += f", {places.total()} rows in the table"
    assert places == Counter(dict.fromkeys(job.sent.numbers, 1))


@pytest.mark.full_size
def test_killed_workers_lose_and_repeat_nothing(
    job_with: Callable[[int], DetectJob], case: Case, size: Size, rng: random.Random
) -> None:
    # Spark runs a failed task again, as on a cluster; by default not in local mode.
    job = replace(job_with(size.frames), conf={"spark.master": "local[2,4]"})
    case.expected = "Parquet and dead letters once each, Kafka at least once with equal repeats"
    killed = 0
    with Supervised(job) as supervised:
        supervised.wait_for_a_batch()
        while killed < size.kills and job.rows() < len(job.sent.numbers):
            time.sleep(rng.uniform(*_KILL_WORKER_EVERY_S))
            if workers := job.workers(supervised.look()):
                # One may have ended by itself since.
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    killed += 1
    case.injected = f"{size.frames} frames, {killed} Python workers SIGKILLed"
    assert killed == size.kills, job.tail()

    nothing_is_lost(replace(job, batch_rows=_LARGE_BATCH), case)
    case.found += f", ends of the job: {supervised.codes or 'none'}"


@pytest.mark.full_size
def test_a_stopped_job_exits_with_0_and_repeats_nothing(
    job_with: Callable[[int], DetectJob], case: Case, size: Size, rng: random.Random
) -> None:
    job = job_with(size.few_frames)
    case.expected = "exit code 0 each time; once each in Parquet, dead letters and Kafka"
    codes = []
    for _ in range(max(1, size.kills // 2)):
        with job.running() as process:
            job.wait_for_new_batch(process)
            time.sleep(rng.uniform(0, _KILL_WITHIN_S))
            process.send_signal(signal.SIGTERM)
            codes.append(process.wait(90))
    case.injected = f"{size.few_frames} frames, SIGTERM {len(codes)} times"
    assert codes == [0] * len(codes), job.tail()

    found = nothing_is_lost(replace(job, batch_rows=_LARGE_BATCH), case)
    assert found.messages.total() == len(found.messages)  # Kafka too: nothing was cut off
