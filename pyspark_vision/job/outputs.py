"""The folders that a stream writes, and its checkpoint: all are marked as this stream's own.

:mod:`pyspark_vision.sinks.owner` says what a mark is. Nothing is marked, written or removed before
every folder was found to be this stream's, or new.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import delete, list_names, local_path

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
    """

    job: str
    checkpoint: str
    outputs: tuple[Output, ...]
    adopts: bool = False
    removes_beyond: bool = False


def check_before_spark(places: StreamPlaces) -> None:
    """:func:`check` as far as it can be done without a session: where all is on this machine."""
    folders = (places.checkpoint, *(output.folder for output in places.outputs))
    if all(local_path(None, folder) is not None for folder in folders):
        _check(None, places)


def check(session: SparkSession, places: StreamPlaces) -> None:
    """Raise :class:`InvalidOptionError` if one of the folders is another's; nothing is written."""
    _check(session, places)
    _beyond(session, places)


def claim(session: SparkSession, places: StreamPlaces) -> None:
    """Mark all folders as this stream's, after :func:`check`.

    Where the checkpoint was restored from a copy, batches beyond its last are at the outputs; they
    are removed if the user has said so, for they will be read and written again.
    """
    check(session, places)
    mark = Mark(places.job, "checkpoint", _checkpoint_id(session, places) or uuid.uuid4().hex)
    mark = owner.claim(session, places.checkpoint, mark, "--checkpoint", adopts=places.adopts)
    for output in places.outputs:
        own = Mark(places.job, output.role, mark.owner, places.checkpoint)
        owner.claim(session, output.folder, own, output.flag, adopts=places.adopts)
    for output, batches in _beyond(session, places):
        for batch_id in batches:
            delete(session, f"{output.folder}/batch_id={batch_id}")
        _log.warning(
            "%s %s: batches %s were beyond the checkpoint's last one and are removed",
            output.flag,
            output.folder,
            _ranges(batches),
        )


def _check(session: SparkSession | None, places: StreamPlaces) -> None:
    checkpoint_id = _checkpoint_id(session, places)
    for output in places.outputs:
        mark = Mark(places.job, output.role, checkpoint_id, places.checkpoint)
        owner.check(session, output.folder, mark, output.flag, adopts=places.adopts)


def _checkpoint_id(session: SparkSession | None, places: StreamPlaces) -> str:
    """The id of a checkpoint of this job's; empty for a new one, which owns nothing."""
    there = owner.read_mark(session, places.checkpoint)
    mark = Mark(places.job, "checkpoint", there.owner if there else "")
    owner.check(session, places.checkpoint, mark, "--checkpoint", adopts=places.adopts)
    return mark.owner


def _beyond(session: SparkSession, places: StreamPlaces) -> list[tuple[Output, list[int]]]:
    """The batches at each output that the checkpoint has not planned, by their numbers.

    Raises :class:`InvalidOptionError` if there are any, unless they are to be removed.
    """
    planned = last_batch(session, places.checkpoint, "offsets")
    all_beyond = []
    for output in places.outputs:
        batches = _batches(session, output.folder)
        beyond = [batch_id for batch_id in batches if batch_id > planned]
        if not beyond:
            continue
        if not places.removes_beyond:
            last = f"its last batch is {planned}" if planned >= 0 else "it has no batch yet"
            raise InvalidOptionError(
                f"{output.flag} {output.folder} holds batches {_ranges(beyond)}, which "
                f"--checkpoint {places.checkpoint} does not know: {last} (was it restored from "
                "a copy?). What they hold will be read again, and its rows would stand there "
                "twice. Say --remove-beyond to have these batches removed first, or restore the "
                "newer checkpoint"
            )
        all_beyond.append((output, beyond))
    return all_beyond


def _batches(session: SparkSession, folder: str) -> list[int]:
    names = list_names(session, folder) or []
    return sorted(int(name.group(1)) for name in map(_BATCH.fullmatch, names) if name)


def _ranges(numbers: Sequence[int]) -> str:
    """``[3, 4, 5, 9]`` -> ``3 to 9``: compacted folders stand for all before them."""
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
