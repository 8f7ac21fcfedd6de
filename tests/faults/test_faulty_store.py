"""An S3 server that is slow, throttles, fails, cuts bodies short, and goes away."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case, Size
from faulty_proxy import FaultyProxy
from job_environment import job_environment
from local_services import jars
from local_services.kafka import Kafka
from local_services.s3 import S3
from pictures import scene_jpeg

# How often a GET meets which fault; the rest is answered.
_FAULTS = {"throttle": 0.1, "fail": 0.1, "short": 0.1, "reset": 0.1, "slow": 0.05}

# Pictures differ in size, by which a row shows whose picture it had.
_WIDTHS = range(64, 96)


@pytest.mark.full_size
def test_rows_of_a_faulty_store_are_tried_again_and_none_is_wrong_or_lost(
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    s3_server: S3,
    s3_client: Any,
    bucket: str,
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    case.expected = "each its own picture's result, at once or when its dead letter was put back"
    for width in _WIDTHS:
        s3_client.put_object(Bucket=bucket, Key=f"{width}.jpg", Body=scene_jpeg(1, width, 64))
    widths = {number: rng.choice(_WIDTHS) for number in range(size.few_frames)}
    topic, results = frames.topics(kafka.bootstrap_servers)
    frames.produce(
        kafka.bootstrap_servers,
        topic,
        (
            (number % 2, frames.message_of(number, f"s3://{bucket}/{width}.jpg"))
            for number, width in widths.items()
        ),
    )
    places = {(number % 2, number // 2): number for number in widths}
    sent = frames.Sent(topic, results, places, frozenset())
    with FaultyProxy(s3_server.endpoint_url) as proxy:
        proxy.misbehave_at_random(_FAULTS, rng.randrange(10**6))
        store = {**s3_server.hadoop_conf(), "fs.s3a.endpoint": proxy.url}
        job = DetectJob(
            root,
            tmp_path,
            kafka.bootstrap_servers,
            sent,
            size.few_frames // 10,
            ("--payload", "uri", "--uri-prefix", f"s3://{bucket}/"),
            conf={f"spark.hadoop.{key}": value for key, value in store.items()},
        )
        with job.running("available-now") as process:
            job.wait_for_new_batch(process)
            time.sleep(rng.uniform(0, 3))
            s3_server.server.kill()
            time.sleep(size.away_s)
            s3_server.server.start()
            assert process.wait(1200) == 0, job.tail()
        case.injected = (
            f"{size.few_frames} objects, {proxy.requests} requests, {_FAULTS}, "
            f"away for {size.away_s} s"
        )
        proxy.misbehave_at_random({}, 0)
        first = frames.rows(job.output, "width")
        put_back(job, tmp_path / "replay")
        assert job.finish() == 0, job.tail()
    assert {row["error"]["code"] for row in first if row["error"]} <= {"fetch_failed"}
    every = frames.rows(job.output, "width")
    good = [row for row in every if row["error"] is None]
    failed = Counter((row["partition"], row["offset"]) for row in first if row["error"])
    retried = sum(batch["retried"] for batch in job.batches())
    case.found = (
        f"{len(first)} rows, {retried} retried, {failed.total()} failed, "
        f"{len(good)} with a result at last"
    )
    assert retried >= size.few_frames / 5  # 40% of the requests met a fault
    assert Counter((row["partition"], row["offset"]) for row in first) == Counter(
        dict.fromkeys(places, 1)
    )
    assert Counter(int(row["camera_id"]) for row in good) == Counter(dict.fromkeys(widths, 1))
    assert [row for row in good if row["width"] != widths[int(row["camera_id"])]] == []


def put_back(job: DetectJob, checkpoint: Path) -> None:
    """The job's dead letters go to the topic again."""
    conf = {"spark.jars": ",".join(map(str, jars.files("kafka"))), "spark.ui.enabled": "false"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pyspark_vision.cli.main", "replay", str(job.dead_letters)),
            *("--checkpoint", str(checkpoint), "--kafka-servers", job.servers),
        ],
        env=job_environment({"spark.master": "local[2]", **conf}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
