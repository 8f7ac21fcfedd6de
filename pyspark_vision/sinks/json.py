"""JSON lines in ``batch_id=N`` folders, exactly once under replay; binary columns are base64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark_vision.sinks.batch_folders import batch_folder_sink

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink


def json_sink(session: SparkSession, output: str) -> Sink:
    """A sink that writes each batch to ``output/batch_id=N``; null fields are written as null."""

    def write(results: DataFrame, folder: str) -> None:
        results.write.mode("overwrite").option("ignoreNullFields", False).json(folder)

    return batch_folder_sink(session, output, write)
