"""What an events file holds, and up to which offsets: lines of JSON beside it.

The first line is the file's :class:`Owner`. Each other one is a :class:`State`: written and synced
before the file is changed to it. So the file is always in the last state or in the one before, and
its length and checksum tell which: the offsets of that state are where reading goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pyspark_vision.clients.receiver.array_file import Content, sync_folder
from pyspark_vision.errors import InvalidOptionError

# Of this layout; another one is refused.
_FORMAT = 1
# Lines are added until they take so much, then the record is written anew with one state.
_REWRITE_BYTES = 8 << 20


@dataclass(frozen=True)
class Owner:
    """Of which topic the events are: its ids as the brokers give them, which a topic that was made
    anew does not share; the consumer group; the cameras that were asked for (none: all)."""

    cluster_id: str
    topic: str
    topic_id: str
    group: str
    cameras: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """``events``: how many the file has. ``offsets``: of each partition, the next to be read.

    ``keys``: digests of the messages that are new since the state before; ``is_last``: the receiver
    stopped in order, with the file in this state.
    """

    content: Content
    events: int
    offsets: Mapping[int, int]
    keys: Sequence[str] = ()
    is_last: bool = False


class Record:
    """The record in ``path``, open for more states. Errors of the disk are :class:`OSError`."""

    def __init__(self, path: Path, owner: Owner, state: State) -> None:
        """Write it anew, with one state."""
        self._path, self._owner = path, owner
        self._file: int | None = None
        self._length_bytes = 0
        self.rewrite(state)

    def is_long(self) -> bool:
        """Whether it is time to :meth:`rewrite` it."""
        return self._length_bytes > _REWRITE_BYTES

    def append(self, state: State) -> None:
        """Add a state, and sync."""
        assert self._file is not None
        line = _state_line(state)
        _write(self._file, line)
        os.fsync(self._file)
        self._length_bytes += len(line)

    def rewrite(self, state: State) -> None:
        """Replace all states by one; its ``keys`` are all that count."""
        temporary = self._path.with_name("record.new")
        temporary.unlink(missing_ok=True)
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        text = _line({"format": _FORMAT, **asdict(self._owner)}) + _state_line(state)
        try:
            _write(new, text)
            os.fsync(new)
            os.rename(temporary, self._path)
        except BaseException:
            os.close(new)
            raise
        sync_folder(self._path.parent)
        self.close()
        self._file, self._length_bytes = new, 0

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_record(path: Path) -> tuple[Owner, list[State]] | None:
    """The owner and the states, oldest first, at least one; ``None`` where there is no record.

    A last line that a kill left unfinished does not count. Raises :class:`InvalidOptionError` for
    what is no record, and :class:`OSError`.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    try:
        first = json.loads(lines[0])
        if first.pop("format") != _FORMAT:
            raise ValueError(first)
        owner = Owner(**{**first, "cameras": tuple(first["cameras"])})
        return owner, [_state(json.loads(line)) for line in lines[1:]]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise InvalidOptionError(
            f"{path}, which says whose events file this is, cannot be read. Choose another file "
            "for --events"
        ) from None


def differences(there: Owner, wanted: Owner) -> Iterable[tuple[str, Any, Any]]:
    """Name, value there and value wanted of each field in which two owners differ."""
    for field in fields(Owner):
        of_file, of_run = getattr(there, field.name), getattr(wanted, field.name)
        if of_file != of_run:
            yield field.name, of_file, of_run


def _state(line: dict[str, Any]) -> State:
    return State(
        Content(line["bytes"], line["crc32"]),
        line["events"],
        {int(partition): offset for partition, offset in line["offsets"].items()},
        tuple(line["keys"]),
        line["is_last"],
    )


def _state_line(state: State) -> bytes:
    return _line(
        {
            "bytes": state.content.length_bytes,
            "crc32": state.content.crc32,
            "events": state.events,
            "offsets": {str(partition): offset for partition, offset in state.offsets.items()},
            "keys": list(state.keys),
            "is_last": state.is_last,
        }
    )


def _line(fields_: Mapping[str, Any]) -> bytes:
    return json.dumps(fields_).encode("ascii") + b"\n"


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
