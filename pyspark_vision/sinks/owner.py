"""The owner of a folder that we write: a small file in it, made at its first use.

``FOLDER/_job`` names the job, what it writes there, and the checkpoint (by an id that the
checkpoint itself bears). A job writes and removes only in folders that bear its own mark: two jobs
that were given one folder, or one folder for two purposes, would replace each other's results. The
id stays with a checkpoint and an output that are moved or copied.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError, PysparkVisionError, StreamError
from pyspark_vision.spark import error_texts, java_errors
from pyspark_vision.spark.hadoop import (
    create_text,
    hadoop_path,
    list_names,
    read_text,
    settle,
)
from pyspark_vision.spark.internals import JavaError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# With an underscore in front: no reader takes it for data.
NAME = "_job"

# Tables of others, whose logs look like what readers ignore.
_TABLES_OF_OTHERS = ("_delta_log", "_spark_metadata", "_hudi", ".hoodie")
# What a job's lease leaves in a checkpoint before the mark is made (checkpoint_lease.py).
_LEASES = ("lease", "lease.lock")

_GIVE = "Give this user the right to it, or choose another"
_REMEDIES = (
    ((*error_texts.NOT_ALLOWED, *error_texts.NOT_OURS), _GIVE),
    (error_texts.NO_BUCKET, "Create its bucket, or correct the name"),
)
# What no other option would change: a disk that is full, or broken.
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@dataclass(frozen=True)
class Mark:
    """``role``: what of the job's is in the folder. ``owner``: an id that the job has elsewhere.

    ``checkpoint`` and ``since`` are for people. ``settings``: what of a batch job must be the same
    for all rows of an output.
    """

    job: str
    role: str
    owner: str = ""
    checkpoint: str = ""
    since: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        of = f" of `checkpoint` {self.checkpoint}" if self.checkpoint else ""
        since = f", since {self.since}" if self.since else ""
        return f"{self.job} ({self.role}{of}{since})"

    def is_of(self, other: Mark) -> bool:
        """Whether both are of one job, one purpose and one checkpoint."""
        return (self.job, self.role, self.owner) == (other.job, other.role, other.owner)


def id_of(session: SparkSession, checkpoint: str) -> str:
    """The id that a checkpoint bears; raises :class:`StreamError` if it bears none any more."""
    mark = read_mark(session, checkpoint)
    if mark is None or not mark.owner:
        raise StreamError(f"`checkpoint` {checkpoint} bears no mark of its own any more")
    return mark.owner


def read_mark(session: SparkSession | None, folder: str) -> Mark | None:
    """The mark of a folder; ``None`` where there is none.

    ``session`` may be ``None`` for a local path. Raises :class:`InvalidOptionError` for a mark that
    cannot be read.
    """
    text = read_text(session, f"{folder}/{NAME}")
    return None if text is None else parse(text, folder)


def parse(text: str, folder: str) -> Mark:
    """The mark that stands in a text. One without a job is batch_embed's of an older version."""
    try:
        record = json.loads(text)
        if not isinstance(record, dict):
            raise TypeError(record)
        if "job" not in record:
            if not {"model", "format"} <= set(record):
                raise TypeError(record)
            return Mark("batch_embed", "vectors", settings=record)
        return Mark(**record)
    except (TypeError, ValueError):
        raise InvalidOptionError(
            f"{folder}/{NAME}, which says whose this folder is, cannot be read. Choose another "
            "folder, or remove that file if you know whose it is and say `adopt`"
        ) from None


def check(
    session: SparkSession | None, folder: str, mark: Mark, flag: str, *, adopts: bool
) -> Mark | None:
    """The folder's own mark, if it is ``mark``'s job's; ``None`` if the folder may become that.

    Raises :class:`InvalidOptionError` for a folder of another owner, and for one that holds
    anything and bears no mark, unless ``adopts``.
    """
    names = list_names(session, folder)
    if names is None:
        return None
    if NAME in names:
        there = read_mark(session, folder)
        if there is not None:
            if not there.is_of(mark):
                raise _other_owner(folder, there, mark, flag)
            return there
    others = sorted(name for name in names if _is_content(name))
    if others and not adopts:
        raise InvalidOptionError(
            f"{flag} {folder} holds {others[0]}, which is not of such a job: it bears no mark "
            f"of {mark.job}, and what is there could be replaced. {_choose(flag)}; if an older "
            f"version of {mark.job} wrote it, say `adopt` once"
        )
    return None


def claim(session: SparkSession, folder: str, mark: Mark, flag: str, *, adopts: bool) -> Mark:
    """Make the folder ``mark``'s, or find that it is; the mark that it bears then.

    Raises as :func:`check`, also where another job was faster.
    """
    there = check(session, folder, mark, flag, adopts=adopts)
    if there is not None:
        return there
    mark = replace(mark, since=datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        create_text(session, f"{folder}/{NAME}", json.dumps(asdict(mark)))
    except (OSError, JavaError) as error:
        raise not_written(f"{flag} {folder}", error) from None
    settle(hadoop_path(session, folder)[0])
    there = read_mark(session, folder)
    if there is None:
        raise InvalidOptionError(f"{flag} {folder}: its mark {NAME} is gone; start again")
    if not there.is_of(mark):
        raise _other_owner(folder, there, mark, flag)
    return there


def not_written(shown: str, error: Exception) -> PysparkVisionError:
    """The error of a folder that cannot be made or written; ``shown`` as the user knows it."""
    if isinstance(error, OSError):
        why = error.strerror
        to_do = "" if error.errno in _MAY_PASS else _GIVE
    else:
        # With its causes: of a connector's error the first line often says no more than "failed".
        why = java_errors.in_a_line(error)
        to_do = java_errors.remedy(why, shown.partition(" ")[2] or shown, _REMEDIES)
    said = f"{shown} cannot be written: {why}"
    if not to_do:
        return StreamError(f"{said}. Start again when it can")
    return InvalidOptionError(f"{said}. {to_do}")


def _is_content(name: str) -> bool:
    if name.startswith(_TABLES_OF_OTHERS):
        return True
    return not name.startswith(("_", ".")) and name not in (*_LEASES, "lost+found")


def _other_owner(folder: str, there: Mark, mark: Mark, flag: str) -> InvalidOptionError:
    what = f"{mark.job} ({mark.role})"
    go_on = ""
    if there.checkpoint and (there.job, there.role) == (mark.job, mark.role):
        go_on = f", or go on with `checkpoint` {there.checkpoint}"
        if there.checkpoint == mark.checkpoint:
            go_on += ", as it was: the one that is there now was begun anew"
    return InvalidOptionError(
        f"{flag} {folder} belongs to {there}; {what} would replace what is there. "
        f"{_choose(flag)}{go_on}"
    )


def _choose(flag: str) -> str:
    kinds = {"checkpoint": "checkpoint", "letters": "folder"}
    return f"Choose a new {next((kinds[word] for word in kinds if word in flag), 'output')}"
