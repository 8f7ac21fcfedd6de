"""A batch that is being written, or whose writer was killed, is seen by no reader."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sinks.batch_folders import batch_folder_sink


def test_a_batch_that_is_half_written_is_read_by_neither_spark_nor_pyarrow(
    spark: SparkSession, tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    seen: dict[str, list[int]] = {}

    def write_and_look(results: DataFrame, folder: str) -> None:
        results.write.parquet(folder)
        if not (tmp_path / "out" / "batch_id=0").exists():
            return
        by_spark = spark.read.parquet(output).select("id").collect()
        by_pyarrow = pyarrow.dataset.dataset(output).to_table(columns=["id"]).to_pylist()
        seen["spark"] = sorted(row["id"] for row in by_spark)
        seen["pyarrow"] = sorted(row["id"] for row in by_pyarrow)

    sink = batch_folder_sink(spark, output, write_and_look)
    sink(spark.range(2), 0)
    sink(spark.range(2, 4), 1)

    assert seen == {"spark": [0, 1], "pyarrow": [0, 1]}
    assert sorted(row["id"] for row in spark.read.parquet(output).collect()) == [0, 1, 2, 3]
