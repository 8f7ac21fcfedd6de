"""The folders that a stream writes, and its checkpoint: its own by their marks, and by leases.

:mod:`pyspark_vision.sinks.owner` says what a mark is: it tells a stream from others. Its lease
(:mod:`pyspark_vision.streaming.lease`) tells it from a copy of itself while both run. Nothing is
marked, written or removed before every folder was found to be this stream's, or new.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import lake_tables, owner
from pyspark_vision.sinks.lake_tables import LakeTable
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.sources.source_check import SourceCheck
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import delete, list_names
from pyspark_vision.streaming import lease

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BATCH = re.compile(r"batch_id=(\d+)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """A folder of batches: the flag that names it, and what of the job's goes there."""

    flag: str
    folder: str
    role: str


@dataclass(frozen=True)
class StreamPlaces:
    """What a stream named ``job`` writes.

    ``adopts``: folders without a mark become its own (an older version wrote them).
    ``removes_beyond``: batches that the checkpoint does not know are removed.
    ``tables``: of Delta Lake or Iceberg, which other streams may fill, too.
    """

    job: str
    checkpoint: str
    outputs: tuple[Output, ...]
    adopts: bool = False
    removes_beyond: bool = False
    tables: tuple[LakeTable, ...] = ()


@contextmanager
def held(
    session: SparkSession,
    places: StreamPlaces,
    lost: Callable[[str], None],
    agreed: AbstractContextManager[SourceCheck] | None = None,
) -> Iterator[SourceCheck]:
    """Hold a stream's checkpoint and outputs against all other jobs, marked as its own.

    ``agreed`` is entered before anything is marked: it refuses a source that is not the
    checkpoint's, and what it gives is given on. ``lost`` is called with a reason if the stream must
    stop, for it did not renew a lease and another job took it.

    Raises :class:`CheckpointInUseError` while another job works at one of the places, and
    :class:`InvalidOptionError` as :func:`claim`.
    """
    folders = {f"--checkpoint {places.checkpoint}": places.checkpoint}
    for output in places.outputs:
        folders[f"{output.flag} {output.folder}"] = lease.output_lease(output.folder)
    for table in places.tables:
        if (own := _table_lease(session, table, places.checkpoint)) is not None:
            folders[f"--table {table.uri}"] = own
    with (
        lease.all_held(session, folders, places.job, lost),
        agreed or nullcontext(SourceCheck()) as check,
    ):
        claim(session, places)
        yield check


def _table_lease(session: SparkSession, table: LakeTable, checkpoint: str) -> str | None:
    """What a stream holds of a table: in a bucket all of it, elsewhere its own part.

    In a bucket the commits of another driver are not seen, and one would be replaced. Elsewhere
    streams may write at once; but a copy of a checkpoint is the same writer to the table. ``None``
    for a new checkpoint, which nobody has a copy of, and for a table that is a catalog's: that
    keeps its writers apart.
    """
    folder = lake_tables.folder(table)
    if folder is None:
        return None
    own = lease.output_lease(folder)
    if lake_tables.has_one_driver(session, table):
        return own
    mark = owner.read_mark(session, checkpoint)
    return f"{own}/{mark.owner}" if mark is not None and mark.owner else None


def check(session: SparkSession | None, places: StreamPlaces) -> str:
    """The id of the checkpoint; empty for a new one, which owns nothing.

    ``session`` may be ``None`` if all is on this machine. Raises :class:`InvalidOptionError` if one
    of the folders is another's; nothing is written.
    """
    there = owner.read_mark(session, places.checkpoint)
    checkpoint = Mark(places.job, "checkpoint", there.owner if there else "")
    owner.check(session, places.checkpoint, checkpoint, "--checkpoint", adopts=places.adopts)
    for output in places.outputs:
        mark = Mark(places.job, output.role, checkpoint.owner, places.checkpoint)
        owner.check(session, output.folder, mark, output.flag, adopts=places.adopts)
    return checkpoint.owner


def claim(session: SparkSession, places: StreamPlaces) -> None:
    """Mark all folders as this stream's, after :func:`check`; they are held meanwhile.

    Where the checkpoint was restored from a copy, batches beyond its last are at the outputs; they
    are removed if the user has said so, for they will be read and written again.
    """
    checkpoint_id = check(session, places) or uuid.uuid4().hex
    all_beyond = beyond(session, places)
    mark = Mark(places.job, "checkpoint", checkpoint_id)
    mark = owner.claim(session, places.checkpoint, mark, "--checkpoint", adopts=places.adopts)
    for output in places.outputs:
        own = Mark(places.job, output.role, mark.owner, places.checkpoint)
        owner.claim(session, output.folder, own, output.flag, adopts=places.adopts)
    for output, batches in all_beyond:
        for batch_id in batches:
            delete(session, f"{output.folder}/batch_id={batch_id}")
        _log.warning(
            "%s %s: batches %s were beyond the checkpoint's last one and are removed",
            output.flag,
            output.folder,
            _ranges(batches),
        )


def beyond(session: SparkSession, places: StreamPlaces) -> list[tuple[Output, list[int]]]:
    """The batches at each output that the checkpoint has not planned, by their numbers.

    Raises :class:`InvalidOptionError` if there are any, unless they are to be removed.
    """
    planned = last_batch(session, places.checkpoint, "offsets")
    all_beyond = []
    for output in places.outputs:
        batches = _batches(session, output.folder)
        unknown = [batch_id for batch_id in batches if batch_id > planned]
        if not unknown:
            continue
        if not places.removes_beyond:
            last = f"its last batch is {planned}" if planned >= 0 else "it has no batch yet"
            raise InvalidOptionError(
                f"{output.flag} {output.folder} holds batches {_ranges(unknown)}, which "
                f"--checkpoint {places.checkpoint} does not know: {last} (was it restored from "
                "a copy?). What they hold will be read again, and its rows would stand there "
                "twice. Say --remove-beyond to have these batches removed first, or restore the "
                "newer checkpoint"
            )
        all_beyond.append((output, unknown))
    return all_beyond


def _batches(session: SparkSession, folder: str) -> list[int]:
    names = list_names(session, folder) or []
    return sorted(int(name.group(1)) for name in map(_BATCH.fullmatch, names) if name)


def _ranges(numbers: Sequence[int]) -> str:
    """``[3, 4, 5, 9]`` -> ``3 to 9``: an older version's `compact` left gaps."""
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
