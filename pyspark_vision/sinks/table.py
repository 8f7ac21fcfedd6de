"""A Parquet table in one folder, each run in place of the last one's, whole.

A run is written beside the folder under a name that readers ignore; then the old table is renamed
away and the new one into its place. A run that dies in between leaves the old table, the new one,
or none, with both beside; never half of one. (In an object store a rename is a copy: there a table
is incomplete for as long as that takes, and until the next run if the job dies meanwhile.)
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sinks.owner import Mark

# How the names of the files begin that Spark writes into a table, and of folders of batches.
TABLE_FILES, BATCH_FOLDERS = "part-", "batch_id="


def table_sink(session: SparkSession, folder: str, mark: Mark | None = None) -> Sink:
    """A sink that makes its results the table at ``folder`` (any Hadoop URI), for one batch.

    Results without rows make an empty table with all columns. ``mark`` says whose the
    table is from then on.
    """

    def sink(results: DataFrame, batch_id: int) -> None:
        file_system, path = hadoop.hadoop_path(session, folder)
        target = file_system.makeQualified(path)
        staging, previous = (
            f"{target.getParent()}/_{kind}_{target.getName()}" for kind in ("staging", "previous")
        )
        results.write.mode("overwrite").parquet(staging)
        if mark is not None:
            # Asked again: another job may have come first while this one read.
            owner.check(session, folder, mark, "`output`", adopts=True)
            hadoop.create_text(session, f"{staging}/{owner.NAME}", json.dumps(asdict(mark)))
        hadoop.delete(session, previous)
        if hadoop.exists(session, str(target)):
            hadoop.rename(session, str(target), previous)
        hadoop.rename(session, staging, str(target))
        hadoop.delete(session, previous)

    return sink


def refuse_other_files(session: SparkSession, folder: str, expected: str) -> None:
    """Raise if ``folder`` holds what does not begin with ``expected``: it is somebody else's.

    Names with ``_`` or ``.`` in front, which readers ignore, are no matter.
    """
    names = hadoop.list_names(session, folder) or []
    other = sorted(name for name in names if not name.startswith((expected, "_", ".")))
    if other:
        raise InvalidOptionError(
            f"{folder} holds {other[0]}, which is not of such a job; choose another output"
        )
