"""stream_classify as a process, to be killed: Pub/Sub, Kafka in; Delta, BigQuery, Kafka out."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from announced_objects import Objects
from bigquery_rows import PredictionTable
from deltalake import DeltaTable
from image_messages import results_by_id
from job_environment import job_environment
from local_services import jars
from local_services.gcs import Gcs
from own_session import in_own_session, kill_session

_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
}


@dataclass(frozen=True)
class ObjectsJob:
    """Three sinks and dead letters; failed images are letters alone.

    ``kafka``: servers, topic in, topic out. ``input_source``: ``pubsub`` or ``both``.
    ``environment``: where the job finds BigQuery.
    """

    root: Path
    folder: Path
    objects: Objects
    gcs: Gcs
    kafka: tuple[str, str, str]
    predictions: PredictionTable
    environment: Mapping[str, str]
    input_source: str = "pubsub"

    @contextmanager
    def running(self, batch: int) -> Iterator[subprocess.Popen[bytes]]:
        """The job until the block ends; then nothing of it is left.

        ``batch``: images of a batch, of each source.
        """
        hadoop = {f"spark.hadoop.{key}": value for key, value in self.gcs.hadoop_conf().items()}
        all_jars = ",".join(str(jar) for jar in jars.files("kafka", "delta"))
        environment = job_environment({**_CONF, "spark.jars": all_jars, **hadoop})
        command = [sys.executable, str(self.root / "jobs" / "stream_classify.py")]
        command += [*self.all_flags(), "--max-offsets-per-trigger", str(batch)]
        environment |= {**self.objects.pubsub.environment(), **self.environment}
        with in_own_session(command, self.log, environment) as process:
            yield process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the driver, Python and JVM, and to the process of the source."""
        kill_session(process)

    @property
    def log(self) -> Path:
        return self.folder / "logged"

    def tail(self, characters: int = 3000) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def committed(self) -> int:
        """Batches that are done, by the newest number."""
        files = (self.folder / "checkpoint" / "commits").glob("[0-9]*")
        return max((int(file.name) + 1 for file in files), default=0)

    def wait_until_it_works(self, process: subprocess.Popen[bytes], timeout_s: float = 90) -> None:
        """Until it holds its checkpoint: the batch of a driver that was killed comes next."""
        lease, began = self.folder / "checkpoint" / "lease.lock", time.time()
        deadline = time.monotonic() + timeout_s
        while not lease.exists() or lease.stat().st_mtime < began:
            assert process.poll() is None, self.tail()
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.05)

    def wait_for_commit(self, process: subprocess.Popen[bytes], timeout_s: float = 120) -> None:
        """Until another batch is done, or the time is over: there may be nothing to read."""
        before, deadline = self.committed(), time.monotonic() + timeout_s
        while self.committed() <= before and time.monotonic() < deadline:
            assert process.poll() is None, self.tail()
            time.sleep(0.05)

    def rows(self) -> list[dict[str, Any]]:
        """The Delta table, by delta-rs: ``prediction_id``, ``image_id`` and ``object_name``."""
        table = str(self.folder / "table")
        if not DeltaTable.is_deltatable(table):
            return []
        names = ["prediction_id", "image_id", "object_name"]
        return list(DeltaTable(table).to_pyarrow_table(columns=names).to_pylist())

    def sent(self) -> dict[str, list[dict[str, Any]]]:
        """What is in the topic of results, by its key."""
        servers, _, results = self.kafka
        return results_by_id(servers, results)

    def letters(self) -> list[str]:
        """Names of objects that are dead letters; origins of what is no object."""
        prefix = f"gs://{self.objects.bucket.name}/"
        files = (self.folder / "dead").glob("batch_id=*/*.parquet")
        origins = [row for file in files for row in pq.read_table(file)["origin"].to_pylist()]
        return [
            origin.removeprefix(prefix).rpartition("#")[0] if origin.startswith(prefix) else origin
            for origin in origins
        ]

    def done(self) -> set[str]:
        """Names of objects, and ids of Kafka's images, that have a row or a letter."""
        named = {row["object_name"] or row["image_id"] for row in self.rows()}
        return named | set(self.letters())

    def unacknowledged(self) -> int:
        """How many batches the source's journal still holds: they are not acknowledged yet."""
        return len(list((self.folder / "checkpoint" / "_pubsub" / "segments").glob("[0-9]*")))

    def problems(self, image_ids: set[str]) -> list[str]:
        """What is missing, there twice, or not the same in all three.

        Each readable object and each of the ``image_ids`` that came by Kafka: one row in Delta, one
        in BigQuery, one or more in Kafka, all alike. Each other object: one letter.
        """
        rows, loaded, sent = self.rows(), self.predictions.rows(), self.sent()
        ids = {row["prediction_id"] for row in rows}
        in_delta = Counter(row["object_name"] for row in rows if row["object_name"])
        of_kafka = Counter(row["image_id"] for row in rows if row["object_name"] is None)
        in_bigquery = Counter(row["object_name"] for row in loaded if row["object_name"])
        keys = Counter(row["prediction_id"] for row in loaded)
        changed = [key for key, values in sent.items() if any(one != values[0] for one in values)]
        return [
            *_differences("rows in Delta", in_delta, self.objects.good),
            *_differences("rows in Delta of Kafka", of_kafka, image_ids),
            *_differences("rows in BigQuery", in_bigquery, self.objects.good),
            *_differences("predictions in BigQuery", keys, ids),
            *_differences("results in Kafka", Counter(list(sent)), ids),
            *([f"{len(changed)} repeats in Kafka differ, as {changed[0]}"] if changed else []),
            *_differences("letters", Counter(self.letters()), self.objects.bad),
        ]

    def all_flags(self) -> list[str]:
        """Of the job's command line, without the size of a batch."""
        servers, topic, results = self.kafka
        return [
            *("--input-source", self.input_source),
            *("--pubsub-subscription", self.objects.topic.subscription),
            *("--kafka-servers", servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--trigger-seconds", "1"),
            *("--model-type", "custom"),
            *("--model-gcs-path", str(self.root / "models" / "demo-classifier")),
            *("--table", f"{self.folder}/table", "--output-kafka-topic", results),
            *("--output-bq-table", self.predictions.name),
            *("--failures", "drop", "--dead-letters", f"{self.folder}/dead"),
            *("--checkpoint", f"{self.folder}/checkpoint"),
        ]


def _differences(what: str, found: Counter[str], expected: set[str]) -> list[str]:
    said = []
    if missing := sorted(expected - set(found)):
        said.append(f"{len(missing)} {what} missing, as {missing[0]}")
    if unknown := sorted(set(found) - expected):
        said.append(f"{len(unknown)} {what} of others, as {unknown[0]}")
    if twice := sorted(name for name, count in found.items() if count > 1):
        said.append(f"{len(twice)} {what} more than once, as {twice[0]}")
    return said
