"""Which files a stream has planned: lists of files in its checkpoint, each of which is a batch.

``CHECKPOINT/_files/N-….json`` holds a line for each file of a batch. They are what Spark's stream
reads, so that its checkpoint is all that says how far it is; names of pictures are data in them.
Lists that were read long ago are merged in ``_files_read``, or Spark would look at a day's ten
thousands of them in each batch.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.hadoop import create_text, hadoop_path, read_text
from pyspark_vision.sources.listed_files import ListedFile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_Version = tuple[int | None, int | None]

_SOURCE = "_source/files.json"
_FAILED = "_failed_files"

# Lists that are merged at a time, and what stays behind the last one that was read: a batch that is
# replayed reads its list again.
_MERGED_LISTS = 1000
_KEPT_LISTS = 100


class PlannedFiles:
    """The files that the stream of a checkpoint has planned so far, and those that failed.

    Some hundred bytes of memory for each file that ever was planned.
    """

    def __init__(self, session: SparkSession, checkpoint: str) -> None:
        self.folder = f"{checkpoint}/_files"
        self._session = session
        self._failed_folder = f"{checkpoint}/{_FAILED}"
        self._read_folder = f"{checkpoint}/_files_read"
        self._read_lists: list[str] = []
        self._known: set[bytes] = set()
        # By origin: what a file was like when it failed.
        self._failed: dict[str, _Version] = {}
        self._next = 0

    @property
    def lists(self) -> int:
        """How many batches are planned."""
        return self._next

    def read(self) -> None:
        """What earlier starts have planned."""
        failed: dict[str, _Version] = {}
        for name in _names(self._session, self._failed_folder):
            for file in _parsed(read_text(self._session, f"{self._failed_folder}/{name}")):
                failed[file.origin] = (file.size, file.modified_ms)
        last: dict[str, _Version] = {}
        for folder in (self._read_folder, self.folder):
            for name in _names(self._session, folder):
                for line in _lines(read_text(self._session, f"{folder}/{name}")):
                    if not line.startswith("{"):
                        self._known.add(bytes.fromhex(line))
                        continue
                    file = ListedFile(**json.loads(line))
                    self._known.add(_digest(file.uri))
                    if file.origin in failed:
                        last[file.origin] = (file.size, file.modified_ms)
                self._next = max(self._next, int(name.partition("-")[0]) + 1)
        # Those that are planned once more have not failed yet, as they are now.
        self._failed = {origin: at for origin, at in failed.items() if last.get(origin) == at}

    def is_new(self, file: ListedFile) -> bool:
        """Whether a file is not planned yet, or has failed and changed since."""
        if _digest(file.uri) not in self._known:
            return True
        version = (file.size, file.modified_ms)
        return self._failed.get(file.origin, version) != version

    def plan(self, files: Iterable[ListedFile]) -> None:
        """Make a batch of the files; it is there as a whole or not."""
        files = list(files)
        # A name of its own: in a checkpoint that was put back from a copy, a number may come again.
        name = f"{self._next:09d}-{uuid.uuid4().hex[:12]}.json"
        create_text(self._session, f"{self.folder}/{name}", _text(files))
        self._next += 1
        for file in files:
            self._known.add(_digest(file.uri))
            self._failed.pop(file.origin, None)

    def note_read(self, lists: Iterable[str]) -> None:
        """These lists, by their names, were read by a batch; older ones are merged."""
        self._read_lists += [name for name in lists if name not in self._read_lists[-1:]]
        if len(self._read_lists) >= _MERGED_LISTS + _KEPT_LISTS:
            merged, self._read_lists = (
                self._read_lists[:_MERGED_LISTS],
                self._read_lists[_MERGED_LISTS:],
            )
            self._merge(merged)

    def _merge(self, lists: list[str]) -> None:
        """One list for many: of a file that has not failed it is enough to know it again."""
        lines = []
        for name in lists:
            for line in _lines(read_text(self._session, f"{self.folder}/{name}")):
                file = ListedFile(**json.loads(line))
                lines.append(line if file.origin in self._failed else _digest(file.uri).hex())
        create_text(self._session, f"{self._read_folder}/{max(lists)}", "\n".join(lines))
        for name in lists:
            file_system, path = hadoop_path(self._session, f"{self.folder}/{name}")
            file_system.delete(path, False)

    def note_failed(self, batch_id: int, files: Iterable[ListedFile]) -> None:
        """Remember what the failed files of a batch were like; a replay says it again."""
        files = list(files)
        if not files:
            return
        name = f"{self._failed_folder}/{batch_id:09d}.json"
        file_system, path = hadoop_path(self._session, name)
        file_system.delete(path, False)
        create_text(self._session, name, _text(files))
        for file in files:
            self._failed[file.origin] = (file.size, file.modified_ms)


def claim(session: SparkSession, checkpoint: str, folder: str) -> None:
    """Say in the checkpoint that its stream reads this folder.

    Raises :class:`InvalidOptionError` if it reads another one, or something else.
    """
    file_system, offsets = hadoop_path(session, f"{checkpoint}/offsets")
    record = read_text(session, f"{checkpoint}/{_SOURCE}")
    if record is None and file_system.exists(offsets) and file_system.listStatus(offsets):
        raise InvalidOptionError(
            f"--checkpoint {checkpoint} is of a stream that does not read a folder, or of an older "
            f"version; --input says {folder}. Choose a new --checkpoint and a new output"
        )
    if record is None:
        create_text(session, f"{checkpoint}/{_SOURCE}", json.dumps({"folder": folder}))
        record = read_text(session, f"{checkpoint}/{_SOURCE}")
    known = json.loads(record or "{}").get("folder")
    if known != folder:
        raise InvalidOptionError(
            f"this checkpoint reads {known}, --input says {folder}: correct --input, or choose "
            "a new --checkpoint and a new output"
        )


def _digest(uri: str) -> bytes:
    return hashlib.blake2b(uri.encode(), digest_size=16).digest()


def _text(files: Iterable[ListedFile]) -> str:
    # ASCII, and no line break within a line.
    lines = (
        json.dumps(
            {
                "origin": file.origin,
                "uri": file.uri,
                "size": file.size,
                "modified_ms": file.modified_ms,
            }
        )
        for file in files
    )
    return "".join(f"{line}\n" for line in lines)


def _parsed(text: str | None) -> Iterator[ListedFile]:
    for line in _lines(text):
        yield ListedFile(**json.loads(line))


def _lines(text: str | None) -> list[str]:
    return [line for line in (text or "").split("\n") if line]


def _names(session: SparkSession, folder: str) -> list[str]:
    file_system, path = hadoop_path(session, folder)
    if not file_system.exists(path):
        return []
    names = [status.getPath().getName() for status in file_system.listStatus(path)]
    return sorted(name for name in names if name[:1].isdigit())
