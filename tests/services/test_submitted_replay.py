"""`replay` as a newcomer runs it: a process of its own, which brings what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import job_runs as jobs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer
from job_environment import job_environment
from local_services.kafka import Kafka


def letters(folder: Path, topic: str, payloads: list[bytes | None]) -> Path:
    """A folder of Parquet letters as the jobs leave them."""
    count = len(payloads)
    table = pa.table(
        {
            "payload": pa.array(payloads, pa.binary()),
            "key": pa.array([b"k"] * count, pa.binary()),
            "origin": [f"kafka:{topic}/0/{offset}" for offset in range(count)],
            "topic": [topic] * count,
            "partition": pa.array([0] * count, pa.int32()),
            "offset": pa.array(range(count), pa.int64()),
            "timestamp": pa.array([0] * count, pa.timestamp("us", "UTC")),
            "error_code": ["bad_message"] * count,
            "error_message": ["no JSON"] * count,
            "model": ["m"] * count,
            "model_sha256": ["0"] * count,
        }
    )
    (folder / "batch_id=0").mkdir(parents=True)
    pq.write_table(table, folder / "batch_id=0" / "part-0.parquet")
    return folder


@pytest.mark.slow
def test_replay_by_scripts_submit_brings_the_connector_and_takes_each_conf(
    root: Path, kafka: Kafka, topic: str, consumer: Consumer, tmp_path: Path
) -> None:
    folder = letters(tmp_path / "letters-é", topic, [b"one", None, "drei é".encode()])
    environment = {k: v for k, v in job_environment().items() if k not in ("LANG", "SPARK_HOME")}

    done = subprocess.run(
        [
            *(sys.executable, str(root / "scripts" / "submit"), "--master", "local[2]", "replay"),
            *("--", str(folder), "--checkpoint", str(tmp_path / "checkpoint")),
            *("--kafka-servers", kafka.bootstrap_servers, "--conf", "spark.ui.enabled=false"),
        ],
        env={**environment, "LC_ALL": "POSIX", "PYSPARK_DRIVER_PYTHON": "jupyter"},
        cwd=os.path.realpath(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "replay: 3 letters put back (bad_message 3)"
    values = [message.value() for message in jobs.consume(consumer, topic, 3)]
    assert sorted(values, key=str) == [None, b"drei \xc3\xa9", b"one"]
    assert "Traceback" not in done.stderr
