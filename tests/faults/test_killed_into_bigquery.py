"""stream_classify into BigQuery's emulator, killed at any moment: one row for each image."""

from __future__ import annotations

import base64
import itertools
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from bigquery_proxy import LOST_AFTER, LOST_BEFORE, RUNNING, BigQueryProxy
from bigquery_rows import PredictionTable
from bigquery_streams_proxy import BigQueryStreamsProxy
from confluent_kafka import Producer
from fault_cases import Case, Size
from job_environment import job_environment
from kafka_topics import make_topic
from local_services import jars
from local_services.bigquery import BigQuery
from local_services.kafka import Kafka
from own_session import in_own_session
from pictures import scene_jpeg

_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
}
# From the moment a batch is begun: before its job, while and after it, or in the next one.
_KILL_WITHIN_S = 3.0
_FAULTS = {LOST_BEFORE: 0.08, LOST_AFTER: 0.08, RUNNING: 0.2, "failed quotaExceeded": 0.05}
_LOST_ANSWERS = ("AppendRows", "BatchCommitWriteStreams")


@dataclass(frozen=True)
class ClassifyJob:
    """``stream_classify`` as a process of its own."""

    root: Path
    folder: Path
    flags: tuple[str, ...]
    environment: Mapping[str, str]

    @contextmanager
    def running(self, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """The job until the block ends; then nothing of it is left."""
        conf = {**_CONF, "spark.jars": ",".join(map(str, jars.files("kafka")))}
        job = [sys.executable, str(self.root / "jobs" / "stream_classify.py"), *self.flags, *flags]
        environment = {**job_environment(conf), **self.environment}
        with in_own_session(job, self.folder / "logged", environment) as process:
            yield process

    def batches(self, log: str) -> int:
        """In ``offsets`` (planned) or ``commits`` (done)."""
        files = (self.folder / "checkpoint" / log).glob("[0-9]*")
        return max((int(file.name) + 1 for file in files), default=0)

    def wait_for_new_batch(self, process: subprocess.Popen[bytes]) -> None:
        before, deadline = self.batches("offsets"), time.monotonic() + 120
        while self.batches("offsets") <= before and time.monotonic() < deadline:
            assert process.poll() is None, self.tail()
            time.sleep(0.05)

    def tail(self) -> str:
        return (self.folder / "logged").read_text(errors="replace")[-4000:]


def send_images(servers: str, count: int) -> str:
    """A topic with so many images."""
    topic = make_topic(servers)
    producer = Producer({"bootstrap.servers": servers})
    image = base64.b64encode(scene_jpeg(3)).decode()
    for number in range(count):
        producer.produce(topic, json.dumps({"image_id": str(number), "image_data": image}))
    assert producer.flush(60) == 0
    return topic


@pytest.mark.full_size
@pytest.mark.parametrize("how", ["load", "storage", "load storage"])
def test_a_driver_that_is_killed_writes_one_row_for_each_image(
    how: str,  # more than one: each start has the other
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    bigquery: BigQuery,
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    case.expected = "one row for each image"
    images = size.kills * 60
    topic = send_images(kafka.bootstrap_servers, images)
    table = PredictionTable(bigquery)
    flags = (
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--starting-offsets", "earliest", "--model-type", "custom"),
        *("--model-gcs-path", str(root / "models" / "demo-classifier")),
        *("--checkpoint", str(tmp_path / "checkpoint")),
        *("--output-bq-table", table.name),
    )
    with (
        BigQueryProxy(bigquery.rest_url) as proxy,
        BigQueryStreamsProxy(bigquery.grpc_address) as streams,
    ):
        proxy.misbehave_at_random(_FAULTS, rng.randrange(10**6))
        addresses = bigquery.environment(proxy.url, streams.address)
        job = ClassifyJob(root, tmp_path, flags, addresses)
        small_batches = ("--trigger-seconds", "0.2", "--max-offsets-per-trigger", "10")
        ways = itertools.cycle(how.split())
        for _ in range(size.kills):
            with job.running(*small_batches, "--bq-write", next(ways)) as process:
                job.wait_for_new_batch(process)
                streams.lose(rng.choice(_LOST_ANSWERS))
                time.sleep(rng.uniform(0, _KILL_WITHIN_S))
        case.injected = (
            f"{images} images, driver and JVM SIGKILLed {size.kills} times, "
            f"{'lost answers' if how == 'storage' else _FAULTS}"
        )
        rest = ("--trigger-seconds", "available-now", "--bq-write", next(ways))
        with job.running(*rest) as process:
            assert process.wait(600) == 0, job.tail()
        replayed, ids_refused = job.batches("commits"), proxy.refused

    rows = Counter(row["prediction_id"] for row in table.rows())
    case.found = (
        f"{rows.total()} rows of {len(rows)} images in {replayed} batches; the proxy refused "
        f"{ids_refused} ids, {len(proxy.jobs)} jobs"
    )
    assert set(rows.values()) == {1}
    assert len(rows) == images
