"""Frames that kill or hang the worker that decodes them: each costs its row, not the stream."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numbered_frames as frames
import pyarrow.dataset
import pytest
from detect_job import DetectJob
from fault_cases import Case, Size
from local_services.kafka import Kafka
from pictures import scene_jpeg
from poison import CRASH, HANG, KILL, poisoned_decoder

# How long a worker may say nothing; a row in a retry gets a fifth of it.
_IDLE_S = 15


@pytest.mark.full_size
def test_frames_that_kill_or_hang_their_worker_become_errors_and_the_rest_is_kept(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case, size: Size, rng: random.Random
) -> None:
    case.expected = "each poisoned frame crashed and in dead letters, the others once each"
    count, poisons = 120, (KILL, CRASH, HANG, HANG)[: size.outages + 2]
    poisoned = dict(zip(rng.sample(range(count), len(poisons)), poisons, strict=True))
    picture = scene_jpeg(1, 160, 120)
    topic, results = frames.topics(kafka.bootstrap_servers)
    messages = [
        (0, frames.message(number, picture + poisoned.get(number, b""))) for number in range(count)
    ]
    frames.produce(kafka.bootstrap_servers, topic, messages)
    sent = frames.Sent(topic, results, {(0, at): at for at in range(count)}, frozenset())
    (tmp_path / "decoder").mkdir()
    job = DetectJob(
        *(root, tmp_path, kafka.bootstrap_servers, sent, count // 4),
        conf={"spark.python.worker.idleTimeoutSeconds": str(_IDLE_S)},
        environment=poisoned_decoder(tmp_path / "decoder"),
    )
    case.injected = f"{count} frames, {dict(Counter(one.decode() for one in poisoned.values()))}"

    code = job.finish()

    found = frames.rows(job.output)
    crashed = {row["offset"] for row in found if row["error"] and row["error"]["code"] == "crashed"}
    letters = pyarrow.dataset.dataset(job.dead_letters).to_table(columns=["offset"]).to_pylist()
    slowest_s = max(batch["took_s"] for batch in job.batches())
    case.found = f"{len(found)} rows, {len(crashed)} crashed, slowest batch {slowest_s:.0f} s"
    assert code == 0, job.tail()
    assert Counter(row["offset"] for row in found) == Counter(dict.fromkeys(range(count), 1))
    assert crashed == set(poisoned)
    assert sorted(letter["offset"] for letter in letters) == sorted(poisoned)
    assert {row["offset"] for row in found if row["error"]} == set(poisoned)
