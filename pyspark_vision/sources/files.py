"""Image files under a folder, by any URI that Spark's Hadoop file systems read.

Rows: ``origin`` (URI), ``timestamp`` (modification time), ``content`` (the file's bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Spark's binaryFile source; a stream wants its schema said.
_BINARY_FILE = StructType(
    [
        StructField("path", StringType()),
        StructField("modificationTime", TimestampType()),
        StructField("length", LongType()),
        StructField("content", BinaryType()),
    ]
)


@dataclass(frozen=True)
class FilesSource:
    """``path``: a folder, read with all below it, or one file. ``glob``: names to read.

    ``max_files_per_trigger`` bounds each micro-batch of a stream. Files must appear whole: write
    them under another name (``_part``, ``.part`` are ignored), then rename.
    """

    path: str
    glob: str = "*"
    max_files_per_trigger: int = 64


def parent_folder() -> Column:
    """The name of the folder that ``origin`` lies in: a label, a camera; null for a bare name."""
    parts = F.split("origin", "/")
    return F.get(parts, F.size(parts) - 2)


def read_files(session: SparkSession, source: FilesSource) -> DataFrame:
    """All files that are there now."""
    reader = session.read.format("binaryFile").option("recursiveFileLookup", True)
    return _named(reader.option("pathGlobFilter", source.glob).load(source.path))


def stream_files(session: SparkSession, source: FilesSource) -> DataFrame:
    """Files that are there, then new ones as they appear, each once."""
    reader = session.readStream.format("binaryFile").schema(_BINARY_FILE)
    reader = reader.option("recursiveFileLookup", True).option("pathGlobFilter", source.glob)
    reader = reader.option("maxFilesPerTrigger", source.max_files_per_trigger)
    return _named(reader.load(source.path))


def _named(files: DataFrame) -> DataFrame:
    return files.select(
        F.col("path").alias("origin"), F.col("modificationTime").alias("timestamp"), "content"
    )
