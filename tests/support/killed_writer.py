"""Kill a writer of an events file before, after and in each of its writes; look at what it leaves.

``python killed_writer.py FOLDER`` runs this small history in child processes: an events file is
made, five messages are added in four flushes and it is closed. Each child kills itself (SIGKILL) at
another place: before the Nth call that changes something on disk, or in a call that writes, after
some of its bytes. After each kill, and then after a start that goes on at the file's own
offsets, this process reads the file. It prints how many places there were; at a file that cannot
be read, or that has an event twice or not at all, it stops with an error.

A process of its own, small and without threads: each place is a fork of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyspark_vision.clients.receiver import record
from pyspark_vision.clients.receiver.events_file import EventsFile, open_events
from pyspark_vision.clients.receiver.record import Owner

# The ways in which a process changes what is on disk.
CHANGES = ("open", "mkdir", "fchmod", "fsync", "link", "rename", "unlink", "copy_file_range")
# With the place of their data among the arguments.
WRITES = {"write": 1, "pwrite": 1}

OWNER = Owner("cluster", "results", "id", "group", ())
EVENTS = [{"event_type": f"é{number}"} for number in range(5)]
# How many messages are added for each flush. The third flush writes into the spare file.
FLUSHES = (1, 2, 1, 1)


class Places:
    """Counts places as calls come to them, and kills this process at the one that is chosen."""

    def __init__(self, chosen: int, strides: Mapping[str, int]) -> None:
        self.chosen, self.passed, self._strides = chosen, 0, strides
        self._real = {name: getattr(os, name) for name in (*CHANGES, *WRITES)}
        for name, function in self._real.items():
            setattr(os, name, self._watched(name, function))

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **keywords: Any) -> Any:
            self._pass()
            if name in WRITES:
                place = WRITES[name]
                for length in range(1, len(args[place]), self._strides[name]):
                    if self.passed == self.chosen:
                        function(*args[:place], args[place][:length], *args[place + 1 :])
                    self._pass()
            # Of no use here: the machine goes on.
            return None if name == "fsync" else function(*args, **keywords)

        return watched

    def _pass(self) -> None:
        if self.passed == self.chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1


def add_all(events: EventsFile) -> Iterator[None]:
    """Add what the file's offsets say is missing; a pause after each flush."""
    at = events.offsets[0]
    for end in (sum(FLUSHES[: n + 1]) for n in range(len(FLUSHES))):
        if end > at:
            for number in range(at, end):
                events.add([EVENTS[number]], f"{number:016x}")
                events.advance(0, number + 1)
            events.flush()
            at = end
            yield
    events.close()


def history(path: Path, *, is_read: bool) -> None:
    """Make and fill the file; ``is_read``: others keep it open, so that each flush is a copy."""
    readers = []
    for _ in add_all(open_events(path, OWNER, lambda: {0: 0})):
        if is_read:
            readers.append(path.open())


def readable(path: Path) -> list[Any]:
    """What a reader finds, which is a list."""
    with path.open(encoding="utf-8") as file:
        array = json.load(file)
    assert isinstance(array, list), array
    return array


def check_place(path: Path, place: int, strides: Mapping[str, int], *, is_read: bool) -> bool:
    """Whether the history has this place. Raises AssertionError for a file that is not right."""
    child = os.fork()
    if child == 0:
        Places(place, strides)
        history(path, is_read=is_read)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if path.exists():
        array = readable(path)
        assert array == EVENTS[: len(array)], (place, array)
        # A number of messages that were flushed together.
        assert len(array) in [sum(FLUSHES[:n]) for n in range(len(FLUSHES) + 1)], (place, array)
    list(add_all(open_events(path, OWNER, lambda: {0: 0})))
    assert readable(path) == EVENTS, place
    folder = path.with_name(f"{path.name}.state")
    assert sorted(os.listdir(folder)) == ["lock", "record"], place
    for file in (path, folder / "lock", folder / "record"):
        file.unlink()
    folder.rmdir()
    assert status in (0, signal.SIGKILL), (place, status)
    return status == signal.SIGKILL


def main(folder: Path) -> None:
    """Each place of each history."""
    path = folder / "events.json"
    # After each byte of the array in one way; in the others the calls differ, not the bytes.
    for how, stride in (("spare file", 1), ("copies", 9), ("record written anew", 9)):
        strides = {"pwrite": stride, "write": 9}
        # Every flush finds the record too long.
        record._REWRITE_BYTES = -1 if how == "record written anew" else 8 << 20
        place = 0
        while check_place(path, place, strides, is_read=how == "copies"):
            place += 1
        print(f"{how}: {place} places")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
