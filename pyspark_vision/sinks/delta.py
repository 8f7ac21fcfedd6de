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
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sinks import owner, table_columns
from pyspark_vision.sinks.table_columns import FLAG
from pyspark_vision.spark import delta_lake, error_texts, hadoop
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.internals import JavaError
from pyspark_vision.spark.java_errors import in_a_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from pyspark_vision.sinks import Sink

_LOG = "_delta_log"
# A commit, or a checkpoint, which stays when the commits before it are cleaned up.
_VERSION = re.compile(r"\d{20}\.")
_COMMIT = re.compile(r"\d{20}\.json")
# Of the version in front of a name in the log.
_DIGITS = 20
# In a commit's userMetadata, which DESCRIBE HISTORY shows.
_CHECKPOINT, _BATCH = "pyspark_vision_checkpoint", "batch_id"

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
        if not hadoop.exists(session, f"{table.uri}/{_LOG}"):
            table_columns.refuse_other_content(session, table.uri, "Delta")
        _refuse_inside_another(session, table.uri)
        return
    try:
        _refuse_cut_commit(session, table.uri)
        there = session.read.format("delta").load(table.uri).schema
        _refuse_other_partitions(session, table)
    except (JavaError, PySparkException) as error:
        why = error_texts.table_refusal(str(error)) or in_a_line(error)
        raise InvalidOptionError(
            f"{FLAG} {table.uri} cannot be read as a Delta table: {why}"
        ) from None
    table_columns.refuse_differences(table.uri, there, schema, adds_columns=table.adds_columns)


def check_checkpoint(session: SparkSession, table: DeltaTable, checkpoint: str) -> None:
    """Raise :class:`InvalidOptionError` if the table has batches that the checkpoint does not know.

    That is so if the checkpoint was restored from a copy: other rows would come under the numbers
    of these batches, and the table would leave them out.
    """
    mark = owner.read_mark(session, checkpoint)
    if mark is None or not mark.owner or not is_there(session, table.uri):
        return
    newest = _newest_batch(session, table.uri, mark.owner)
    table_columns.refuse_older_checkpoint(
        table.uri, newest, checkpoint, last_batch(session, checkpoint, "offsets")
    )


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
            writer.save(table.uri)
            return
        except Exception as error:
            if tries_left and error_texts.delta_conflict(str(error)):
                time.sleep(_PAUSE_S)
                continue
            if why := error_texts.table_refusal(str(error)):
                raise StreamError(f"{FLAG} {table.uri} refuses {shown}, whole: {why}") from None
            raise


def is_there(session: SparkSession, uri: str) -> bool:
    """Whether there is a Delta table: one with a first commit.

    A driver that is killed before that leaves the log's folder, empty, and files of no table.
    """
    names = hadoop.list_names(session, f"{uri}/{_LOG}") or []
    return any(_VERSION.match(name) for name in names)


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


def _newest_batch(session: SparkSession, uri: str, checkpoint_id: str) -> int:
    """The ``txnVersion`` that Delta has of a checkpoint, up to which it leaves batches out; or -1.

    In the log's newest checkpoint and the commits since, however many there were before.
    """
    log = f"{uri}/{_LOG}"
    names = [name for name in hadoop.list_names(session, log) or [] if _VERSION.match(name)]
    checkpoints = [name for name in names if ".checkpoint." in name]
    newest = max((name[:_DIGITS] for name in checkpoints), default="")
    batches = [-1]
    for name in names:
        if _COMMIT.fullmatch(name) and name[:_DIGITS] >= newest:
            lines = hadoop.read_bytes(session, f"{log}/{name}").splitlines()
            actions = (json.loads(line) for line in lines if b'"txn"' in line)
            batches += [
                int(action["txn"]["version"])
                for action in actions
                if action.get("txn", {}).get("appId") == _app_id(checkpoint_id)
            ]
    for name in checkpoints:
        if name.startswith(newest):
            reader = session.read.format(name.rpartition(".")[2])
            gathered = reader.load(hadoop.literal(f"{log}/{name}"))
            if "txn" in gathered.columns:
                own = gathered.where(F.col("txn.appId") == _app_id(checkpoint_id))
                batches += [int(row.version) for row in own.select("txn.version").collect()]
    return max(batches)


def _app_id(checkpoint_id: str) -> str:
    return f"pyspark_vision/{checkpoint_id}"


def _refuse_inside_another(session: SparkSession, uri: str) -> None:
    """Raise for a new table in another one's folder: that one's VACUUM would remove its files."""
    outer = hadoop.qualified(session, uri)
    while "/" in (outer := outer.rpartition("/")[0]).partition("://")[2]:
        if hadoop.exists(session, f"{outer}/{_LOG}"):
            raise InvalidOptionError(
                f"{FLAG} {uri} lies in the Delta table {outer}, whose VACUUM removes what is not "
                "its own. Choose a folder that lies apart"
            )


def _refuse_cut_commit(session: SparkSession, uri: str) -> None:
    """Raise for a newest commit that is not whole: a disk that was full, a copy that was cut short.

    Delta takes an empty one for a commit without rows and appends behind one that is cut, though
    nobody can read the table any more.
    """
    names = hadoop.list_names(session, f"{uri}/{_LOG}") or []
    commits = sorted(name for name in names if _COMMIT.fullmatch(name))
    if not commits:
        return
    lines = hadoop.read_bytes(session, f"{uri}/{_LOG}/{commits[-1]}").strip().split(b"\n")
    try:
        json.loads(lines[-1])
    except ValueError:
        raise InvalidOptionError(
            f"{FLAG} {uri} is damaged: its newest commit, {_LOG}/{commits[-1]}, is cut short. Put "
            "it back from a copy, or remove it, which takes its rows out of the table"
        ) from None


def _refuse_other_partitions(session: SparkSession, table: DeltaTable) -> None:
    if not table.partition_by:
        return
    detail = session.sql(f"DESCRIBE DETAIL {sql_name(table.uri)}").select("partitionColumns")
    ((there,),) = detail.collect()
    table_columns.refuse_other_partitions(table.uri, there, table.partition_by)
