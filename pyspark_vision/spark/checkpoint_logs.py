"""The logs of a checkpoint: files named by batches, whose first line is a version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pyspark_vision.spark.hadoop import hadoop_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Spark gathers some logs, of sources for one, in a file now and then.
_LOG_FILE = re.compile(r"(\d+)(?:\.compact)?")


def last_batch(session: SparkSession, checkpoint: str, log: str) -> int:
    """The newest batch in ``offsets`` (planned) or ``commits`` (done); -1 for none."""
    return max(map(number, log_files(session, f"{checkpoint}/{log}")), default=-1)


def number(log_file: str) -> int:
    """The batch that a file of a log is named by."""
    return int(log_file.partition(".")[0])


def log_files(session: SparkSession, log: str) -> list[str]:
    """The names of a log's files; none where there is no such folder."""
    file_system, path = hadoop_path(session, log)
    if not file_system.exists(path):
        return []
    names = [status.getPath().getName() for status in file_system.listStatus(path)]
    return [name for name in names if _LOG_FILE.fullmatch(name)]


def lines(session: SparkSession, log_file: str) -> list[str]:
    """What stands in a file of a log, below the version."""
    jvm: Any = session.sparkContext._jvm
    file_system, path = hadoop_path(session, log_file)
    stream = file_system.open(path)
    try:
        text = str(jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()
    return text.splitlines()[1:]
