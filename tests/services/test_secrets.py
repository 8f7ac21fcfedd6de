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
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from google_accounts import Account
from local_services import jars
from local_services.gcs import Gcs
from local_services.kafka import Kafka
from local_services.pubsub import PubSub
from local_services.s3 import S3
from pictures import scene_jpeg
from planted_secrets import leaks, sasl_properties
from pubsub_topics import Topic

from pyspark_vision.sources.pubsub import messages


def submit(
    root: Path,
    event_log: Path,
    job: str,
    *arguments: object,
    settings: dict[str, str],
    conf: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """A job in a process of its own, which tells all it knows."""
    event_log.mkdir(exist_ok=True)
    settings = {
        **settings,
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": event_log.as_uri(),
        "spark.log.level": "INFO",
    }
    flags = [flag for key, value in settings.items() for flag in ("--conf", f"{key}={value}")]
    variables = {**os.environ, "PYTHONPATH": str(root), "SPARK_LOCAL_IP": "127.0.0.1"}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    return subprocess.run(
        [
            *("spark-submit", "--master", "local[2]", *flags, *conf),
            str(root / "jobs" / f"{job}.py"),
            *map(str, arguments),
        ],
        env={**variables, **(environment or {})},
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

    settings = {
        **{f"spark.hadoop.{key}": value for key, value in s3.hadoop_conf().items()},
        "spark.jars": ",".join(str(jar) for jar in jars.files("kafka", "s3a")),
    }
    run = submit(root, left / "events", "stream_detect", *arguments, settings=settings)

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
        arguments.append("--dry-run")
        planned = submit(root, left / "events", "stream_detect", *arguments, settings=settings)
        assert planned.returncode == 0
        assert "ArrowEvalPython" in planned.stdout
        printed += [planned.stdout, planned.stderr]
    assert len(list((left / "events").iterdir())) == (2 if password == "right" else 1)
    assert leaks(secrets, left, *printed) == []


@pytest.mark.slow
@pytest.mark.parametrize("refuses", [False, True])
def test_an_account_of_google_stands_in_nothing_that_a_job_leaves(
    refuses: bool, root: Path, pubsub: PubSub, gcs_server: Gcs, gcs_bucket: Any, tmp_path: Path
) -> None:
    topic = Topic(pubsub.endpoint).make()
    gcs_bucket.blob("good.jpg").upload_from_string(scene_jpeg(1), "image/jpeg")
    for name in ("good.jpg", "none.jpg"):
        notified = {"kind": "storage#object", "bucket": gcs_bucket.name, "name": name}
        topic.publish([json.dumps(notified).encode()], {"eventType": "OBJECT_FINALIZE"})
    given, left = tmp_path / "given", tmp_path / "left"
    given.mkdir()
    left.mkdir()
    hadoop = gcs_server.hadoop_conf() | {"fs.gs.auth.type": "APPLICATION_DEFAULT"}
    conf = [f"--conf=spark.hadoop.{key}={value}" for key, value in hadoop.items()]
    # With a key that was withdrawn Spark itself writes to this machine's disks.
    output = left / "out" if refuses else f"gs://{gcs_bucket.name}/out"
    arguments = [
        *("--input-source", "pubsub", "--pubsub-subscription", topic.subscription),
        *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
        *("--output-gcs-path", output, "--dead-letters", left / "letters"),
        *("--checkpoint", left / "checkpoint", "--trigger-seconds", "available-now"),
    ]

    with Account(given, refuses=refuses) as account:
        run = submit(
            root,
            left / "events",
            "stream_classify",
            *arguments,
            settings={"spark.jars": ",".join(str(jar) for jar in jars.files("gs"))},
            conf=tuple(conf),
            environment={
                **pubsub.environment(),
                "GOOGLE_APPLICATION_CREDENTIALS": str(account.file),
            },
        )
    for blob in gcs_bucket.list_blobs(prefix="out/"):
        (left / "fetched").mkdir(exist_ok=True)
        (left / "fetched" / blob.name.replace("/", "_")).write_bytes(blob.download_as_bytes())

    assert run.returncode == 0, run.stderr[-3000:]
    counted = (
        "classified 0, failed 2 (fetch_denied 2)"
        if refuses
        else "classified 1, failed 1 (fetch_not_found 1)"
    )
    assert f"images in 2, {counted}" in run.stdout
    assert account.signed  # it was asked for
    # What is acknowledged has gone from the journal; its keys are there.
    assert list((left / "checkpoint" / "_pubsub" / "acknowledged").iterdir())
    assert list((left / "events").rglob("events_*"))
    assert refuses or list((left / "fetched").iterdir())
    assert leaks(account.secrets(), left, run.stdout, run.stderr) == []


def test_the_search_for_secrets_finds_one_in_whatever_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("password=abc123")
    with pa.CompressedOutputStream(str(tmp_path / "events.zstd"), "zstd") as packed:
        packed.write(b"x" * 1000 + b"abc123")
    table = pa.table({"a": [[{"value": b"abc123"}]], "b": ["x"]})
    pq.write_table(table, tmp_path / "rows.parquet", compression="gzip")
    (tmp_path / "segment").write_bytes(messages.to_bytes(table.to_batches()[0]))
    pq.write_table(pa.table({"a": ["abc1234"[1:]]}), tmp_path / "other.parquet")

    found = leaks({"p": "abc123"}, tmp_path, "x abc123 y")

    places = [tmp_path / name for name in ("events.zstd", "log", "rows.parquet", "segment")]
    assert sorted(found) == sorted(["p in what was printed", *(f"p in {one}" for one in places)])
