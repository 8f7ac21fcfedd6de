"""Batches for the sinks of table formats, and checkpoints that have planned some."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
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


def lock_while_written(spark: SparkSession, table: Path) -> DataFrame:
    """A row whose ``origin`` is, when it is made, whether the table's lock is held by another."""

    def looked_at(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            frame["origin"] = "free"
            try:
                with open(table / "_lease" / "commit.lock", encoding="utf-8") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except FileNotFoundError:
                frame["origin"] = "none"
            except BlockingIOError:
                frame["origin"] = "held"
            yield frame

    plain = rows(spark, "a").select("origin")
    return plain.mapInPandas(looked_at, "origin string")
