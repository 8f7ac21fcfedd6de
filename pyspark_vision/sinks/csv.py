"""CSV with a header in ``batch_id=N`` folders, exactly once under replay; embeddings go wide.

As RFC 4180 has it: what holds a quote, a comma or a line break stands in quotes, and a quote in it
is doubled. An empty text is ``""``, null is nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.sinks.batch_folders import batch_folder_sink
from pyspark_vision.sinks.csv_format import RFC_4180

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink


def csv_sink(session: SparkSession, output: str) -> Sink:
    """A sink that writes each batch, of flat columns, to ``output/batch_id=N``."""

    def write(results: DataFrame, folder: str) -> None:
        results.write.mode("overwrite").options(**RFC_4180).csv(folder)

    return batch_folder_sink(session, output, write)


def wide(vectors: DataFrame, length: int) -> DataFrame:
    """``origin, label, embedding`` -> ``origin, label, x0, x1, …``; a failed image has none."""
    numbers = [F.get("embedding", F.lit(i)).alias(f"x{i}") for i in range(length)]
    return vectors.select("origin", "label", *numbers)
