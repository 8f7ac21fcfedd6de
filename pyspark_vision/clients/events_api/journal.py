"""Events on disk from their acceptance until Kafka has them: append-only, bounded, killable.

What :meth:`Journal.append` returned for is on the disk: one ``fdatasync`` for all that is appended
at once. A process that is killed at any byte leaves whole records and at most one torn end, which
belongs to events that nobody was answered for.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.events_api.records import Record, decode, encode
from pyspark_vision.clients.events_api.segments import (
    JournalError,
    Segment,
    open_segments,
    segment_path,
    sync_folder,
)

DEFAULT_MAX_BYTES = 256 * 1024 * 1024

# Files that can be removed one by one as their events are sent; the bound is of all together.
_SEGMENTS = 8
# Sent events stay for their keys, so far.
_MAX_SENT_BYTES = 64 * 1024 * 1024
# What is read at once to be sent; a larger record is read alone.
_READ_BYTES = 1024 * 1024

_IDENTITY, _SENT, _LOCK = "journal.json", "sent.json", "lock"
_FORMAT = 1


class JournalFullError(Exception):
    """What was to be appended is not kept; the message says why."""


@dataclass(frozen=True)
class Draft:
    """An event that has no number yet; fields as of :class:`Record`."""

    accepted_ms: int
    message: bytes
    identity: bytes = b""


class Journal:
    """One process's; made by :func:`open_journal`. One thread appends, one reads and marks."""

    def __init__(self, folder: Path, name: str, max_bytes: int, sent: int) -> None:
        self.folder, self.name, self.max_bytes = folder, name, max_bytes
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._file: int | None = None
        self._sent, self._marked = sent, sent
        self._read_path, self._read_from, self._read_next = Path(), 0, -1
        # What has to stop before the journal may be written again.
        self._broken: str | None = None

    @property
    def sent(self) -> int:
        """The number of the first event that is not in the topic yet."""
        return self._sent

    @property
    def end(self) -> int:
        """The number that the next event gets."""
        with self._lock:
            return max(self._segments[-1].end if self._segments else 1, self._sent)

    @property
    def first(self) -> int:
        """The number of the oldest event that is still here, sent or not."""
        with self._lock:
            return self._segments[0].first if self._segments else self._sent

    @property
    def size_bytes(self) -> int:
        with self._lock:
            return sum(segment.size_bytes for segment in self._segments)

    def append(self, drafts: Sequence[Draft]) -> range:
        """Keep events; their numbers. All are on the disk, or none is.

        Raises :class:`JournalFullError` where there is no room, in the bound or on the disk.
        """
        if self._broken:
            raise JournalFullError(self._broken)
        first = self.end
        records = (
            Record(first + place, draft.accepted_ms, draft.message, draft.identity)
            for place, draft in enumerate(drafts)
        )
        data = b"".join(map(encode, records))
        segment = self._room_for(len(data), first)
        try:
            self._write(data, segment)
        except OSError as error:
            raise JournalFullError(f"{self.folder}: {error.strerror}") from None
        with self._lock:
            segment.end = first + len(drafts)
            segment.size_bytes += len(data)
        return range(first, segment.end)

    def unsent(self, max_records: int) -> list[Record]:
        """The oldest events that are not marked as sent; empty if there are none."""
        with self._lock:
            segments = [(s.path, s.first, s.end, s.size_bytes) for s in self._segments]
        for path, first, end, size_bytes in segments:
            if end <= self._sent:
                continue
            if self._read_next != self._sent or self._read_path != path:
                self._read_path, self._read_from, self._read_next = path, 0, first
            with path.open("rb") as file:
                return list(self._read(file.fileno(), size_bytes, max_records))
        return []

    def mark_sent(self, sent: int) -> None:
        """Events below this number are in the topic."""
        self._sent = max(self._sent, sent)
        with self._lock:
            gone = self._removable(_MAX_SENT_BYTES, 0)
        if gone:
            self.save_mark()
            self._remove(gone)

    def save_mark(self) -> None:
        """Write down what is marked; where that fails or is late, Kafka knows better."""
        if self._marked != self._sent:
            try:
                _write_whole(self.folder / _SENT, {"sent": self._sent})
            except OSError:
                return
            self._marked = self._sent

    def _read(self, file: int, size_bytes: int, max_records: int) -> Iterator[Record]:
        want = _READ_BYTES
        given = 0
        while given == 0 and self._read_from < size_bytes:
            data = os.pread(file, min(want, size_bytes - self._read_from), self._read_from)
            whole = 0
            for record, after in decode(data):
                if record.sequence >= self._sent:
                    if given == max_records:
                        break
                    given += 1
                    yield record
                whole = after
                self._read_next = record.sequence + 1
            self._read_from += whole
            if whole == 0:
                if len(data) < want:
                    raise JournalError(
                        f"{self._read_path} was changed by another program, at byte "
                        f"{self._read_from}; stop that, and start again"
                    )
                want *= 2

    def _room_for(self, size_bytes: int, first: int) -> Segment:
        """The segment to append to; older ones go where they must and may."""
        limit = self.max_bytes // _SEGMENTS
        with self._lock:
            active = self._segments[-1] if self._segments else None
            used = sum(segment.size_bytes for segment in self._segments)
            begins = active is None or (
                active.size_bytes > 0 and active.size_bytes + size_bytes > limit
            )
            # An active segment that is sent as a whole can go, too, once there is a new one.
            excess = used + size_bytes - self.max_bytes
            if excess > 0 and active is not None and active.size_bytes > 0:
                begins = begins or active.end <= self._sent
            gone = self._removable(self.max_bytes, excess, with_active=begins)
            freed = sum(segment.size_bytes for segment in gone)
        if excess > freed:
            raise JournalFullError(
                f"the journal has its {self.max_bytes // 1024 // 1024} MB full of events that "
                "Kafka did not take yet"
            )
        if active is not None and active.end < first:
            # Kafka has what the disk has lost: the gap must not look like damage.
            begins = True
            self.save_mark()
        if begins:
            active = self._begin(first)
        self._remove(gone)
        assert active is not None
        return active

    def _removable(
        self, max_sent_bytes: int, excess: int, *, with_active: bool = False
    ) -> list[Segment]:
        """The oldest segments that are sent, beyond so many bytes, or for so many."""
        old = self._segments if with_active else self._segments[:-1]
        sent = [segment for segment in old if segment.end <= self._sent]
        too_many = sum(segment.size_bytes for segment in sent) - max_sent_bytes
        free = max(excess, too_many)
        gone = []
        for segment in sent:
            if free <= 0:
                break
            gone.append(segment)
            free -= segment.size_bytes
        return gone

    def _remove(self, gone: Sequence[Segment]) -> None:
        with self._lock:
            self._segments = [segment for segment in self._segments if segment not in gone]
        for segment in gone:
            segment.path.unlink(missing_ok=True)

    def _begin(self, first: int) -> Segment:
        path = segment_path(self.folder, first)
        try:
            # It may be there from a try that found the disk full.
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            sync_folder(self.folder)
        except OSError as error:
            raise JournalFullError(f"{self.folder}: {error.strerror}") from None
        if self._file is not None:
            os.close(self._file)
        self._file = file
        segment = Segment(path, first, first, 0)
        with self._lock:
            self._segments.append(segment)
        return segment

    def _write(self, data: bytes, segment: Segment) -> None:
        assert self._file is not None
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fdatasync(self._file)
        except OSError:
            try:
                os.ftruncate(self._file, segment.size_bytes)
                os.fdatasync(self._file)
            except OSError as error:
                self._broken = f"{segment.path} cannot be written any more ({error.strerror})"
            raise

    def _continue(self, segments: list[Segment]) -> None:
        self._segments = segments
        if segments:
            # Only what is sent is ever removed.
            self._sent = max(self._sent, segments[0].first)
            self._file = os.open(segments[-1].path, os.O_WRONLY | os.O_APPEND)

    def _close(self) -> None:
        self.save_mark()
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def open_journal(
    folder: Path, topic: str, max_bytes: int, visit: Callable[[Record], None]
) -> Iterator[Journal]:
    """A folder's journal of a topic, made where there is none; this process's until the end.

    Each record that is there, sent or not, is given to ``visit``. Raises :class:`JournalError` for
    a folder of others, of another topic, in use, or damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_others(folder)  # nothing of ours is left among it, not even the lock
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalError(
            f"--journal {folder} cannot be written: {error.strerror}. Choose a folder that can be"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"--journal {folder} is another running events-api's: choose another folder"
            ) from None
        try:
            name = _name(folder, topic)
            sent = _sent(folder)
            journal = Journal(folder, name, max_bytes, sent)
            journal._continue(open_segments(folder, sent, visit))
        except OSError as error:
            raise JournalError(f"--journal {folder}: {error.strerror}") from None
        if journal._segments and journal._segments[-1].end > sent:
            _refuse_other_topic(folder, topic)
        _write_whole(folder / _IDENTITY, {"format": _FORMAT, "name": name, "topic": topic})
        try:
            yield journal
        finally:
            journal._close()
    finally:
        os.close(lock)


def _name(folder: Path, topic: str) -> str:
    """The journal's own name, which no other has; a new one in an empty folder."""
    known = _json(folder / _IDENTITY)
    if known is None:
        return uuid.uuid4().hex[:12]
    if known.get("format") != _FORMAT:
        raise JournalError(f"--journal {folder} is of another version of pyspark-vision")
    return str(known["name"])


def _refuse_others(folder: Path) -> None:
    """A folder with anything in it is a journal, or somebody's."""
    if (folder / _IDENTITY).exists():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name != _LOCK)
    others = [name for name in others if not name.endswith(".part")]
    if others:
        raise JournalError(
            f"--journal {folder} is no journal and has {others[0]} in it: choose a folder of its "
            "own"
        )


def _refuse_other_topic(folder: Path, topic: str) -> None:
    known = _json(folder / _IDENTITY)
    if known is not None and known["topic"] != topic:
        raise JournalError(
            f"--journal {folder} has events for the topic {known['topic']} that are not sent yet: "
            f"start with --kafka-topic {known['topic']}, or choose another --journal"
        )


def _sent(folder: Path) -> int:
    known = _json(folder / _SENT)
    return int(str(known["sent"])) if known else 1


def _json(path: Path) -> dict[str, object] | None:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise JournalError(f"{path} is damaged: restore it, or choose another --journal")
    return read


def _write_whole(path: Path, value: dict[str, object]) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
