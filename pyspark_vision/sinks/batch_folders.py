"""Files, exactly once under replay: each micro-batch owns the folder ``batch_id=N``.

A batch is written beside its place under a name that readers ignore (Spark does not ignore one that
has ``=`` in it), then renamed into it; a replay replaces the folder. So every reader, not only
Spark's, finds each batch once and whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark_vision.errors import StreamError
from pyspark_vision.sinks import owner
from pyspark_vision.spark.hadoop import hadoop_path, read_text
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink


def batch_folder_sink(
    session: SparkSession, output: str, write: Callable[[DataFrame, str], None]
) -> Sink:
    """A sink that has ``write(results, folder)`` fill ``output/batch_id=N`` (any Hadoop URI).

    In a Connect session, which has no file system, ``write`` fills the folder in its place.

    The sink raises :class:`StreamError` if the folder is another's since its first batch: somebody
    has removed it, or put another in its place.
    """
    first_mark: list[str | None] = []

    def refuse_another_owner() -> None:
        mark = read_text(session, f"{output}/{owner.NAME}")
        if not first_mark:
            first_mark.append(mark)
        if mark != first_mark[0]:
            raise StreamError(
                f"{output} is no longer the folder that this job began with: its mark "
                f"{owner.NAME} is gone or another's. Nothing was written to it. Put the folder "
                "back, or start with a new checkpoint and a new output"
            )

    def sink(results: DataFrame, batch_id: int) -> None:
        if is_connect(session):
            write(results, f"{output}/batch_id={batch_id}")
            return
        refuse_another_owner()
        staging = f"{output}/_staging_{batch_id}"
        write(results, staging)
        file_system, target = hadoop_path(session, f"{output}/batch_id={batch_id}")
        file_system.delete(target, True)
        _, staged = hadoop_path(session, staging)
        if not file_system.rename(staged, target):
            raise OSError(f"cannot rename {staging} to {target}")

    return sink
