"""Batches for the sinks of table formats, and checkpoints that have planned some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark

SCHEMA = "origin string, detections array<struct<label: string, score: float>>"


def rows(spark: SparkSession, *origins: str | None) -> DataFrame:
    made: list[Any] = [(origin, [("cat", 0.5)]) for origin in origins]
    return spark.createDataFrame(made, SCHEMA).coalesce(1)


def checkpoint(spark: SparkSession, folder: Path, owner_id: str, planned: int = -1) -> str:
    """A checkpoint that bears this id and has planned batches up to this one."""
    own = Mark("stream_detect", "checkpoint", owner_id)
    owner.claim(spark, str(folder), own, "--checkpoint", adopts=False)
    (folder / "offsets").mkdir(exist_ok=True)
    for batch_id in range(planned + 1):
        (folder / "offsets" / str(batch_id)).touch()
    return str(folder)
