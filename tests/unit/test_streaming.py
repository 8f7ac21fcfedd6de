"""A stream's query is started anew for another model, and loses and repeats nothing by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.streaming import runner
from pyspark_vision.streaming.runner import AVAILABLE_NOW, Steps, StreamOptions

LINES = ["a", "b", "c", "d"]


def lines(spark: SparkSession, folder: Path) -> DataFrame:
    """A stream of four batches with a line each."""
    folder.mkdir()
    for number, line in enumerate(LINES):
        (folder / f"{number}.txt").write_text(line)
    return spark.readStream.option("maxFilesPerTrigger", 1).text(str(folder))


def by(records: DataFrame, model: str) -> DataFrame:
    is_good = F.col("value") != "c"
    error = F.when(~is_good, F.struct(F.lit("truncated").alias("code"), F.lit("").alias("message")))
    return records.select(
        "value",
        F.when(is_good, F.lit(model)).alias("made_by"),
        F.lit(model).alias("model"),
        error.cast(schemas.ERROR).alias("error"),
    )


@pytest.mark.parametrize("compares", [False, True])
def test_a_new_model_is_used_from_the_next_batch_on(
    compares: bool, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["small"]
    seen: list[tuple[int, str, str]] = []

    def steps(records: DataFrame, model: str) -> Steps:
        if compares:
            return Steps(records, lambda batch: by(batch, model))
        return Steps(by(records, model))

    def sink(results: DataFrame, batch_id: int) -> None:
        seen.extend((batch_id, row["value"], row["model"]) for row in results.collect())
        if batch_id == 1:
            models.append("large")

    runner.run(
        lines(spark, tmp_path / "lines"),
        steps,
        lambda: models[-1],
        {"list": sink},
        StreamOptions(str(tmp_path / "checkpoint"), AVAILABLE_NOW, stop_timeout_s=30),
        value="made_by",
        name="lines",
        words=("lines", "read"),
    )

    assert sorted(batch_id for batch_id, _, _ in seen) == [0, 1, 2, 3]
    assert sorted(line for _, line, _ in seen) == LINES
    assert [model for _, _, model in sorted(seen)] == ["small", "small", "large", "large"]
    printed = capsys.readouterr().out
    assert printed == "lines: lines in 4, read 3, failed 1 (truncated 1)\n"
