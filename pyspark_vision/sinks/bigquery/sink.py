"""The sink: a batch's rows to files, the files to the table, once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.bigquery import columns as cols
from pyspark_vision.sinks.bigquery.load_jobs import BatchJob, Patience, already_in, bring_in
from pyspark_vision.sinks.bigquery.service import TIMEOUT_S, write_client
from pyspark_vision.sinks.bigquery.staged_rows import StagedRows
from pyspark_vision.sinks.bigquery.write_stream import (
    LARGEST_ROW_BYTES,
    StreamNotes,
    WriteStreams,
)
from pyspark_vision.sinks.dead_letters import REFUSED
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import local_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sinks.bigquery.table import Table

LOAD, STORAGE = "load", "storage"

# Of a row of JSON, by Google's documentation of load jobs.
_LARGEST_JSON_ROW_BYTES = 100_000_000
_REASONS_SHOWN = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Where rows go, and how.

    - ``checkpoint``: that of the stream; its id is part of the ids of jobs.
    - ``how``: ``"load"`` (load jobs) or ``"storage"`` (the Storage Write API, by ``write_client``;
      ``None``: one is made if there is need of it, which is after a restart with another ``how``).
    - ``staging``: the folder for rows on their way; ``None``: in the checkpoint.
    """

    table: Table
    client: Any
    checkpoint: str
    how: str = LOAD
    write_client: Any = None
    staging: str | None = None
    patience: Patience = field(default_factory=Patience)


def largest_row_bytes(how: str) -> int:
    """The largest row of JSON that BigQuery takes, by the way in which it goes."""
    return LARGEST_ROW_BYTES if how == STORAGE else _LARGEST_JSON_ROW_BYTES


def with_refusal(results: DataFrame, table: Table) -> DataFrame:
    """Add :data:`REFUSED`: why the table does not take a row, null for one that it takes."""
    reason = cols.refusal(table.pairs, table.name, table.largest_row_bytes)
    return results.withColumn(REFUSED, reason)


def refuse_own_disk(session: SparkSession, checkpoint: str, staging: str | None) -> None:
    """Raise :class:`InvalidOptionError` if executors elsewhere cannot write where rows are staged.

    Each machine would write to a disk of its own, and the driver would find no rows.
    """
    place = staging or checkpoint
    is_elsewhere = not (session.sparkContext.master or "local").startswith("local")
    if is_elsewhere and local_path(session, place) is not None:
        raise InvalidOptionError(
            f"`output_bq_table`: rows go by way of {place}, which is this machine's disk, and "
            "executors are elsewhere: give `bq_staging` a folder that all reach (gs://…)"
        )


def bigquery_sink(session: SparkSession, target: Target, check_table: Callable[[], object]) -> Sink:
    """A sink of rows (:func:`with_refusal`) to a table, each batch once under replay.

    ``check_table`` raises if the table is no longer what ``target`` says. What the table refuses is
    left out, counted in the log by reason, and for :mod:`~pyspark_vision.sinks.dead_letters` to
    keep.
    """
    table = target.table
    line = cols.as_json(table.pairs)
    # What is planned later is new: nobody can have sent it before this process.
    planned = last_batch(session, target.checkpoint, "offsets")
    ids: list[str] = []

    def checkpoint_id() -> str:
        """Read when the checkpoint is held and marked, which it is once batches come."""
        if not ids:
            mark = owner.read_mark(session, target.checkpoint)
            if mark is None or not mark.owner:
                raise StreamError(
                    f"`checkpoint` {target.checkpoint} has lost its mark {owner.NAME}, by which "
                    "batches are known in BigQuery. Put it back, or start with a new checkpoint"
                )
            ids.append(mark.owner)
        return ids[0]

    def write(results: DataFrame, batch_id: int) -> None:
        folder = f"{target.checkpoint}/_bigquery"
        if target.staging is not None:
            folder = f"{target.staging.rstrip('/')}/{checkpoint_id()}"
        rows = StagedRows(session, f"{folder}/batch-{batch_id}")
        rows.write(results, line, F.col(REFUSED))
        refused = rows.refused()
        batch = BatchJob(checkpoint_id(), table.name, batch_id, batch_id <= planned)
        said = _written_before(session, target, batch)
        if said is None and not rows.files():
            said = "no rows"
        elif said is None and target.how == STORAGE:
            said = _by_stream(session, target, rows, batch_id, refused)
        elif said is None:
            said = _by_job(target, rows, batch, check_table)
        level = logging.WARNING if refused else logging.INFO
        _log.log(level, "BigQuery: batch %d: %s%s", batch_id, said, _by_reason(refused))
        rows.remove()

    return write


def _written_before(session: SparkSession, target: Target, batch: BatchJob) -> str | None:
    """What an earlier process has brought in of this batch, whichever way; ``None``: nothing yet.

    The way may be another after a restart. A stream that is noted is committed now. Load jobs are
    looked for here if they are not the way: :func:`bring_in` looks for its own.
    """
    if not batch.may_be_there:
        return None
    stream = _notes(session, target).read(batch.batch_id)
    if stream is not None:
        _streams(target).commit(stream, batch.batch_id)
        return f"{stream}, which was there"
    if target.how == STORAGE:
        table = target.table
        loaded = already_in(target.client, table.location, batch, target.patience)
        if loaded is not None:
            return f"{loaded.job_id}, which was there, {loaded.rows} rows"
    return None


def _by_job(
    target: Target,
    rows: StagedRows,
    batch: BatchJob,
    check_table: Callable[[], object],
) -> str:
    from google.cloud import bigquery

    client, table = target.client, target.table

    def config(leaves_out: bool) -> Any:
        return bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            max_bad_records=2**31 - 1 if leaves_out else 0,
        )

    def sent(send: Callable[[str, bool], Any]) -> Any:
        return bring_in(client, table.location, batch, send, check_table, target.patience)

    if (target.staging or target.checkpoint).startswith("gs://"):
        uris = rows.uris()
        loaded = sent(
            lambda job_id, leaves_out: client.load_table_from_uri(
                uris,
                str(table.name),
                job_id=job_id,
                location=table.location,
                job_config=config(leaves_out),
                retry=None,
                timeout=TIMEOUT_S,
            )
        )
        # The service names a few of the rows that it leaves out.
        left_out = max(0, rows.count() - loaded.rows) if loaded.errors else 0
        rows_in = loaded.rows
    else:
        with rows.as_one_file() as (file, count):
            loaded = sent(
                lambda job_id, leaves_out: client.load_table_from_file(
                    file,
                    str(table.name),
                    rewind=True,
                    num_retries=0,
                    job_id=job_id,
                    location=table.location,
                    job_config=config(leaves_out),
                    timeout=TIMEOUT_S,
                )
            )
        left_out = max(0, count - loaded.rows) if loaded.errors else 0
        rows_in = count - left_out
    said = f"{loaded.job_id}{', which was there' if loaded.was_there else ''}, {rows_in} rows"
    if left_out:
        shown = "; ".join(loaded.errors[:_REASONS_SHOWN])
        _log.warning("BigQuery: %s left out %d rows: %s", loaded.job_id, left_out, shown)
    return said


def _by_stream(
    session: SparkSession,
    target: Target,
    rows: StagedRows,
    batch_id: int,
    refused: Counter[str],
) -> str:
    streams, notes = _streams(target), _notes(session, target)
    notes.forget_before(batch_id)
    with rows.as_one_file() as (file, _):
        stream, appended = streams.filled(file, batch_id)
    refused.update(reason for _, reason in appended.refused)
    stream = notes.note(batch_id, stream)
    streams.commit(stream, batch_id)
    return f"{stream}, {appended.rows} rows"


def _streams(target: Target) -> WriteStreams:
    columns = [column for _, column in target.table.pairs]
    client = target.write_client or write_client()
    return WriteStreams(client, target.table.name, columns, target.patience)


def _notes(session: SparkSession, target: Target) -> StreamNotes:
    return StreamNotes(session, f"{target.checkpoint}/_bigquery", target.table.name)


def _by_reason(refused: Counter[str]) -> str:
    if not refused:
        return ""
    shown = refused.most_common(_REASONS_SHOWN)
    reasons = "; ".join(f"{reason} {count}" for reason, count in shown)
    more = "; …" if len(refused) > len(shown) else ""
    return f", {refused.total()} rows refused ({reasons}{more})"
