"""A Delta table, exactly once under replay: each micro-batch is one commit, known by its number.

The commit carries ``txnAppId``, the id that the checkpoint bears and not its path
(:mod:`pyspark_vision.sinks.owner`), and ``txnVersion``, the batch: Delta leaves out what it has of
them already. So a replay adds nothing, a new checkpoint is another writer, and several streams may
fill one table.

A table that is there is appended to, also one that others made, if its columns are those of the
rows. Nothing in it is ever replaced or removed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sinks import commit_lock, delta_log, owner, table_columns
from pyspark_vision.sinks.table_columns import FLAG
from pyspark_vision.spark import delta_lake, error_texts, hadoop
from pyspark_vision.spark.checkpoint_logs import last_batch, planned_ms
from pyspark_vision.spark.internals import JavaError
from pyspark_vision.spark.java_errors import in_a_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from pyspark_vision.sinks import Sink

# In a commit's userMetadata, which DESCRIBE HISTORY shows.
_CHECKPOINT, _BATCH = "pyspark_vision_checkpoint", "batch_id"

# A property that lets a table forget the numbers of batches; by itself it keeps them.
_RETENTION = "delta.setTransactionRetentionDuration"

# A view, while rows are removed.
_GONE = "pyspark_vision_gone"

# Of two streams that make a table, or add columns to it, in one instant the later looks again.
_TRIES, _PAUSE_S = 4, 0.5
# Delta's S3SingleDriverLogStore is for these (delta-storage 4.4.0).
_ONE_DRIVER = ("s3", "s3a", "s3n")


@dataclass(frozen=True)
class DeltaTable:
    """``uri``: any Hadoop URI. ``partition_by``: columns of a table that is yet to be made.

    ``adds_columns``: the table gets the columns that rows have and it has not.
    """

    uri: str
    partition_by: tuple[str, ...] = ()
    adds_columns: bool = False


def check(session: SparkSession, table: DeltaTable, schema: StructType) -> None:
    """Raise :class:`InvalidOptionError` if rows of ``schema`` cannot be appended, or not there.

    Nothing is written. Raises as :func:`pyspark_vision.spark.delta_lake.refuse_without`, too.
    """
    delta_lake.refuse_without(session)
    table_columns.refuse_partitions(table.partition_by, schema)
    if not is_there(session, table.uri):
        # A first commit that was cut short leaves its log's folder.
        if not hadoop.exists(session, f"{table.uri}/{delta_log.FOLDER}"):
            table_columns.refuse_other_content(session, table.uri, "Delta")
        _refuse_inside_another(session, table.uri)
        return
    filled: frozenset[str] = frozenset()
    try:
        _refuse_cut_commit(session, table.uri)
        there = session.read.format("delta").load(table.uri).schema
        _refuse_other_partitions(session, table)
        if any(not field.nullable for field in there):
            filled = delta_log.filled_columns(session, table.uri)
    except (JavaError, PySparkException) as error:
        why = error_texts.table_refusal(str(error)) or in_a_line(error)
        raise InvalidOptionError(
            f"{FLAG} {table.uri} cannot be read as a Delta table: {why}"
        ) from None
    table_columns.refuse_differences(
        table.uri, there, schema, adds_columns=table.adds_columns, filled=filled
    )


def check_checkpoint(session: SparkSession, table: DeltaTable, checkpoint: str) -> None:
    """Raise :class:`InvalidOptionError` if the table has batches that the checkpoint does not know.

    That is so if the checkpoint was restored from a copy: other rows would come under the numbers
    of these batches, and the table would leave them out. Or if the table has forgotten whether it
    has the batch that is to be replayed.
    """
    mark = owner.read_mark(session, checkpoint)
    if mark is None or not mark.owner or not is_there(session, table.uri):
        return
    newest = delta_log.newest_txn(session, table.uri, _app_id(mark.owner))
    table_columns.refuse_older_checkpoint(
        table.uri, newest, checkpoint, last_batch(session, checkpoint, "offsets")
    )
    _refuse_forgotten(session, table.uri, checkpoint)


def delta_sink(session: SparkSession, table: DeltaTable, checkpoint: str) -> Sink:
    """A sink that appends each batch to ``table`` once, however often it comes.

    The stream's places are claimed when the first batch comes: ``checkpoint`` bears its id by then.
    The sink raises :class:`StreamError` with Delta's reason where the table refuses a batch, whole.
    """
    writers: list[str] = []

    def sink(results: DataFrame, batch_id: int) -> None:
        if not writers:
            writers.append(owner.id_of(session, checkpoint))
        options = {
            "txnAppId": _app_id(writers[0]),
            "txnVersion": str(batch_id),
            "userMetadata": json.dumps({_CHECKPOINT: writers[0], _BATCH: batch_id}),
        }
        append(session, table, results, f"batch {batch_id}", options)

    return sink


def append(
    session: SparkSession,
    table: DeltaTable,
    rows: DataFrame,
    shown: str,
    options: dict[str, str] | None = None,
) -> None:
    """Append ``rows`` in one commit; raises :class:`StreamError` where the table refuses them."""
    for tries_left in reversed(range(_TRIES)):
        writer = rows.write.format("delta").mode("append").options(**(options or {}))
        if table.adds_columns:
            writer = writer.option("mergeSchema", True)
        if table.partition_by:
            writer = writer.partitionBy(*table.partition_by)
        try:
            with commit_lock.held(session, table.uri):
                writer.save(table.uri)
            return
        except Exception as error:
            if tries_left and error_texts.delta_conflict(str(error)):
                time.sleep(_PAUSE_S)
                continue
            if why := error_texts.table_refusal(str(error)):
                raise StreamError(f"{FLAG} {table.uri} refuses {shown}, whole: {why}") from None
            raise


def remove(session: SparkSession, uri: str, gone: DataFrame) -> None:
    """Take the rows out that are alike in all columns of ``gone``, a row of which is there once.

    Raises :class:`StreamError` where the table refuses it: one that is append-only.
    """
    alike = " AND ".join(f"t.{quoted(name)} = g.{quoted(name)}" for name in gone.columns)
    gone.createOrReplaceTempView(_GONE)
    try:
        with commit_lock.held(session, uri):
            session.sql(
                f"MERGE INTO {sql_name(uri)} AS t USING {_GONE} AS g ON {alike} "
                "WHEN MATCHED THEN DELETE"
            )
    except Exception as error:
        if why := error_texts.table_refusal(str(error)):
            raise StreamError(f"{FLAG} {uri} refuses to have rows removed: {why}") from None
        raise
    finally:
        session.catalog.dropTempView(_GONE)


def is_there(session: SparkSession, uri: str) -> bool:
    """Whether there is a Delta table: one with a first commit.

    A driver that is killed before that leaves the log's folder, empty, and files of no table.
    """
    return bool(delta_log.versions(session, uri))


def has_one_driver(session: SparkSession, uri: str) -> bool:
    """Whether a table may have one driver that writes at a time, by what Delta does in its store.

    In S3 its commits are not made against those of another process, unless the session has another
    LogStore for it (Delta's own, over DynamoDB).
    """
    scheme = hadoop.qualified(session, uri).partition(":")[0]
    settings = ("spark.delta.logStore.class", f"spark.delta.logStore.{scheme}.impl")
    return scheme in _ONE_DRIVER and not any(session.conf.get(key, None) for key in settings)


def sql_name(uri: str) -> str:
    """The table in a statement of SQL.

    >>> sql_name("s3a://bucket/a `b`")
    'delta.`s3a://bucket/a ``b```'
    """
    quoted = uri.replace("`", "``")
    return f"delta.`{quoted}`"


def _app_id(checkpoint_id: str) -> str:
    return f"pyspark_vision/{checkpoint_id}"


def _refuse_inside_another(session: SparkSession, uri: str) -> None:
    """Raise for a new table in another one's folder: that one's VACUUM would remove its files."""
    outer = hadoop.qualified(session, uri)
    while "/" in (outer := outer.rpartition("/")[0]).partition("://")[2]:
        if hadoop.exists(session, f"{outer}/{delta_log.FOLDER}"):
            raise InvalidOptionError(
                f"{FLAG} {uri} lies in the Delta table {outer}, whose VACUUM removes what is not "
                "its own. Choose a folder that lies apart"
            )


def _refuse_cut_commit(session: SparkSession, uri: str) -> None:
    if (commit := delta_log.cut_commit(session, uri)) is not None:
        raise InvalidOptionError(
            f"{FLAG} {uri} is damaged: its newest commit, {delta_log.FOLDER}/{commit}, is cut "
            "short. Put it back from a copy, or remove it, which takes its rows out of the table"
        )


def _refuse_forgotten(session: SparkSession, uri: str, checkpoint: str) -> None:
    """Raise if the batch that is to be replayed may be in the table, which has forgotten it."""
    planned = last_batch(session, checkpoint, "offsets")
    if planned <= last_batch(session, checkpoint, "commits"):
        return
    kept = delta_log.configuration(session, uri).get(_RETENTION)
    if kept is None:
        return
    begun_ms = planned_ms(session, checkpoint, planned)
    if begun_ms is None:
        return
    before = F.current_timestamp() - F.lit(kept).cast("interval")
    is_older = F.timestamp_millis(F.lit(begun_ms)) < before
    ((forgotten,),) = session.range(1).select(is_older).collect()
    if forgotten:
        raise InvalidOptionError(
            f"{FLAG} {uri} remembers batches for {kept} ({_RETENTION}), and batch {planned} of "
            f"`checkpoint` {checkpoint}, which was begun before that, would be written again. "
            "DESCRIBE HISTORY shows in userMetadata whether the table has it: if not, take the "
            "property out (ALTER TABLE … UNSET TBLPROPERTIES) and start again; if it has, begin a "
            "new checkpoint where this one ended (`starting_offsets`)"
        )


def _refuse_other_partitions(session: SparkSession, table: DeltaTable) -> None:
    if not table.partition_by:
        return
    detail = session.sql(f"DESCRIBE DETAIL {sql_name(table.uri)}").select("partitionColumns")
    ((there,),) = detail.collect()
    table_columns.refuse_other_partitions(table.uri, there, table.partition_by)
