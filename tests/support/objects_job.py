"""stream_classify as a process: Pub/Sub (and Kafka) in, JSON and Kafka out; to be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from announced_objects import Objects
from job_environment import job_environment
from local_services import jars
from local_services.gcs import Gcs
from local_services.process import DIE_WITH_PARENT

_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
}


@dataclass(frozen=True)
class ObjectsJob:
    """``flags``: more of the job's, of further sinks; ``kafka``: servers, topic in, topic out.

    ``input_source``: ``pubsub`` or ``both``.
    """

    root: Path
    folder: Path
    objects: Objects
    gcs: Gcs
    kafka: tuple[str, str, str]
    input_source: str = "pubsub"
    flags: Sequence[str] = ()
    conf: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, trigger: str = "1") -> Iterator[subprocess.Popen[bytes]]:
        """The job until the block ends; then nothing of it is left."""
        hadoop = {f"spark.hadoop.{key}": value for key, value in self.gcs.hadoop_conf().items()}
        all_jars = ",".join(str(jar) for jar in jars.files("kafka"))
        environment = job_environment({**_CONF, "spark.jars": all_jars, **hadoop, **self.conf})
        command = [sys.executable, str(self.root / "jobs" / "stream_classify.py")]
        with (
            self.log.open("ab") as log,
            subprocess.Popen(
                [
                    *(sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid())),
                    *(*command, *self.all_flags(), "--trigger-seconds", trigger),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, **self.objects.pubsub.environment()},
                start_new_session=True,  # by which its JVM is found
            ) as process,
        ):
            try:
                yield process
            finally:
                self.kill(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the driver, Python and JVM, and to the process of the source."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def finish(self, timeout_s: float = 600) -> int:
        """Read what is left, and stop; the exit code."""
        with self.running("available-now") as process:
            return process.wait(timeout_s)

    @property
    def log(self) -> Path:
        return self.folder / "logged"

    def tail(self, characters: int = 3000) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def planned(self) -> int:
        """Batches that were begun, by the newest number."""
        files = (self.folder / "checkpoint" / "offsets").glob("[0-9]*")
        return max((int(file.name) + 1 for file in files), default=0)

    def rows(self) -> list[dict[str, Any]]:
        """The results as JSON, of finished batches."""
        lines: list[dict[str, Any]] = []
        for file in (self.folder / "out").glob("batch_id=*/*.json"):
            lines += [json.loads(line) for line in file.read_text().splitlines()]
        return lines

    def letters(self) -> list[str]:
        """Origins of dead letters."""
        files = (self.folder / "dead").glob("batch_id=*/*.parquet")
        return [row for file in files for row in pq.read_table(file)["origin"].to_pylist()]

    def done(self) -> set[str]:
        """Names of objects that have a row or a letter."""
        named = {row["object_name"] for row in self.rows() if row.get("object_name")}
        prefix = f"gs://{self.objects.bucket.name}/"
        return named | {
            letter.removeprefix(prefix).rpartition("#")[0]
            for letter in self.letters()
            if letter.startswith(prefix)
        }

    def problems(self) -> list[str]:
        """What is missing or there twice: each readable object one row, each other one letter."""
        rows = Counter(row["object_name"] for row in self.rows() if row.get("object_name"))
        prefix = f"gs://{self.objects.bucket.name}/"
        letters = Counter(
            letter.removeprefix(prefix).rpartition("#")[0] for letter in self.letters()
        )
        return [*_differences("rows", rows, self.objects.good),
                *_differences("letters", letters, self.objects.bad)]  # fmt: skip

    def all_flags(self) -> list[str]:
        """Of the job's command line, without the trigger."""
        servers, topic, results = self.kafka
        return [
            *("--input-source", self.input_source),
            *("--pubsub-subscription", self.objects.topic.subscription),
            *("--kafka-servers", servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--max-offsets-per-trigger", "50"),
            *("--model-type", "custom"),
            *("--model-gcs-path", str(self.root / "models" / "demo-classifier")),
            *("--output-gcs-path", f"{self.folder}/out", "--output-kafka-topic", results),
            *("--failures", "drop", "--dead-letters", f"{self.folder}/dead"),
            *("--checkpoint", f"{self.folder}/checkpoint"),
            *self.flags,
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
