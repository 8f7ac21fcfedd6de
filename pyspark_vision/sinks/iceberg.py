"""An Iceberg table, exactly once under replay: each batch is one snapshot, known by its number.

The summary of a snapshot carries the id that the checkpoint bears (:mod:`.owner`) and the batch.
The first batch of a start, which alone may be a replay, is looked for in the table's snapshots and
left out if it is there. A new checkpoint is another writer, and several streams may fill one table.

A table that is there is appended to, also one that others made, if its columns are those of the
rows. Nothing in it is ever replaced or removed.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import StreamError
from pyspark_vision.sinks import commit_lock, owner, table_columns
from pyspark_vision.sinks.table_columns import FLAG
from pyspark_vision.spark import error_texts, hadoop, iceberg
from pyspark_vision.spark.checkpoint_logs import last_batch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink

_METADATA = "metadata"
# In the summary of a snapshot.
_CHECKPOINT, _BATCH = "pyspark_vision_checkpoint", "pyspark_vision_batch"
_OPTION = "snapshot-property."

_NAME = re.compile(r"\w+(\.\w+)+", re.ASCII)


@dataclass(frozen=True)
class IcebergTable:
    """``uri``: a folder by any Hadoop URI, or ``CATALOG.DATABASE.TABLE`` of a catalog of Spark's.

    ``partition_by``: columns of a table that is yet to be made. ``adds_columns``: the table gets
    the columns that rows have and it has not.
    """

    uri: str
    partition_by: tuple[str, ...] = ()
    adds_columns: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is named by where it is, and not by a catalog."""
        return not _NAME.fullmatch(self.uri)


def check(session: SparkSession, table: IcebergTable, schema: StructType) -> None:
    """Raise :class:`InvalidOptionError` if rows of ``schema`` cannot be appended, or not there.

    Nothing is written. Raises :class:`MissingDependencyError` if the session has no Iceberg.
    """
    iceberg.refuse_without(session)
    table_columns.refuse_partitions(table.partition_by, schema)
    if not is_there(session, table):
        if table.is_folder:
            table_columns.refuse_other_content(session, table.uri, "Iceberg")
        return
    table_columns.refuse_other_partitions(
        table.uri, _partitions(session, table), table.partition_by
    )
    there = session.table(_name(session, table)).schema
    table_columns.refuse_differences(table.uri, there, schema, adds_columns=table.adds_columns)
    table_columns.refuse_null_in(table.uri, there, schema)


def check_checkpoint(session: SparkSession, table: IcebergTable, checkpoint: str) -> None:
    """Raise :class:`InvalidOptionError` if the table has batches that the checkpoint does not know.

    That is so if the checkpoint was restored from a copy.
    """
    mark = owner.read_mark(session, checkpoint)
    if mark is None or not mark.owner or not is_there(session, table):
        return
    newest = _newest_batch(session, table, mark.owner)
    table_columns.refuse_older_checkpoint(
        table.uri, newest, checkpoint, last_batch(session, checkpoint, "offsets")
    )


def iceberg_sink(session: SparkSession, table: IcebergTable, checkpoint: str) -> Sink:
    """A sink that appends each batch to ``table`` once, however often it comes.

    The stream's places are claimed when the first batch comes: ``checkpoint`` bears its id by then.
    The sink raises :class:`StreamError` with Iceberg's reason where the table refuses a batch,
    whole.
    """
    # (the checkpoint's id, its newest batch in the table): from the first batch on.
    known: list[tuple[str, int]] = []

    def sink(results: DataFrame, batch_id: int) -> None:
        with _commit_lock(session, table):
            if not known:
                writer = owner.id_of(session, checkpoint)
                _make(session, table, results.schema)
                known.append((writer, _newest_batch(session, table, writer)))
            writer, newest = known[0]
            if batch_id <= newest:
                return
            properties = {_CHECKPOINT: writer, _BATCH: str(batch_id)}
            _append(table, results, f"batch {batch_id}", properties)

    return sink


def is_there(session: SparkSession, table: IcebergTable) -> bool:
    """Whether there is such a table."""
    if table.is_folder:
        return hadoop.exists(session, f"{table.uri}/{_METADATA}")
    return session.catalog.tableExists(table.uri)


def _name(session: SparkSession, table: IcebergTable) -> str:
    """The table in a statement of SQL, and for :meth:`SparkSession.table`."""
    if not table.is_folder:
        return ".".join(map(quoted, table.uri.split(".")))
    warehouse, _, name = hadoop.qualified(session, table.uri).rpartition("/")
    return f"{iceberg.folder_catalog(session, warehouse)}.{quoted(name)}"


def _commit_lock(session: SparkSession, table: IcebergTable) -> AbstractContextManager[None]:
    """A catalog keeps the writers of its tables apart."""
    return commit_lock.held(session, table.uri) if table.is_folder else nullcontext()


def _make(session: SparkSession, table: IcebergTable, schema: StructType) -> None:
    """The table, if it is not there; columns that it lacks, if that is wanted."""
    name = _name(session, table)
    if not is_there(session, table):
        empty = session.createDataFrame([], schema).writeTo(name)
        if table.partition_by:
            first, *others = (F.col(column) for column in table.partition_by)
            empty = empty.partitionedBy(first, *others)
        try:
            empty.create()
        except Exception:
            # Another stream may have made it in the same instant.
            if not is_there(session, table):
                raise
    if not table.adds_columns:
        return
    there = {field.name.lower() for field in session.table(name).schema}
    for field in schema:
        if field.name.lower() not in there:
            column = f"{quoted(field.name)} {field.dataType.simpleString()}"
            session.sql(f"ALTER TABLE {name} ADD COLUMN {column}")


def _append(table: IcebergTable, rows: DataFrame, shown: str, properties: dict[str, str]) -> None:
    """Append ``rows`` in one snapshot; raises :class:`StreamError` where the table refuses them."""
    # That of the batch: Spark clones a stream's, settings and all, when it starts.
    session = rows.sparkSession
    name = _name(session, table)
    given = {column.lower() for column in rows.columns}
    # What the rows have not is null there: a table may have more than one writer.
    columns = [
        (F.col(quoted(field.name)) if field.name.lower() in given else F.lit(None))
        .cast(field.dataType)
        .alias(field.name)
        for field in session.table(name).schema
    ]
    writer = rows.select(*columns).writeTo(name)
    for key, value in properties.items():
        writer = writer.option(_OPTION + key, value)
    try:
        writer.append()
    except Exception as error:
        if why := error_texts.table_refusal(str(error)):
            raise StreamError(f"{FLAG} {table.uri} refuses {shown}, whole: {why}") from None
        raise


def _partitions(session: SparkSession, table: IcebergTable) -> list[str]:
    """The names of a table's partition fields: those of the columns that they are."""
    parts = session.table(f"{_name(session, table)}.partitions")
    # Of a table without partitions there is no such column.
    return parts.select("partition.*").columns if "partition" in parts.columns else []


def _newest_batch(session: SparkSession, table: IcebergTable, checkpoint_id: str) -> int:
    """Of this checkpoint, in the snapshots that the table still keeps; -1 for none."""
    name = _name(session, table)
    session.sql(f"REFRESH TABLE {name}")  # a catalog keeps what it has loaded for a while
    snapshots = session.table(f"{name}.snapshots")
    own = snapshots.where(F.col("summary")[_CHECKPOINT] == checkpoint_id)
    newest = own.agg(F.max(F.col("summary")[_BATCH].cast("long"))).first()
    return -1 if newest is None or newest[0] is None else int(newest[0])
