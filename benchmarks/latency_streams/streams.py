"""The streams that are compared: each a process of its own, from one topic to another.

All have the same session and the same topic (a partition for each core), take no more records in a
batch than the jobs do by default, and begin a batch as soon as the one before is done.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_services import jars

from benchmarks import models
from benchmarks.contenders.library import SESSION_CONF
from benchmarks.latency_streams.children import Child, running
from benchmarks.latency_streams.clients import Place
from benchmarks.latency_streams.names import BATCH_ROWS, CORES, OURS
from benchmarks.places import ROOT
from pyspark_vision.spark.session import job_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# The job takes no 0; a batch is longer than a millisecond anyway.
_NO_PAUSE_S = "0.001"


@dataclass(frozen=True)
class Work:
    """What the benchmark's own streams are told."""

    servers: str
    frames: str
    results: str
    checkpoint: str
    weights: str
    batch_rows: int

    @classmethod
    def from_argv(cls) -> Work:
        """Of the process's one argument."""
        return cls(**json.loads(sys.argv[1]))

    def read(self, name: str) -> DataFrame:
        """The frames as they come, by Spark's own source with its defaults, in a session of this
        name with the settings of jobs."""
        reader = job_session(name).readStream.format("kafka").option("subscribe", self.frames)
        reader = reader.option("kafka.bootstrap.servers", self.servers)
        reader = reader.option("startingOffsets", "earliest")
        return reader.option("maxOffsetsPerTrigger", self.batch_rows).load()


@contextmanager
def streaming(name: str, place: Place, cores: int = CORES) -> Iterator[Child]:
    """One of ``names.STREAMS`` until the end of the block."""
    conf = {
        "spark.master": f"local[{cores}]",
        **SESSION_CONF,
        "spark.jars": ",".join(str(jar) for jar in jars.files("kafka")),
        "spark.local.dir": str(place.folder / "spark"),
    }
    submit = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    environment = {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": shlex.join([*submit, "pyspark-shell"]),
        "PYTHONWARNINGS": "ignore",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with running(name, _command(name, place), environment) as child:
        yield child


def _command(name: str, place: Place) -> list[str]:
    checkpoint = str(place.folder / "checkpoint")
    if name == OURS:
        return [
            *(sys.executable, str(ROOT / "jobs" / "stream_classify.py")),
            *("--kafka-servers", place.servers, "--kafka-topic", place.frames),
            *("--starting-offsets", "earliest"),
            *("--max-offsets-per-trigger", str(BATCH_ROWS)),
            *("--model-type", "custom", "--model-gcs-path", str(models.CLASSIFIER)),
            *("--output-kafka-topic", place.results),
            *("--checkpoint", checkpoint, "--trigger-seconds", _NO_PAUSE_S),
        ]
    weights = str(models.keras_file())
    work = Work(place.servers, place.frames, place.results, checkpoint, weights, BATCH_ROWS)
    module = f"benchmarks.latency_streams.{name}"
    return [sys.executable, "-m", module, json.dumps(vars(work))]
