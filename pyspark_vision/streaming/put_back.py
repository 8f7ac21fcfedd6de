"""Which letters of a folder were put back: a record of the letters, not of their files.

A batch of the job that writes the letters is written again when it is replayed: the same letters
then stand in files of other names. So a letter is known by
its message (``origin`` and ``timestamp``, and by what came in where a source gives no origin), and
by which of that message's letters it is.

``CHECKPOINT/put_back/run=N`` is Parquet, written when the letters of a run have been sent: a run
that is killed before that sends its letters again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark.sql import Window
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.checkpoint_logs import files_read, last_batch, plan
from pyspark_vision.spark.hadoop import hadoop_path, list_names, literal, rename

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

IDENTITY = "letter"

# In a checkpoint of `pyspark-vision replay`: which letters of a folder it has put back.
PUT_BACK = "put_back"

# Hadoop writes file:/, Spark's log file:///.
_FILE_SYSTEM = re.compile(r"^[a-z0-9]+:(//[^/]*)?")
_IN_BATCH_FOLDER = re.compile(r"/batch_id=\d+/[^/]*$")


def with_identity(letters: DataFrame) -> DataFrame:
    """Add ``letter``: the same text wherever, and however often, a letter was written."""
    place = [F.col(name).cast("string") for name in ("topic", "partition", "offset")]
    came_in = F.sha2(F.concat_ws(",", *place, F.hex("key"), F.hex("payload")), 256)
    when = F.unix_micros("timestamp").cast("string")
    message = F.concat_ws(" ", F.coalesce("origin", came_in), when)
    same = Window.partitionBy("_message").orderBy("model", "model_sha256", "error_code")
    numbered = letters.withColumn("_message", message).withColumn(
        "_number", F.row_number().over(same)
    )
    return numbered.withColumn(IDENTITY, F.concat_ws(" #", "_message", "_number")).drop(
        "_message", "_number"
    )


def not_put_back(session: SparkSession, letters: DataFrame, checkpoint: str) -> DataFrame:
    """The letters (:func:`with_identity`) that no run has put back."""
    if not _runs(session, checkpoint):
        return letters
    done = session.read.parquet(literal(f"{checkpoint}/{PUT_BACK}")).select(IDENTITY).distinct()
    return letters.join(done, IDENTITY, "left_anti")


def remember(session: SparkSession, letters: DataFrame, checkpoint: str) -> None:
    """Note that these letters were put back."""
    runs = _runs(session, checkpoint)
    folder = f"{checkpoint}/{PUT_BACK}/run={max(runs, default=-1) + 1}"
    staging = f"{checkpoint}/_{PUT_BACK}"
    letters.select(IDENTITY).write.mode("overwrite").parquet(staging)
    file_system, parent = hadoop_path(session, f"{checkpoint}/{PUT_BACK}")
    file_system.mkdirs(parent)
    rename(session, staging, folder)


def take_over(session: SparkSession, letters: DataFrame, checkpoint: str) -> None:
    """Note what an earlier version has put back, which knew letters by their files.

    ``letters``: :func:`with_identity` and ``file``, the URI. All that a batch's folder holds now
    counts as put back if one of its files was read: the others are the same letters, written again.
    """
    if _runs(session, checkpoint) or last_batch(session, checkpoint, "offsets") < 0:
        return
    read = {_place(file) for file in _files_read(session, checkpoint)}
    files = [row["file"] for row in letters.select("file").distinct().collect()]
    done = [(file,) for file in files if _place(_path(file)) in read]
    known = session.createDataFrame(done, "file string")
    remember(session, letters.join(known, "file", "left_semi"), checkpoint)


def refuse_other_checkpoint(session: SparkSession, checkpoint: str) -> None:
    """Raise if the checkpoint is of letters in a folder: for those that come from Kafka."""
    if _runs(session, checkpoint):
        raise InvalidOptionError(
            f"`checkpoint` {checkpoint} is of letters in a folder: choose another for those of a "
            "topic"
        )


def _files_read(session: SparkSession, checkpoint: str) -> set[str]:
    """The paths that a stream of files has read in batches that are committed.

    Raises :class:`InvalidOptionError` if it does not read files.
    """
    committed = plan(session, checkpoint, last_batch(session, checkpoint, "commits"))
    paths: set[str] = set()
    for source, end in enumerate(committed.ends if committed is not None else ()):
        read = files_read(session, checkpoint, source, end)
        if read is None:
            raise InvalidOptionError(
                f"`checkpoint` {checkpoint} is of a stream that does not read files: choose another"
            )
        paths |= {_path(uri) for uri in read}
    return paths


def _path(uri: str) -> str:
    """The path of a file in a URI of Spark's, which has odd letters quoted."""
    return unquote(_FILE_SYSTEM.sub("", uri))


def _place(file: str) -> str:
    """The folder of a batch's file, as it was written whole; any other file itself."""
    return file.rpartition("/")[0] if _IN_BATCH_FOLDER.search(file) else file


def _runs(session: SparkSession, checkpoint: str) -> list[int]:
    names = list_names(session, f"{checkpoint}/{PUT_BACK}") or []
    return [int(name.removeprefix("run=")) for name in names if name.startswith("run=")]
