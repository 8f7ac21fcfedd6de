"""Streams that read the output, such as ``pyspark-vision replay``: what they will not read again.

To Spark's file source a merged file is a new one. It leaves out files that are a week (its
``maxFileAge``) older than the newest one that it has read; and merged files have the age of their
rows. So batches of that age, if all of their files were read, can be merged without it noticing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.checkpoint_logs import files_read, last_batch, plan
from pyspark_vision.spark.hadoop import exists
from pyspark_vision.streaming.compaction.plan import Batch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The default of Spark's file source.
MAX_FILE_AGE_MS = 7 * 24 * 60 * 60 * 1000

# Hadoop writes file:/, Spark's log file:///.
_FILE_SYSTEM = re.compile(r"^[a-z0-9]+:(//[^/]*)?")


# In a checkpoint of `pyspark-vision replay`: which letters of a folder it has put back.
PUT_BACK = "put_back"


@dataclass(frozen=True)
class StreamReader:
    """What a stream has read in batches that are committed: paths, and the newest's time (ms)."""

    files: frozenset[str]
    newest_ms: int

    def is_past(self, batch: Batch) -> bool:
        """Whether the stream has read the batch and reads none of it again when it is merged."""
        return batch.newest_ms < self.newest_ms - MAX_FILE_AGE_MS and all(
            _FILE_SYSTEM.sub("", file) in self.files for file in batch.files
        )


def stream_reader(session: SparkSession, checkpoint: str) -> StreamReader | None:
    """What the stream of a checkpoint has read; ``None`` if files are nothing to it.

    That is so if it has not begun, for it will read all; and of `replay`, which knows letters
    whatever file they are in. Raises :class:`InvalidOptionError` if it does not read files.
    """
    if exists(session, f"{checkpoint}/{PUT_BACK}"):
        return None
    if last_batch(session, checkpoint, "offsets") < 0:
        return None
    committed = plan(session, checkpoint, last_batch(session, checkpoint, "commits"))
    files: dict[str, int] = {}
    for source, end in enumerate(committed.ends if committed is not None else ()):
        read = files_read(session, checkpoint, source, end)
        if read is None:
            raise InvalidOptionError(f"--read-by {checkpoint} is not of a stream that reads files")
        files |= {file_path(uri): modified_ms for uri, modified_ms in read.items()}
    return StreamReader(frozenset(files), max(files.values(), default=0))


def file_path(uri: str) -> str:
    """The path of a file in a URI of Spark's, which has odd letters quoted."""
    return unquote(_FILE_SYSTEM.sub("", uri))
