"""Credentials stand in nothing that a job leaves: log, plan, event log, error, dead letter."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import job_runs as jobs
import pytest
from confluent_kafka import Producer
from local_services import jars
from local_services.kafka import Kafka
from local_services.s3 import S3
from pictures import scene_jpeg
from planted_secrets import leaks, sasl_properties


def submit(
    root: Path, s3: S3, event_log: Path, *arguments: object, conf: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """stream_detect in a process of its own, which tells all it knows."""
    event_log.mkdir(exist_ok=True)
    all_jars = ",".join(str(jar) for jar in jars.files("kafka", "s3a"))
    settings = {
        **{f"spark.hadoop.{key}": value for key, value in s3.hadoop_conf().items()},
        "spark.jars": all_jars,
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": event_log.as_uri(),
        "spark.log.level": "INFO",
    }
    flags = [flag for key, value in settings.items() for flag in ("--conf", f"{key}={value}")]
    environment = {**os.environ, "PYTHONPATH": str(root), "SPARK_LOCAL_IP": "127.0.0.1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        [
            *("spark-submit", "--master", "local[2]", *flags, *conf),
            str(root / "jobs" / "stream_detect.py"),
            *map(str, arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("password", ["right", pytest.param("wrong", marks=pytest.mark.slow)])
def test_credentials_stand_in_nothing_that_a_job_leaves(
    password: str,
    root: Path,
    kafka: Kafka,
    s3: S3,
    s3_client: Any,
    bucket: str,
    topic: str,
    new_topic: Any,
    producer: Producer,
    tmp_path: Path,
) -> None:
    s3_client.put_object(Bucket=bucket, Key="in/1.jpg", Body=scene_jpeg(1))
    now = dt.datetime.now().isoformat()
    for name in ("1.jpg", "none.jpg"):
        message = {"image": f"s3://{bucket}/in/{name}", "timestamp": now, "camera_id": "front"}
        jobs.produce(producer, topic, json.dumps(message).encode())
    secret = kafka.password if password == "right" else "not-the-password-9f3a"
    (tmp_path / "given").mkdir()
    properties = sasl_properties(tmp_path / "given" / "kafka.properties", kafka.user, secret)
    left = tmp_path / "left"
    left.mkdir()
    arguments = [
        *("--kafka-servers", kafka.sasl_bootstrap_servers, "--kafka-topic", topic),
        *("--kafka-config", properties, "--starting-offsets", "earliest"),
        *("--payload", "uri", "--uri-prefix", f"s3://{bucket}/in", "--keep-all"),
        *("--model", jobs.model("demo-detector"), "--trigger", "available-now"),
        *("--sink", "kafka", "parquet", "console", "--output", f"s3a://{bucket}/out"),
        *("--output-kafka-topic", new_topic(), "--dead-letters", left / "letters"),
        *("--checkpoint", left / "checkpoint"),
    ]

    run = submit(root, s3, left / "events", *arguments)

    secrets = {
        "S3 secret": s3.credentials.secret_access_key,
        "S3 access key": s3.credentials.access_key_id,
        "SASL password": secret,
    }
    assert run.returncode == (0 if password == "right" else 1), run.stderr[-3000:]
    if password == "right":
        assert "frames in 2, detected 1, failed 1 (fetch_not_found 1)" in run.stdout
    else:
        # spark-submit joins the two streams of a Python driver.
        assert "stream_detect: failed: " in run.stdout
    printed = [run.stdout, run.stderr]
    if password == "right":  # a plan does not try it
        planned = submit(root, s3, left / "events", *arguments, "--dry-run")
        assert planned.returncode == 0
        assert "ArrowEvalPython" in planned.stdout
        printed += [planned.stdout, planned.stderr]
    assert len(list((left / "events").iterdir())) == (2 if password == "right" else 1)
    assert leaks(secrets, left, *printed) == []


def test_the_search_for_secrets_finds_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("password=abc123")

    assert leaks({"p": "abc123"}, tmp_path, "x abc123 y") == [
        "p in what was printed",
        f"p in {tmp_path / 'log'}",
    ]
