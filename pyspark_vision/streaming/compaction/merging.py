"""Many batches' rows in few files, in their order, and a look at whether all have come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.hadoop import hadoop_path, statuses
from pyspark_vision.streaming.compaction.listing import Contents, list_batches, read_contents
from pyspark_vision.streaming.compaction.plan import Group

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def merge(
    session: SparkSession, group: Group, contents: Mapping[int, Contents], new_root: str
) -> None:
    """Write the rows of ``group`` to ``new_root/batch_id=<the highest>``, by batch, file and place.

    The files get the time of the newest one that is in them: what goes by age, as retention and
    the ``maxFileAge`` of Spark's streams do, is to see the age of the rows.
    """
    rows = session.read.option("recursiveFileLookup", True).parquet(
        *(batch.folder for batch in group.batches if batch.files)
    )
    place = F.col("_metadata")
    batch_id = F.regexp_extract(place["file_path"], r"/batch_id=(\d+)/[^/]*$", 1).cast("long")
    ordered = rows.coalesce(group.files).sortWithinPartitions(
        batch_id, place["file_name"], place["row_index"]
    )
    codecs = [contents[batch.batch_id].codec for batch in group.batches if batch.files]
    known = [codec for codec in codecs if codec]
    writer = ordered.write.option("compression", known[-1]) if known else ordered.write
    folder = f"{new_root}/batch_id={group.up_to}"
    writer.parquet(folder)
    newest_ms = max(batch.newest_ms for batch in group.batches)
    for file in statuses(session, folder):
        file_system, path = hadoop_path(session, file.uri)
        file_system.setTimes(path, newest_ms, -1)


def check(
    session: SparkSession,
    merged: list[Group],
    contents: Mapping[int, Contents],
    new_root: str,
) -> None:
    """Raise :class:`InvalidOptionError` unless the merged folders have the rows and columns.

    By the footers of the files, which are read again, not by what the writer says.
    """
    found = read_contents(session, list_batches(session, new_root))
    for group in merged:
        parts = [contents[batch.batch_id] for batch in group.batches if batch.files]
        rows, schema = sum(part.rows for part in parts), parts[0].schema
        whole = found[group.up_to]
        if (whole.rows, whole.schema) != (rows, schema):
            raise InvalidOptionError(
                f"batches {group.batches[0].batch_id} to {group.up_to} have {rows} rows of "
                f"{schema}, merged they would have {whole.rows} of {whole.schema}: nothing was "
                "changed. Give the --conf settings that the job has"
            )
