"""Files, exactly once under replay: each micro-batch owns the folder ``batch_id=N``.

A batch is written beside its place under a name that readers ignore (Spark does not ignore one that
has ``=`` in it), then renamed into it; a replay replaces the folder. So every reader, not only
Spark's, finds each batch once and whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.hadoop import hadoop_path
from pyspark_vision.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink


def batch_folder_sink(
    session: SparkSession, output: str, write: Callable[[DataFrame, str], None]
) -> Sink:
    """A sink that has ``write(results, folder)`` fill ``output/batch_id=N`` (any Hadoop URI).

    In a Connect session, which has no file system, ``write`` fills the folder in its place.
    """

    def sink(results: DataFrame, batch_id: int) -> None:
        if is_connect(session):
            write(results, f"{output}/batch_id={batch_id}")
            return
        staging = f"{output}/_staging_{batch_id}"
        write(results, staging)
        file_system, target = hadoop_path(session, f"{output}/batch_id={batch_id}")
        file_system.delete(target, True)
        _, staged = hadoop_path(session, staging)
        if not file_system.rename(staged, target):
            raise OSError(f"cannot rename {staging} to {target}")

    return sink


def refuse_other_output(session: SparkSession, output: str, checkpoint: str) -> None:
    """Raise if ``output`` holds batches and ``checkpoint`` is new.

    Batch numbers start again at 0 with a new checkpoint: the new run would overwrite the old one's
    folders, one after the other.
    """
    file_system, offsets = hadoop_path(session, f"{checkpoint}/offsets")
    if file_system.exists(offsets):
        return
    file_system, batches = hadoop_path(session, f"{output}/batch_id=*")
    if file_system.globStatus(batches):
        raise InvalidOptionError(
            f"{output} holds batches of an earlier run, and --checkpoint {checkpoint} is new: they "
            "would be overwritten. Choose a new output, or the checkpoint of that run"
        )
