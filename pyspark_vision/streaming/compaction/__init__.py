"""Few large files in the place of a stream's many small ones, without readers seeing half of it.

The rows of many batches come into one folder, ``batch_id=<the highest of them>``: up to that batch.
All of it is made and checked beside the output, which is then replaced as a whole
(:mod:`~pyspark_vision.streaming.compaction.swap`). Batches that a restart may replay stay as they
are.

A reader that lists the folder sees it as it was or as it is. One that has listed it before, and
opens files afterwards, gets an error for the first that is gone: no name is used twice. Files that
are open stay readable for as long as they are open, on HDFS for ``GRACE_S``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from pyspark_vision.errors import CheckpointInUseError, InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import literal
from pyspark_vision.spark.session import parallelism
from pyspark_vision.streaming import lease
from pyspark_vision.streaming.compaction import plan, swap
from pyspark_vision.streaming.compaction.listing import Contents, list_batches, read_contents
from pyspark_vision.streaming.compaction.merging import check, merge
from pyspark_vision.streaming.compaction.plan import Batch
from pyspark_vision.streaming.compaction.stream_readers import stream_reader

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# How long the replaced folder stays: a reader may be listing it, and would miss what is removed
# before it comes there.
GRACE_S = 10.0


@dataclass(frozen=True)
class Size:
    """Batches of an output, their files, and the bytes of those."""

    batches: int
    files: int
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.batches} batches in {self.files} files, {self.size_bytes / 1e6:.1f} MB"


def compact(
    session: SparkSession,
    output: str,
    checkpoint: str,
    target_bytes: int,
    read_by: Sequence[str] = (),
) -> tuple[Size, Size]:
    """Merge the small Parquet files of ``output`` (a Hadoop URI); (size before, size after).

    - ``checkpoint``: of the stream that writes the output. Both are held meanwhile, against that
      stream, and against one on a copy of its checkpoint.
    - ``target_bytes``: about the size of a merged file. Files of half of that stay as they are.
    - ``read_by``: checkpoints of streams that read the output: what they would read again stays.

    Batches of different columns are not merged with each other. Sizes are the same where nothing is
    to be gained. Raises :class:`InvalidOptionError` for a place, a checkpoint or files that do not
    allow it, :class:`CheckpointInUseError` while a job runs on the checkpoint or at the output;
    then nothing was changed.
    """
    where = swap.places(session, output)
    _refuse_another_owner(session, output, checkpoint)
    if last_batch(session, checkpoint, "offsets") < 0:
        raise InvalidOptionError(f"--checkpoint {checkpoint} is not that of a stream which has run")
    lost: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(lease.held(session, checkpoint, "compact", lost.append))
        if not swap.is_there(where):  # a run that was killed may have it beside its place
            swap.recover(where)
        folder = lease.output_lease(str(where.output))
        # The lease is moved with the folder that it lies in, and must not be renewed meanwhile.
        resting = stack.enter_context(lease.held(session, folder, "compact", lost.append, output))
        with resting:
            swap.recover(where)
        batches = list_batches(session, output)
        mergeable = _mergeable(session, batches, checkpoint, read_by)
        runs = plan.runs(mergeable, target_bytes)
        contents = read_contents(session, [batch for run in runs for batch in run])
        schemas = {batch_id: found.schema for batch_id, found in contents.items()}
        groups = [group for run in runs for group in plan.groups(run, schemas, target_bytes)]
        if not groups:
            return _size(batches), _size(batches)
        if not read_by:
            _refuse_letters(session, groups[0])
        try:
            _build(session, groups, contents, str(where.new))
            if lost:
                raise CheckpointInUseError(lost[0])
        except Exception:
            swap.clear(where)
            raise
        merged = {f"batch_id={batch.batch_id}" for group in groups for batch in group.batches}
        with resting:
            swap.swap(where, merged)
        time.sleep(GRACE_S)
        swap.clear(where)
        return _size(batches), _size(list_batches(session, output))


def _refuse_another_owner(session: SparkSession, output: str, checkpoint: str) -> None:
    """Raise unless both bear marks of one stream, or neither bears one (sinks without a job)."""
    of_output, of_checkpoint = (owner.read_mark(session, place) for place in (output, checkpoint))
    if of_output is None and of_checkpoint is None:
        return
    if of_output is None:
        raise InvalidOptionError(
            f"{output} bears no mark of {of_checkpoint}: start that job once with --adopt if it "
            "writes there"
        )
    if of_checkpoint is None or of_output.owner != of_checkpoint.owner:
        raise InvalidOptionError(
            f"{output} belongs to {of_output}, and --checkpoint {checkpoint} is another's: give "
            "that of the job which writes there"
        )


def _mergeable(
    session: SparkSession, batches: Sequence[Batch], checkpoint: str, read_by: Sequence[str]
) -> list[Batch]:
    """The batches up to the first that may be written or read again; the last committed one may."""
    planned = last_batch(session, checkpoint, "offsets")
    if batches and batches[-1].batch_id > planned:
        raise InvalidOptionError(
            f"{batches[-1].folder} is not of --checkpoint {checkpoint}, whose last batch is "
            f"{planned}: give that of the job which writes there"
        )
    readers = [stream_reader(session, reader) for reader in read_by]
    done = last_batch(session, checkpoint, "commits")

    def is_past(batch: Batch) -> bool:
        read = all(reader is None or reader.is_past(batch) for reader in readers)
        return batch.batch_id < done and read

    return list(takewhile(is_past, batches))


def _refuse_letters(session: SparkSession, group: plan.Group) -> None:
    """Raise if these are dead letters: `replay` would send those again that are in a new file."""
    folder = next(batch.folder for batch in group.batches if batch.files)
    # Those of an older version have fewer columns, of which these are no others'.
    if {"payload", "error_code", "offset"} <= set(session.read.parquet(literal(folder)).columns):
        raise InvalidOptionError(
            "these are dead letters, and merged ones are new ones to `pyspark-vision replay`: say "
            "--read-by with its checkpoint (one that is not there yet will read all)"
        )


def _build(
    session: SparkSession,
    groups: list[plan.Group],
    contents: Mapping[int, Contents],
    new_root: str,
) -> None:
    """Write the merged folders, as many at a time as there are tasks, and look at them."""
    with ThreadPoolExecutor(parallelism(session)) as pool:
        list(pool.map(lambda group: merge(session, group, contents, new_root), groups))
    check(session, groups, contents, new_root)


def _size(batches: Sequence[Batch]) -> Size:
    return Size(
        len(batches),
        sum(len(batch.files) for batch in batches),
        sum(batch.size_bytes for batch in batches),
    )
