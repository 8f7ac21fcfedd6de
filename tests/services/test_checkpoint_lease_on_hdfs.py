"""One job at a time on a checkpoint on HDFS."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from local_services.hdfs import Hdfs
from pyspark.sql import SparkSession

from pyspark_vision import checkpoint_lease
from pyspark_vision.errors import CheckpointInUseError


def test_one_of_two_in_the_same_instant_wins_and_leaves_nothing_behind(
    spark: SparkSession, hdfs: Hdfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_lease, "PATIENCE_S", 0.5)
    checkpoint = f"{hdfs.fs_uri}/{uuid.uuid4().hex}"
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def take() -> None:
        together.wait()
        try:
            with checkpoint_lease.held(spark, checkpoint, "job", lambda reason: None):
                outcomes.append("held")
                time.sleep(3)
        except CheckpointInUseError:
            outcomes.append("refused")

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["held", "refused"]
    began_at = time.monotonic()
    with checkpoint_lease.held(spark, checkpoint, "job", lambda reason: None):
        assert time.monotonic() - began_at < 2
