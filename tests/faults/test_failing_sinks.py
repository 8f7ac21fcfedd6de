"""A disk that is full or read-only, a topic that takes no results: the restart completes it."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from pathlib import Path

import numbered_frames as frames
import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from detect_job import DetectJob
from fault_cases import Case, Size
from local_services.kafka import Kafka
from small_disk import small_disk
from verdict import nothing_is_lost

_EXPECTED = "exit code 1 and why; no part of a batch is readable; the restart completes it"
_BATCH_ROWS = 40


# None that becomes read-only: Linux does that to no disk on which a file is open to be written, and
# a stream holds a file open in each of its folders (streaming/lease.py).
@pytest.mark.parametrize(
    "what", ["output", pytest.param("checkpoint", marks=pytest.mark.full_size)]
)
def test_a_disk_that_takes_no_more_fails_the_batch_and_the_restart_completes_it(
    what: str,
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    case.expected = _EXPECTED
    sent = frames.send(kafka.bootstrap_servers, min(size.few_frames, 1000), rng)
    flag = {"output": "--output", "checkpoint": "--checkpoint"}[what]
    name = {"output": "out", "checkpoint": "checkpoint"}[what]
    # One batch's Parquet has 8 KB and more, its lines in the checkpoint pages of 4 KB.
    full = "48k" if what == "output" else "96k"
    with small_disk(tmp_path / "disk", full) as disk:
        job = DetectJob(
            *(root, tmp_path, kafka.bootstrap_servers, sent, _BATCH_ROWS),
            # The last of a flag counts.
            flags=(flag, f"{disk.path}/{name}"),
            launcher=disk.launcher,
        )
        code = job.finish(300)
        said = job.last_words()
        case.injected = f"{what} on a disk that is full"
        if what == "output":
            disk.copy(name, tmp_path / "seen")
            assert_whole_batches(tmp_path / "seen", job)
        disk.remount("size=200m,rw")
        assert job.finish() == 0, job.tail()
        if what == "output":
            disk.copy(name, job.output)

    assert code == 1, job.tail()
    assert re.search("No space left|Mkdirs failed", said), said
    nothing_is_lost(job, case, is_finished=True)


def assert_whole_batches(output: Path, job: DetectJob) -> None:
    """What a reader finds after the failure is batches, each with all of its rows."""
    if not output.exists() or not list(output.glob("batch_id=*")):
        return
    found = Counter(row["batch_id"] for row in frames.rows(output, "batch_id"))
    logged = {batch["batch_id"]: batch["rows"] for batch in job.batches()}
    assert all(logged.get(batch, _BATCH_ROWS) == rows for batch, rows in found.items()), found


@pytest.mark.full_size
def test_a_topic_that_rejects_results_fails_the_batch_and_the_restart_completes_it(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case, size: Size, rng: random.Random
) -> None:
    case.injected, case.expected = "a result topic with max.message.bytes=200", _EXPECTED
    sent = frames.send(kafka.bootstrap_servers, min(size.few_frames, 1000), rng)
    job = DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, _BATCH_ROWS)
    limit(kafka, sent.results, 200)

    code = job.finish(300)

    assert code == 1
    assert "does not take a message for its size" in job.last_words()
    limit(kafka, sent.results, 1_000_000)
    nothing_is_lost(job, case)


@pytest.mark.full_size
def test_a_file_where_the_output_belongs_is_refused_and_nothing_is_lost(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case, size: Size, rng: random.Random
) -> None:
    case.injected = "a file where the folder of the output, then that of the checkpoint, belongs"
    case.expected = "exit code 1 or 2 and why; without it the job completes"
    sent = frames.send(kafka.bootstrap_servers, min(size.few_frames, 200), rng)
    job = DetectJob(root, tmp_path, kafka.bootstrap_servers, sent, _BATCH_ROWS)
    for folder in (job.output, tmp_path / "checkpoint"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_text("in the way")
        assert job.finish(120) in (1, 2)
        assert str(folder) in job.last_words()
        folder.unlink()

    nothing_is_lost(job, case)


def limit(kafka: Kafka, topic: str, max_message_bytes: int) -> None:
    """Set what the topic takes."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    entry = ConfigEntry(
        "max.message.bytes",
        str(max_message_bytes),
        incremental_operation=AlterConfigOpType.SET,
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(timeout=30)
