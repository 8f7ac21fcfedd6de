"""One job at a time on a checkpoint on HDFS, or in an object store."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from typing import Any

import pytest
from lease_race import outcomes_of_two
from local_services.hdfs import Hdfs
from pyspark.sql import SparkSession

from pyspark_vision.errors import CheckpointInUseError
from pyspark_vision.job import outputs
from pyspark_vision.job.outputs import Output, StreamPlaces
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.spark.hadoop import create_text, read_text
from pyspark_vision.streaming import lease


def test_on_hdfs_one_of_two_in_the_same_instant_wins_and_leaves_nothing_behind(
    spark: SparkSession, hdfs: Hdfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.5)
    checkpoint = f"{hdfs.fs_uri}/{uuid.uuid4().hex}"

    assert outcomes_of_two(spark, checkpoint, held_s=3.0) == ["held", "refused"]
    began_at = time.monotonic()
    with lease.held(spark, checkpoint, "job", lambda reason: None):
        assert time.monotonic() - began_at < 2


@pytest.mark.slow
def test_in_an_object_store_one_of_two_in_the_same_instant_wins_and_leaves_nothing_behind(
    spark: SparkSession, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.5)
    checkpoint = f"s3a://{bucket}/checkpoint"

    assert outcomes_of_two(spark, checkpoint, held_s=5.0) == ["held", "refused"]
    began_at = time.monotonic()
    with lease.held(spark, checkpoint, "job", lambda reason: None):
        assert time.monotonic() - began_at < 4
        assert objects(s3_client, bucket) == ["checkpoint/lease/1"]
    assert objects(s3_client, bucket) == []


def test_in_an_object_store_the_lease_of_another_machine_is_taken_when_nobody_renews_it(
    spark: SparkSession, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.5)
    monkeypatch.setattr(lease, "STALE_AFTER_S", 2.0)
    other = dataclasses.replace(lease._this_process(spark, "job"), machine="other", host="far")
    body = json.dumps(dataclasses.asdict(other)).encode()
    s3_client.put_object(Bucket=bucket, Key="checkpoint/lease/7", Body=body)

    began_at = time.monotonic()
    with lease.held(spark, f"s3a://{bucket}/checkpoint", "job", lambda reason: None):
        assert time.monotonic() - began_at > 2
        assert objects(s3_client, bucket) == ["checkpoint/lease/8"]


@pytest.mark.slow
def test_on_hdfs_a_copy_of_a_checkpoint_is_refused_at_the_output_of_its_original(
    spark: SparkSession, hdfs: Hdfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.5)

    refuses_a_copy(spark, f"{hdfs.fs_uri}/{uuid.uuid4().hex}")


@pytest.mark.slow
def test_in_an_object_store_a_copy_of_a_checkpoint_is_refused_at_the_output_of_its_original(
    spark: SparkSession, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.5)

    refuses_a_copy(spark, f"s3a://{bucket}")
    assert [key for key in objects(s3_client, bucket) if "lease" in key] == []


def refuses_a_copy(spark: SparkSession, root: str) -> None:
    """A copy, marks and all, waits for its original to end, and then goes on where that was."""
    out = Output("--output", f"{root}/out", "parquet")
    first, copy = (
        StreamPlaces("stream_detect", f"{root}/{name}", (out,)) for name in ("checkpoint", "copy")
    )
    with outputs.held(spark, first, print):
        parquet_sink(spark, out.folder)(spark.range(2), 0)
        for name in ("_job", "offsets/0"):
            text = read_text(spark, f"{root}/checkpoint/{name}") or "v1\n"
            assert create_text(spark, f"{root}/copy/{name}", text)
        with (
            pytest.raises(
                CheckpointInUseError, match=f"--output {root}/out is in use by stream_detect"
            ),
            outputs.held(spark, copy, print),
        ):
            pytest.fail("both write there")
    with outputs.held(spark, copy, print):
        assert spark.read.parquet(out.folder).count() == 2


def objects(s3_client: Any, bucket: str) -> list[str]:
    """Keys, without those that s3a makes for folders."""
    listed = s3_client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [found["Key"] for found in listed if not found["Key"].endswith("/")]
