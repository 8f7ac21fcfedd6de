"""PyctureStream's ``events.json``: one JSON array that somebody appends to, read as it grows.

What is there is parsed once: a look goes on behind the last whole event. An array that is not
closed, because it is just being written, is read as far as it goes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pyspark_vision.clients.dashboard.answers import Example
from pyspark_vision.clients.dashboard.columns import find_layout
from pyspark_vision.clients.dashboard.source import Picture, PictureMissing, Status
from pyspark_vision.clients.dashboard.summary import Summary

_FIELDS = ("event_type", "timestamp", "camera_id")
_SCHEMA = pa.schema([(name, pa.string()) for name in _FIELDS])
_LAYOUT = find_layout(_SCHEMA)

_CHUNK_BYTES = 4 * 1024 * 1024
# To know a file again: what stood before the place where the last look ended.
_TAIL_BYTES = 4096
_BETWEEN = b" \t\r\n,"
# An event has three short texts.
_LONGEST_EVENT_BYTES = 64 * 1024


class EventsFile:
    """The file at a local path as a source. Its times are local already."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._status = Status(Summary("UTC"), 0, progress="Reading events …")
        self._begin()

    @property
    def shown(self) -> str:
        return self._path

    @property
    def about(self) -> str:
        return "events as PyctureStream's receiver writes them"

    @property
    def status(self) -> Status:
        return self._status

    def look(self) -> None:
        before = self._end
        try:
            with open(self._path, "rb") as file:
                if self._was_replaced(file):
                    self._begin()
                    old = self._status.summary
                    self._status = replace(self._status, summary=Summary("UTC"))
                    old.close()
                    before = -1
                self._take(file)
        except OSError as error:
            self._say(f"{self._path} cannot be read: {error.strerror}; it is looked for again.")
            return
        if self._end != before:
            self._status = replace(self._status, version=self._status.version + 1)
        self._say(*self._notes())

    def picture(self, example: Example) -> Picture:
        raise PictureMissing("events.json has no pictures")

    def close(self) -> None:
        self._status.summary.close()

    def _begin(self) -> None:
        self._end, self._tail, self._bad = 0, b"", 0
        self._first_bad = self._broken = ""

    def _was_replaced(self, file: Any) -> bool:
        if os.fstat(file.fileno()).st_size < self._end:
            return True
        file.seek(self._end - len(self._tail))
        return bool(file.read(len(self._tail)) != self._tail)

    def _take(self, file: Any) -> None:
        file.seek(self._end)
        rest = b""
        summary = self._status.summary
        while not self._broken and (chunk := file.read(_CHUNK_BYTES)):
            data = rest + chunk
            columns: dict[str, list[str | None]] = {name: [] for name in _FIELDS}
            end = 0
            for event, behind in self._events(data):
                end = behind
                if event is not None:
                    for name in _FIELDS:
                        columns[name].append(event[name])
            if columns["event_type"]:
                with summary.adding():
                    summary.add(pa.table(columns, schema=_SCHEMA), _LAYOUT)
            self._end += end
            self._tail = (self._tail + data[:end])[-_TAIL_BYTES:]
            rest = data[end:]
        summary.settle()

    def _events(self, data: bytes) -> Iterator[tuple[dict[str, str | None] | None, int]]:
        """Whole events and where each ends; ``None`` for a bad one, which is counted.

        An event ends with the brace that makes it JSON: texts may have braces in them.
        """
        place = 0
        if not self._end:
            place = len(data) - len(data.lstrip())
            if data[place : place + 1] == b"[":
                place += 1
            elif place < len(data):
                self._broken = "it begins with no [ and so is no JSON array"
                return
        while True:
            while place < len(data) and data[place] in _BETWEEN:
                place += 1
            if data[place : place + 1] != b"{":
                # The end of the array, which a later event may stand in the place of; or rubbish.
                if place < len(data) and data[place : place + 1] != b"]":
                    self._broken = f"what stands at byte {self._end + place:,} is no event"
                return
            value, end = self._object(data, place)
            if end < 0:
                return
            place = end
            yield self._checked(value), end

    def _object(self, data: bytes, start: int) -> tuple[Any, int]:
        end = start
        while (end := data.find(b"}", end) + 1) > 0:
            try:
                return json.loads(data[start:end]), end
            except ValueError:
                if end - start > _LONGEST_EVENT_BYTES:
                    self._broken = f"what stands at byte {self._end + start:,} is no event"
                    break
        return None, -1

    def _checked(self, value: Any) -> dict[str, str | None] | None:
        label = value.get("event_type")
        if not isinstance(label, str):
            self._bad += 1
            self._first_bad = self._first_bad or json.dumps(value)[:80]
            return None
        others = {
            name: text if isinstance(text := value.get(name), str) else None for name in _FIELDS[1:]
        }
        return {"event_type": label, **others}

    def _notes(self) -> list[str]:
        notes = []
        if self._broken:
            notes.append(f"{self._path} was read up to there only: {self._broken}.")
        if self._bad:
            notes.append(
                f"{self._bad:,} entries without a text event_type were left out; the first is "
                f"{self._first_bad}."
            )
        if not self._status.summary.rows and not self._broken:
            notes.append(f"{self._path} has no events yet. The page shows them when they come.")
        return notes

    def _say(self, *notes: str) -> None:
        if (notes, "") != (self._status.notes, self._status.progress):
            self._status = replace(
                self._status, version=self._status.version + 1, progress="", notes=notes
            )
