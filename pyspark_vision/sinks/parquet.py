"""Parquet in ``batch_id=N`` folders, exactly once under replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark_vision.sinks.batch_folders import batch_folder_sink

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sinks import Sink


def parquet_sink(session: SparkSession, output: str) -> Sink:
    """A sink that writes each batch to ``output/batch_id=N`` (any Hadoop URI)."""
    return batch_folder_sink(
        session, output, lambda results, folder: results.write.mode("overwrite").parquet(folder)
    )
