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


def objects(s3_client: Any, bucket: str) -> list[str]:
    """Keys, without those that s3a makes for folders."""
    listed = s3_client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [found["Key"] for found in listed if not found["Key"].endswith("/")]
