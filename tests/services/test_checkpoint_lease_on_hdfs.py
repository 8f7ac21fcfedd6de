"""One job at a time on a checkpoint on HDFS."""

from __future__ import annotations

import time
import uuid

import pytest
from lease_race import outcomes_of_two
from local_services.hdfs import Hdfs
from pyspark.sql import SparkSession

from pyspark_vision import checkpoint_lease


def test_one_of_two_in_the_same_instant_wins_and_leaves_nothing_behind(
    spark: SparkSession, hdfs: Hdfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_lease, "PATIENCE_S", 0.5)
    checkpoint = f"{hdfs.fs_uri}/{uuid.uuid4().hex}"

    assert outcomes_of_two(spark, checkpoint, held_s=3.0) == ["held", "refused"]
    began_at = time.monotonic()
    with checkpoint_lease.held(spark, checkpoint, "job", lambda reason: None):
        assert time.monotonic() - began_at < 2
