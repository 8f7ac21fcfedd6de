"""Four that claim one folder at the same time, and what becomes of each."""

from __future__ import annotations

import threading

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.spark.hadoop import list_names


def outcomes_of_four(spark: SparkSession, folder: str) -> tuple[list[str], list[str]]:
    """(owners that won, what the others were told) of four that claim a folder at once."""
    won: list[str] = []
    refused: list[str] = []
    barrier = threading.Barrier(4)

    def come(number: int) -> None:
        mark = Mark("stream_detect", "parquet", f"id-{number}", f"/checkpoints/{number}")
        barrier.wait()
        try:
            won.append(owner.claim(spark, folder, mark, "--output", adopts=False).owner)
        except InvalidOptionError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, refused


def owns_alone(spark: SparkSession, folder: str) -> None:
    """One of four has the folder, the others know whose it is, and nobody else can take it."""
    won, refused = outcomes_of_four(spark, folder)

    there = owner.read_mark(spark, folder)
    assert there is not None
    assert won == [there.owner]
    assert len(refused) == 3
    assert all("belongs to stream_detect" in said for said in refused)
    assert list_names(spark, folder) == ["_job"]
    with pytest.raises(InvalidOptionError, match="belongs to stream_detect"):
        owner.claim(spark, folder, Mark("batch_embed", "vectors"), "--output", adopts=True)
