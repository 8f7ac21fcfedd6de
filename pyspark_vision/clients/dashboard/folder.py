"""Results in a folder or file: each file's rows are counted once, when it is there.

Files are written once and then stay: a batch that is written again, or merged with others, comes
under new names. So a file that is gone means that all is counted anew, beside what is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import duckdb
import pyarrow as pa

from pyspark_vision.clients.dashboard.answers import Example
from pyspark_vision.clients.dashboard.columns import Layout
from pyspark_vision.clients.dashboard.files import DataFile, list_files, pieces
from pyspark_vision.clients.dashboard.places import Place, why_unreadable
from pyspark_vision.clients.dashboard.source import Picture, Status
from pyspark_vision.clients.dashboard.stored_pictures import stored_picture
from pyspark_vision.clients.dashboard.summary import Summary

# Small files are read side by side, since most of their time is waiting; so many, of so much, at
# once are counted together.
_READERS = 4
_FILES_AT_ONCE = 64
_BYTES_AT_ONCE = 32 * 1024 * 1024
_NAMED_FILES = 3


class Folder:
    """``place`` as a source; ``zone``: of the local time that its rows are counted by."""

    def __init__(self, place: Place, zone: str) -> None:
        self._place = place
        self._zone = zone
        self._counted: dict[str, DataFile] = {}
        self._unreadable: dict[str, tuple[DataFile, str]] = {}
        self._missing: dict[str, int] = {}
        self._status = Status(Summary(zone), 0, progress="Looking for files …")
        self._readers = ThreadPoolExecutor(_READERS, "dashboard-reader")

    @property
    def shown(self) -> str:
        return self._place.shown

    @property
    def about(self) -> str:
        return "files of results"

    @property
    def status(self) -> Status:
        return self._status

    def look(self) -> None:
        try:
            files = list_files(self._place)
        except (OSError, ValueError) as error:
            self._say("", (f"{why_unreadable(self._place, error)}; it is looked for again.",))
            return
        there = {file.path: file for file in files}
        self._unreadable = {
            path: known for path, known in self._unreadable.items() if there.get(path) == known[0]
        }
        if any(there.get(path) != file for path, file in self._counted.items()):
            self._begin_anew(files)
            return
        new = [f for f in files if f.path not in self._counted and f.path not in self._unreadable]
        summary = self._status.summary
        done = len(self._counted)
        for window in _windows(new):
            self._say(f"Reading file {done + 1:,} of {done + len(new):,} …", self._notes(files))
            self._count(summary, window)
            done += len(window)
        if new:
            summary.settle()
        self._say("", self._notes(files))

    def picture(self, example: Example) -> Picture:
        return stored_picture(self._place.system, example)

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._status.summary.close()

    def _begin_anew(self, files: Sequence[DataFile]) -> None:
        """Count all files into another summary, and show that when it is whole."""
        before = self._status
        self._say("Files were replaced: counting anew …", before.notes)
        summary = Summary(self._zone)
        self._counted, self._unreadable, self._missing = {}, {}, {}
        for window in _windows(files):
            self._count(summary, window)
        summary.settle()
        self._status = Status(summary, self._status.version + 1, "", self._notes(files))
        before.summary.close()

    def _count(self, summary: Summary, files: Sequence[DataFile]) -> None:
        """All of these files at once; if one of them cannot be, each by itself."""
        try:
            with summary.adding():
                for layout, table in self._read(files):
                    summary.add(table, layout)
        except FileNotFoundError:
            if len(files) > 1:
                self._count_each(summary, files)
            # Else it was replaced since it was listed: the next look finds what came.
        except (OSError, ValueError, pa.ArrowException, duckdb.Error) as error:
            if len(files) > 1:
                self._count_each(summary, files)
            else:
                self._unreadable[files[0].path] = (files[0], _reason(error))
        else:
            self._counted |= {file.path: file for file in files}

    def _count_each(self, summary: Summary, files: Sequence[DataFile]) -> None:
        for file in files:
            self._count(summary, [file])

    def _read(self, files: Sequence[DataFile]) -> Iterator[tuple[Layout, pa.Table]]:
        """Tables of one layout together; a large file's, which comes alone, one after the other."""
        missing: dict[str, int] = {}
        if len(files) == 1:
            for layout, table in pieces(self._place, files[0]):
                missing = dict.fromkeys(layout.missing, 1)
                yield layout, table
        else:
            read = self._readers.map(lambda file: list(pieces(self._place, file)), files)
            tables: dict[tuple[Layout, pa.Schema], list[pa.Table]] = {}
            for parts in read:
                for layout, _ in parts[:1]:
                    for words in layout.missing:
                        missing[words] = missing.get(words, 0) + 1
                for layout, table in parts:
                    schema = table.schema.remove_metadata()
                    tables.setdefault((layout, schema), []).append(table.cast(schema))
            for (layout, _), some in tables.items():
                yield layout, pa.concat_tables(some)
        for words, count in missing.items():
            self._missing[words] = self._missing.get(words, 0) + count

    def _notes(self, files: Sequence[DataFile]) -> tuple[str, ...]:
        notes = []
        if not files:
            notes.append(
                f"{self._place.shown} holds no *.parquet and no *.json file yet: has the job "
                "finished a batch? The page shows them when they come."
            )
        counted = len(self._counted)
        for words, count in self._missing.items():
            of = "" if count >= counted else f" (in {count:,} of {counted:,} files)"
            notes.append(f"{words[0].upper()}{words[1:]}{of}.")
        if self._unreadable:
            named = [
                f"{path.rpartition('/')[2]}: {why}"
                for path, (_, why) in list(self._unreadable.items())[:_NAMED_FILES]
            ]
            more = len(self._unreadable) - len(named)
            said = "; ".join(named) + (f"; and {more:,} more" if more else "")
            count = len(self._unreadable)
            files_are = "1 file is" if count == 1 else f"{count:,} files are"
            notes.append(f"{files_are} left out. {said}.")
        return tuple(notes)

    def _say(self, progress: str, notes: tuple[str, ...]) -> None:
        """Raise the version if what is said or counted is new."""
        said = replace(self._status, progress=progress, notes=notes)
        rows = self._status.summary.rows
        if said != self._status or rows != self._rows_shown:
            self._rows_shown = rows
            self._status = replace(said, version=said.version + 1)

    _rows_shown = 0


def _windows(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    window: list[DataFile] = []
    size = 0
    for file in files:
        if window and (len(window) >= _FILES_AT_ONCE or size + file.size_bytes > _BYTES_AT_ONCE):
            yield window
            window, size = [], 0
        window.append(file)
        size += file.size_bytes
    if window:
        yield window


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "magic bytes" in said or "Parquet file size is" in said:
        return "it is no Parquet file, or not a whole one"
    return said[:300]
