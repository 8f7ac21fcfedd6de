"""The files of a journal: records in order, each file named by the first sequence number in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.events_api.records import Record, decode, is_followed_by_records
from pyspark_vision.errors import PysparkVisionError

_SUFFIX = ".events"
_DIGITS = 20  # of the largest uint64


class JournalError(PysparkVisionError, RuntimeError):
    """A journal that cannot be used; the message says why and what to do."""


@dataclass
class Segment:
    """``first``: sequence number of its first record; ``end``: of the one after its last."""

    path: Path
    first: int
    end: int
    size_bytes: int


def segment_path(folder: Path, first: int) -> Path:
    return folder / f"{first:0{_DIGITS}}{_SUFFIX}"


def segment_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{'[0-9]' * _DIGITS}{_SUFFIX}"))


def open_segments(folder: Path, sent: int, visit: Callable[[Record], None]) -> list[Segment]:
    """The segments of a folder, oldest first; each whole record is given to ``visit``.

    A torn end of the last one is cut off: its writer was killed before it answered for it. Raises
    :class:`JournalError` for other damage to events from the number ``sent`` on.
    """
    paths = segment_paths(folder)
    segments: list[Segment] = []
    for path in paths:
        first = int(path.name.removesuffix(_SUFFIX))
        data = path.read_bytes()
        end, size = first, 0
        for record, after in decode(data):
            if record.sequence != end:
                break
            visit(record)
            end, size = end + 1, after
        is_last = path == paths[-1]
        follows = int(paths[paths.index(path) + 1].name.removesuffix(_SUFFIX)) if not is_last else 0
        torn = size < len(data)
        if is_last and torn and not is_followed_by_records(data, size, end):
            _cut(path, size)
        elif torn or (not is_last and end != follows):
            if is_last or follows > sent:
                raise JournalError(
                    f"{path} is damaged at byte {size}, behind event {end - 1}: restore it from a "
                    "backup, or move the folder away and begin with another --journal"
                )
            end = follows  # sent long ago: only its keys are forgotten
        segments.append(Segment(path, first, end, size))
    return segments


def _cut(path: Path, size_bytes: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size_bytes)
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make names that were added or removed durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
