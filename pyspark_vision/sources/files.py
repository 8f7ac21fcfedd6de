"""Image files under a folder, by Spark's own listing: for Connect sessions, which have no other.

Files that are empty, or whose names begin with ``_`` or ``.``, are out of its sight.

Rows: ``origin`` (URI), ``timestamp`` (modification time), ``content`` (the file's bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class FilesSource:
    """``path``: a folder, read with all below it, or one file. ``glob``: names to read."""

    path: str
    glob: str = "*"


def read_files(session: SparkSession, source: FilesSource) -> DataFrame:
    """All files that are there now."""
    reader = session.read.format("binaryFile").option("recursiveFileLookup", True)
    return _named(reader.option("pathGlobFilter", source.glob).load(source.path))


def _named(files: DataFrame) -> DataFrame:
    return files.select(
        F.col("path").alias("origin"), F.col("modificationTime").alias("timestamp"), "content"
    )
