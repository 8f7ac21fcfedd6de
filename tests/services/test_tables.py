"""Delta tables that jobs write: on S3 and HDFS, replayed, shared, refused; read by delta-rs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable as DeltaRs
from job_environment import job_environment
from local_services.hdfs import Hdfs
from local_services.kafka import Kafka
from local_services.s3 import S3
from pictures import scene_jpeg
from pyspark.sql import SparkSession

from pyspark_vision.streaming import lease


def column(table: Path | str, name: str, **storage: Any) -> Counter[Any]:
    """How often each value is in a column, by another engine than the one that wrote it."""
    values = DeltaRs(str(table), **storage).to_pyarrow_table(columns=[name])
    return Counter(values.column(name).to_pylist())


@pytest.fixture
def classify(kafka: Kafka, topic: str, tmp_path: Path) -> Callable[..., int]:
    """Runs stream_classify on what is in the topic, with its results in a table."""

    def run(table: object, *more: object, checkpoint: str = "checkpoint") -> int:
        return jobs.run(
            "stream_classify",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--trigger-seconds", "available-now"),
            *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
            *("--checkpoint", tmp_path / checkpoint, "--table", table, *more),
        )

    return run


def send(producer: Producer, topic: str, *image_ids: str) -> None:
    for image_id in image_ids:
        jobs.produce(producer, topic, json.dumps({"image_id": image_id, "image_data": "no"}))


@pytest.mark.slow
def test_a_replay_adds_nothing_to_a_table_on_s3_and_a_second_driver_is_refused_there(
    spark: SparkSession,
    s3: S3,
    bucket: str,
    classify: Callable[..., int],
    producer: Producer,
    topic: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = f"s3a://{bucket}/a table/of 100%"
    # The credentials are in the environment.
    storage = {"aws_endpoint": s3.endpoint_url, "aws_allow_http": "true"}

    def image_ids() -> Counter[Any]:
        return column(table.replace("s3a:", "s3:"), "image_id", storage_options=storage)

    send(producer, topic, "1", "2")
    assert classify(table) == 0
    # A driver that dies after its sinks and before Spark's commit leaves exactly this.
    for name in ("0", ".0.crc"):
        (tmp_path / "checkpoint" / "commits" / name).unlink()
    send(producer, topic, "3")
    assert classify(table, "--sink", "delta") == 0
    assert image_ids() == {"1": 1, "2": 1, "3": 1}
    # Not the first one's batches again: another writer with batches of its own.
    assert classify(table, checkpoint="another") == 0
    assert image_ids() == {"1": 2, "2": 2, "3": 2}

    capsys.readouterr()
    held = lease.held(spark, lease.output_lease(table), "stream_detect", pytest.fail, "a table")
    with held:
        assert classify(table) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"--table {table} is in use by stream_detect" in last


@pytest.mark.slow
def test_events_and_their_splits_are_tables_on_hdfs(
    spark: SparkSession, hdfs: Hdfs, kafka: Kafka, topic: str, producer: Producer, tmp_path: Path
) -> None:
    table = f"{hdfs.fs_uri}/tables/{tmp_path.name}/events"
    for kind in ("buy", "buy", "sell"):
        jobs.produce(producer, topic, json.dumps({"event_type": kind}))
    arguments = (
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--stream", "--trigger", "available-now", "--starting-offsets", "earliest"),
        *("--sink", "delta", "--table", table, "--table-partition-by", "event_type"),
        *("--split", "purchases=buy", "--checkpoint", tmp_path / "checkpoint"),
    )

    assert jobs.run("extract_events", *arguments) == 0
    assert jobs.run("extract_events", *arguments) == 0

    for name, expected in (("events", ["buy", "buy", "sell"]), ("events_purchases", ["buy"] * 2)):
        hdfs.shell("-get", f"{hdfs.fs_uri}/tables/{tmp_path.name}/{name}", tmp_path / name)
        assert sorted(column(tmp_path / name, "event_type").elements()) == expected
        assert DeltaRs(str(tmp_path / name)).metadata().partition_columns == ["event_type"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sink", "delta"], "--sink delta needs --table"),
        (["--sink", "kafka", "--table", "t"], "--table is for --sink delta"),
        (["--table-add-columns"], "--table-add-columns is for --sink delta"),
        (
            ["--sink", "parquet", "delta", "--output", "o", "--table", "o/t"],
            "--output o holds --table o/t",
        ),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line_before_spark_starts(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "c"]
    try:
        code = jobs.run("stream_detect", *flags, *arguments, "--dry-run")
    except SystemExit as ended:
        code = int(ended.code or 0)

    assert code == 2
    assert said in capsys.readouterr().err.replace(f"{Path.cwd()}/", "").splitlines()[-1]


@pytest.mark.slow
def test_without_the_jar_a_job_ends_with_the_line_that_brings_it(
    root: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.jpg").write_bytes(scene_jpeg(1))
    command = [
        *(sys.executable, str(root / "jobs" / "stream_detect.py"), "--input", str(frames)),
        *("--model", str(jobs.model("demo-detector")), "--checkpoint", str(tmp_path / "c")),
        *("--sink", "delta", "--table", str(tmp_path / "table"), "--trigger", "available-now"),
    ]
    environment = job_environment({"spark.ui.enabled": "false", "spark.master": "local[1]"})
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, check=False
    )

    assert done.returncode == 2
    assert "--packages io.delta:delta-spark_" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "table").exists()


@pytest.mark.slow
def test_vectors_in_a_table_go_on_where_they_were_and_failed_ones_are_made_anew(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, table = tmp_path / "images", tmp_path / "table"
    images.mkdir()
    for seed in range(3):
        (images / f"{seed}.jpg").write_bytes(scene_jpeg(seed))
    (images / "cut.jpg").write_bytes(scene_jpeg(1)[:2000])

    def embed(*more: object) -> list[str]:
        code = jobs.run(
            *("batch_embed", "--model", jobs.model("demo-embedder"), "--images", images),
            *("--settle", 0, "--sink", "delta", "--table", table, *more),
        )
        captured = capsys.readouterr()
        return [str(code), (captured.err if code else captured.out).splitlines()[-1]]

    def errors() -> Counter[str | None]:
        found = DeltaRs(str(table)).to_pyarrow_table().to_pylist()
        assert all(row["error"] or len(row["embedding"]) == 128 for row in found)
        names = [row["origin"].rpartition("/")[2] for row in found]
        assert len(set(names)) == len(names)
        return Counter(row["error"] and row["error"]["code"] for row in found)

    assert embed() == ["0", "batch_embed: images in 4, embedded 3, failed 1 (truncated 1)"]
    (images / "4.jpg").write_bytes(scene_jpeg(4))
    assert embed()[1].startswith("batch_embed: images in 1, embedded 1")
    assert errors() == {None: 4, "truncated": 1}

    (images / "cut.jpg").write_bytes(scene_jpeg(1))
    assert "embedded 1" in embed("--retry-failed")[1]
    assert errors() == {None: 5}

    code, said = embed("--normalize")
    assert code == "2"
    assert f"--table {table} is of a job with other settings (normalize was False" in said
    with pytest.raises(SystemExit):
        embed("--output", tmp_path / "o")
    assert "--output is for --sink files" in capsys.readouterr().err
