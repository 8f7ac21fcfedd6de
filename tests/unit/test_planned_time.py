"""The time that a stream's own logic goes by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.messages.planned_time import PLANNED, planned_at, with_planned_time

pytestmark = pytest.mark.every_spark

BATCHES = 4


def stream(
    spark: SparkSession, root: Path, compiled_classes: Callable[[], int]
) -> list[tuple[int, str, int]]:
    """(planned_ms, that of the checkpoint's offsets, classes compiled until then) of each batch."""
    source, checkpoint = root / "source", root / "checkpoint"
    source.mkdir()
    for number in range(BATCHES):
        (source / f"{number}.txt").write_text("a line\n")
    found = []

    def process(batch: DataFrame, batch_id: int) -> None:
        [row] = batch.select(PLANNED, F.unix_millis(planned_at()).alias("at")).collect()
        assert row["at"] == row[PLANNED]
        metadata = (checkpoint / "offsets" / str(batch_id)).read_text().splitlines()[1]
        found.append((row[PLANNED], metadata, compiled_classes()))

    lines = spark.readStream.format("text").option("maxFilesPerTrigger", 1).load(str(source))
    writer = with_planned_time(lines).writeStream.foreachBatch(process)
    query = writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
    assert query.awaitTermination(60)
    return found


def test_it_is_that_of_the_checkpoint_so_that_a_replay_has_the_same(
    spark: SparkSession, tmp_path: Path, compiled_classes: Callable[[], int]
) -> None:
    found = stream(spark, tmp_path, compiled_classes)

    assert len(found) == BATCHES
    for planned, metadata, _ in found:
        assert f'"batchTimestampMs":{planned}' in metadata


def test_no_code_is_compiled_for_a_batch_that_was_compiled_for_the_first(
    spark: SparkSession, tmp_path: Path, compiled_classes: Callable[[], int]
) -> None:
    compiled = [count for _, _, count in stream(spark, tmp_path, compiled_classes)]

    assert compiled == [compiled[0]] * BATCHES
