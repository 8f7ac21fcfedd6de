"""The output folder of a batch job that can be stopped and started again.

``OUTPUT/batch_id=N`` holds the rows of batch N, ``OUTPUT/_job`` says which job they are of. What
is read and written here goes through Spark alone, so that it works in a Connect session too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.hadoop import hadoop_path
from pyspark_vision.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_RECORD = "_job"


def claim(session: SparkSession, output: str, settings: Mapping[str, str]) -> None:
    """Begin or go on with the job of these settings at ``output``.

    Raises :class:`InvalidOptionError` if the folder holds something else, or rows that other
    settings made: both would be mixed.
    """
    record = _read_record(session, output)
    if record is None:
        if _holds_files(session, output):
            raise InvalidOptionError(
                f"--output {output} holds something else; choose another, or --overwrite"
            )
        line = session.createDataFrame([(json.dumps(dict(settings)),)], "value string")
        line.coalesce(1).write.mode("overwrite").text(f"{output}/{_RECORD}")
        return
    other = [name for name in settings if record.get(name) != settings[name]]
    if other:
        said = ", ".join(f"{name} was {record.get(name)}, is {settings[name]}" for name in other)
        raise InvalidOptionError(
            f"--output {output} is of a job with other settings ({said}); choose another, or "
            "--overwrite"
        )


def remove(session: SparkSession, output: str) -> None:
    """Delete the folder and all that is in it."""
    if is_connect(session):
        raise InvalidOptionError(
            "--overwrite needs a file system, which a Connect session does not have: choose "
            "another --output"
        )
    file_system, path = hadoop_path(session, output)
    file_system.delete(path, True)


def _read_record(session: SparkSession, output: str) -> dict[str, str] | None:
    lines = _rows(lambda: session.read.text(f"{output}/{_RECORD}"))
    if lines is None:
        return None
    record: dict[str, str] = json.loads(lines[0][0]) if lines else {}
    return record


def _holds_files(session: SparkSession, output: str) -> bool:
    files = session.read.format("binaryFile").option("recursiveFileLookup", True)
    return bool(_rows(lambda: files.load(output).select("path").limit(1)))


def _rows(read: Callable[[], DataFrame]) -> list[Row] | None:
    """What is read, or ``None`` where nothing is."""
    try:
        return read().collect()
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return None
        raise
