"""Files of any Hadoop file system (s3a, hdfs, gs, …) to this machine, by the session's means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidModelError, WorkerEnvironmentError
from pyspark_vision.spark.hadoop import hadoop_path, literal
from pyspark_vision.spark.internals import JavaError, java_exception
from pyspark_vision.spark.session import active_session, is_connect

# Of a file in one row on its way from a Connect server: well below gRPC's limit of 128 MB.
_PIECE_BYTES = 4 * 1024 * 1024


def download(uri: str, target: Path) -> None:
    """Copy the file or folder at ``uri`` to ``target``; :class:`InvalidModelError` if it cannot."""
    try:
        session = active_session()
    except WorkerEnvironmentError:
        raise InvalidModelError(
            f"{uri} is read through Spark: start a SparkSession first, or give a local path"
        ) from None
    if is_connect(session):
        _by_dataframe(session, uri, target)
    else:
        _by_hadoop(session, uri, target)


def _by_hadoop(session: Any, uri: str, target: Path) -> None:
    try:
        file_system, path = hadoop_path(session, uri)
        _, local = hadoop_path(session, f"file:{target}")  # Hadoop's URIs are not escaped
        # The raw local file system: no .crc files beside the model.
        file_system.copyToLocalFile(False, path, local, True)
    except JavaError as error:
        raise InvalidModelError(f"cannot read {uri}: {java_exception(error)}") from None


def _by_dataframe(session: Any, uri: str, target: Path) -> None:
    """Under Connect no file system is at hand, but the server reads files as rows.

    Not those that are empty or whose names begin with ``.`` or ``_``: Spark passes them over.
    """
    files = session.read.format("binaryFile").option("recursiveFileLookup", True).load(literal(uri))
    last_piece = F.floor(F.greatest(F.col("length") - 1, F.lit(0)) / _PIECE_BYTES)
    pieces = files.withColumn("piece", F.explode(F.sequence(F.lit(0).cast("long"), last_piece)))
    start = (F.col("piece") * _PIECE_BYTES + 1).cast("int")
    content = F.substring("content", start, F.lit(_PIECE_BYTES))
    try:
        rows = pieces.select("path", "piece", content.alias("content")).toLocalIterator()
        for row in rows:
            file = _place(row["path"], uri, target)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("r+b" if file.exists() else "wb") as opened:
                opened.seek(row["piece"] * _PIECE_BYTES)
                opened.write(row["content"])
    except PySparkException as error:
        reason = str(error).partition("\n")[0]  # then comes the server's stack trace
        raise InvalidModelError(f"cannot read {uri}: {reason}") from None


def _place(path: str, uri: str, target: Path) -> Path:
    """Where a file found below ``uri`` belongs below ``target``; ``target`` for ``uri`` itself."""
    below = _path(path).removeprefix(_path(uri).rstrip("/")).lstrip("/")
    return target / below if below else target


def _path(uri: str) -> str:
    """Without scheme and host; Hadoop's URIs are not escaped, so ``#`` or ``%`` is itself."""
    return re.sub(r"^[^:/]+:(//[^/]*)?", "", uri)
