"""The files of a checkpoint, in Spark's own form, which Spark does not promise.

Seen on Spark 4.2.0 (it is that of 2.x, too). ``offsets`` (batches planned), ``commits`` (done) and
``sources/<n>`` hold files named by batches; Spark gathers some logs of sources in ``N.compact`` now
and then. The first line of a file is ``v1``. A plan then has settings as JSON, and a line for each
source; the log of a file source has a file in each line, as JSON. A file of any other form is
refused: nothing is guessed, and nothing is written into such a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.spark.hadoop import (
    create_text,
    delete,
    list_names,
    local_path,
    read_text,
    status,
)
from pyspark_vision.spark.internals import LOCAL_CHECKPOINT_WRITERS
from pyspark_vision.spark.java_errors import has_class

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_VERSION = "v1"
# Of Spark's documentation, which has it for checkpoints on object stores.
_WRITER = "spark.sql.streaming.checkpointFileManagerClass"
_LOG_FILE = re.compile(r"(\d+)(?:\.compact)?")
_FILES_END = re.compile(r'\{"logOffset":(-?\d+)\}')

# Of a first plan: Spark completes them.
FIRST_SETTINGS = '{"batchWatermarkMs":0,"batchTimestampMs":0,"conf":{}}'


@dataclass(frozen=True)
class Plan:
    """A batch as it is planned: its settings, and up to where it reads each source, as they stand
    there."""

    settings: str
    ends: tuple[str, ...]


@contextmanager
def written_at_once(session: SparkSession, checkpoint: str) -> Iterator[None]:
    """In this block Spark writes a checkpoint of this machine's disks without a process per file.

    A writer that the user has chosen stays. With this one Spark does not always see that two
    streams write one checkpoint; a stream's lease does.
    """
    is_chosen = session.conf.get(_WRITER, None) is not None
    is_elsewhere = local_path(session, checkpoint) is None
    names = () if is_chosen or is_elsewhere else LOCAL_CHECKPOINT_WRITERS
    known = next((name for name in names if has_class(session, name)), None)
    if known is None:
        yield
        return
    session.conf.set(_WRITER, known)
    try:
        yield
    finally:
        session.conf.unset(_WRITER)


def last_batch(session: SparkSession, checkpoint: str, log: str) -> int:
    """The newest batch in ``offsets`` (planned) or ``commits`` (done); -1 for none."""
    names = _log_files(session, f"{checkpoint}/{log}")
    return max((int(name.partition(".")[0]) for name in names), default=-1)


def plan(session: SparkSession, checkpoint: str, batch_id: int) -> Plan | None:
    """A batch in ``offsets``; ``None`` if it is not planned.

    Raises :class:`InvalidOptionError`, as all that read here, for a file of another form.
    """
    log_file = f"{checkpoint}/offsets/{batch_id}"
    lines = _lines(session, log_file)
    if not lines:
        return None
    if len(lines) < 2 or not lines[0].startswith("{"):
        raise _unknown_form(log_file)
    return Plan(lines[0], tuple(lines[1:]))


def planned_ms(session: SparkSession, checkpoint: str, batch_id: int) -> int | None:
    """When a batch was planned (milliseconds since 1970, UTC); ``None`` if it is not planned."""
    log_file = status(session, f"{checkpoint}/offsets/{batch_id}")
    return None if log_file is None else log_file.modified_ms


def beginning(session: SparkSession, checkpoint: str) -> str:
    """Where the first source began, as it stands there; empty if it did not, or notes no such."""
    return "\n".join(_lines(session, f"{checkpoint}/sources/0/0"))


def files_read(
    session: SparkSession, checkpoint: str, source: int, end: str
) -> dict[str, int] | None:
    """The files that a source has read up to its ``end`` in a plan: URIs, and times (ms).

    ``None`` if it does not read files.
    """
    up_to = _FILES_END.fullmatch(end)
    if up_to is None:
        return None
    files: dict[str, int] = {}
    log = f"{checkpoint}/sources/{source}"
    for name in _log_files(session, log):
        for line in _lines(session, f"{log}/{name}"):
            try:
                entry = json.loads(line)
                if int(entry["batchId"]) <= int(up_to.group(1)):
                    files[str(entry["path"])] = int(entry["timestamp"])
            except (ValueError, KeyError, TypeError):
                raise _unknown_form(f"{log}/{name}") from None
    return files


def replace_plan(session: SparkSession, checkpoint: str, batch_id: int, new: Plan) -> None:
    """Put a batch's plan where there may be one that was not committed."""
    log_file = f"{checkpoint}/offsets/{batch_id}"
    delete(session, log_file)
    if not create_text(session, log_file, "\n".join((_VERSION, new.settings, *new.ends))):
        raise StreamError(f"{log_file} is being written by another job")


def _log_files(session: SparkSession, log: str) -> list[str]:
    return [name for name in list_names(session, log) or [] if _LOG_FILE.fullmatch(name)]


def _lines(session: SparkSession, log_file: str) -> list[str]:
    """What stands below the version; nothing if there is no file."""
    text = read_text(session, log_file)
    if text is None:
        return []
    # A null byte in front: of Spark 2.1's form, in which sources still note their beginnings.
    version, *lines = text.lstrip("\0").rstrip("\n").split("\n")
    if version != _VERSION:
        raise _unknown_form(log_file)
    return lines


def _unknown_form(log_file: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"{log_file} has a form that is not known here ({_VERSION} of Spark 4.2 is): choose a new "
        "checkpoint and output"
    )
