"""`events.json` as a consumer's own storage: each event once, whatever ends the process.

The file (``array_file.py``) and the offsets up to which it was filled (``record.py``) belong
together, in ``FILE.state/`` beside it: these offsets are the truth, and reading goes on at them.
Those that are committed to Kafka under the consumer group come after, for whoever watches the lag
there; nothing is read from them.

The window of results that are known (``repeats.py``) is kept with the offsets, so that a repeat is
left out after a restart, too.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pyspark_vision.clients.receiver.array_file import EMPTY, ArrayFile, create
from pyspark_vision.clients.receiver.record import (
    Owner,
    Record,
    State,
    differences,
    read_record,
)
from pyspark_vision.clients.receiver.repeats import WINDOW_RESULTS, Window
from pyspark_vision.errors import InvalidOptionError

# A file that is read by people and dashboards need not be younger.
FLUSH_INTERVAL_S = 1.0
# At most a tenth of the time goes into flushes, where each of them copies a large file.
_PAUSES_PER_FLUSH = 9
# What waits in memory for a flush.
_PENDING_BYTES = 4 << 20

_WORDS = {
    "cluster_id": "cluster",
    "topic": "topic",
    "topic_id": "topic with the id",
    "group": "consumer group",
    "cameras": "cameras",
}


class EventsFile:
    """An events file that this process, and no other, adds to."""

    def __init__(self, file: ArrayFile, record: Record, state: State, lock: int) -> None:
        self._file, self._record, self._lock = file, record, lock
        self._state = state
        #: The results that are there, or wait to be flushed.
        self.window = Window(state.keys)
        self._offsets = dict(state.offsets)
        self._entries: list[str] = []
        self._new_keys: list[str] = []
        self._pending_bytes = 0
        self._next_flush = time.monotonic() + FLUSH_INTERVAL_S
        # Not after a flush that failed.
        self._is_sound = True

    @property
    def path(self) -> Path:
        """Of the file, symbolic links resolved."""
        return self._file.path

    @property
    def events(self) -> int:
        """How many the published file has."""
        return self._state.events

    @property
    def offsets(self) -> Mapping[int, int]:
        """Of each partition the offset up to which the published file has everything."""
        return self._state.offsets

    def add(self, events: Sequence[Mapping[str, str]], digest: str | None) -> None:
        """Take the events of a result, known by ``digest`` from now on, for the next flush."""
        for event in events:
            entry = json.dumps(event)
            self._entries.append(entry)
            self._pending_bytes += len(entry)
        if digest is not None:
            self.window.add(digest)
            self._new_keys.append(digest)

    def advance(self, partition: int, next_offset: int) -> None:
        """All before ``next_offset`` was added, or counted otherwise."""
        self._offsets[partition] = next_offset

    def is_due(self) -> bool:
        """Whether it is time to :meth:`flush`."""
        if self._offsets == self._state.offsets:
            return False
        return self._pending_bytes >= _PENDING_BYTES or time.monotonic() >= self._next_flush

    def flush(self) -> None:
        """Publish what was added. Raises :class:`OSError`, after which the file is as before, and
        this object is of no more use."""
        begun = time.monotonic()
        self._is_sound = False
        content = self._file.prepare(self._entries) if self._entries else self._file.content
        events = self._state.events + len(self._entries)
        state = State(content, events, dict(self._offsets), tuple(self._new_keys))
        self._record.append(state)
        if self._entries:
            self._file.publish()
        if self._record.is_long():
            self._record.rewrite(replace(state, keys=tuple(self.window)))
        self._state, self._is_sound = state, True
        self._entries, self._new_keys, self._pending_bytes = [], [], 0
        now = time.monotonic()
        self._next_flush = now + max(FLUSH_INTERVAL_S, _PAUSES_PER_FLUSH * (now - begun))

    def close(self) -> None:
        """Flush, unless a flush has failed, and let others work on the file. Raises as it does."""
        try:
            if self._is_sound and self._offsets != self._state.offsets:
                self.flush()
            if self._is_sound:
                # Only of what is published it may be said that it is the last.
                self._record.append(replace(self._state, keys=(), is_last=True))
                self._file.close()
        finally:
            self._record.close()
            os.close(self._lock)


def open_events(path: Path, owner: Owner, begin: Callable[[], Mapping[int, int]]) -> EventsFile:
    """The events file at ``path``, made if need be; ``begin`` gives the offsets where a new one
    begins.

    Raises :class:`InvalidOptionError`, with nothing changed, for a file that is not ``owner``'s,
    for one that is not as it was left, and for one that another process adds to.
    """
    path = Path(os.path.realpath(path))
    folder = path.with_name(f"{path.name}.state")
    _refuse_others(path, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder, path)
    except OSError as error:
        raise InvalidOptionError(f"--events {path}: {folder}: {error.strerror}") from None
    try:
        return _open(path, folder, owner, begin, lock)
    except BaseException:
        os.close(lock)
        raise


def _open(
    path: Path,
    folder: Path,
    owner: Owner,
    begin: Callable[[], Mapping[int, int]],
    lock: int,
) -> EventsFile:
    _refuse_others(path, folder)
    previous = read_record(folder / "record")
    if previous is None:
        state = State(EMPTY, 0, begin())
        record = Record(folder / "record", owner, state)
        create(path, folder / "spare")
        return EventsFile(ArrayFile(path, folder), record, state, lock)
    there, states = previous
    for name, of_file, of_run in differences(there, owner):
        raise InvalidOptionError(
            f"--events {path} belongs to {_WORDS[name]} {_shown(of_file)}, not {_shown(of_run)}"
            f"{_hint(name)}. Choose another file, or start as it was started first"
        )
    if path.exists():
        file = ArrayFile(path, folder)
        at = next(
            (n for n in reversed(range(len(states))) if states[n].content == file.content), None
        )
        if at is None:
            raise InvalidOptionError(
                f"--events {path} is not as receive left it ({states[-1].events} events): something"
                f" else has changed it. Put the former file back, or move it and {folder} away to "
                "begin a new one"
            )
        state = replace(states[at], keys=_keys(states[: at + 1]))
    else:
        # Where the end of the file that was taken away is not certain, neither is where to go on.
        if not (states[-1].is_last or states[-1].content == EMPTY):
            raise InvalidOptionError(
                f"--events {path} is gone, and receive did not end in order. Put the file "
                f"back and start again, or move {folder} away, too, to begin a new one"
            )
        state = replace(states[-1], content=EMPTY, events=0, keys=_keys(states))
        file = None
    # One state, and it is the file's: a state that was never published is forgotten.
    record = Record(folder / "record", owner, replace(state, is_last=False))
    if file is None:
        create(path, folder / "spare")
        file = ArrayFile(path, folder)
    return EventsFile(file, record, state, lock)


def _refuse_others(path: Path, folder: Path) -> None:
    if path.is_dir():
        raise InvalidOptionError(f"--events {path} is a folder; name a file, as {path}/events.json")
    if path.exists() and not (folder / "record").exists():
        raise InvalidOptionError(
            f"--events {path} is there already and receive did not make it, so that nothing of it "
            "is replaced. Choose another file, or move it away"
        )


def _lock(folder: Path, path: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InvalidOptionError(
            f"--events {path}: another receive adds to it now. Stop that one, or choose another "
            "file"
        ) from None
    return lock


def _keys(states: Sequence[State]) -> tuple[str, ...]:
    """Those of the window, oldest first."""
    return tuple(key for state in states for key in state.keys)[-WINDOW_RESULTS:]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) if value else "(all)"
    return str(value)


def _hint(name: str) -> str:
    return " (it was made anew, and its offsets began again)" if name == "topic_id" else ""
