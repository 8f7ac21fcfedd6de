"""CSV with a header in ``batch_id=N`` folders, exactly once under replay; embeddings go wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.sinks.batch_folders import batch_folder_sink

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink


# Of our files, for who writes and who reads them. A name may begin or end with a blank, or have
# lines.
CSV_OPTIONS = {
    "header": "true",
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
    "multiLine": "true",
}


def csv_sink(session: SparkSession, output: str) -> Sink:
    """A sink that writes each batch, of flat columns, to ``output/batch_id=N``."""

    def write(results: DataFrame, folder: str) -> None:
        results.write.mode("overwrite").options(**CSV_OPTIONS).csv(folder)

    return batch_folder_sink(session, output, write)


def wide(vectors: DataFrame, length: int) -> DataFrame:
    """``origin, label, embedding`` -> ``origin, label, x0, x1, …``; a failed image has none."""
    numbers = [F.get("embedding", F.lit(i)).alias(f"x{i}") for i in range(length)]
    return vectors.select("origin", "label", *numbers)
