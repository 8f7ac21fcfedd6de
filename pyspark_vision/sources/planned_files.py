"""Which files a stream has planned: lists of files in its checkpoint, each of which is a batch.

``CHECKPOINT/_files/N-….json`` holds a line for each file of a batch. They are what Spark's stream
reads, so that its checkpoint is all that says how far it is; names of pictures are data in them.
Lists that were read long ago are merged in ``_files_read``, or Spark would look at a day's ten
thousands of them in each batch.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark_vision.errors import ErrorCode, InvalidOptionError
from pyspark_vision.sources.listed_files import ListedFile
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import create_text, delete, list_names, qualified, read_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_Version = tuple[int | None, int | None]

_SOURCE = "_source/files.json"
_FAILED = "_failed_files"
_READ_LISTS = "_read_lists/names.json"

# Reasons that may pass without a change of the file: rights, a store that is away, a file that was
# gone and is put back as it was.
_PASSING = {ErrorCode.FETCH_FAILED, ErrorCode.FETCH_DENIED, ErrorCode.FETCH_NOT_FOUND}

# How long such a file waits in a running stream; doubled with each failure, up to about an hour.
_FIRST_PAUSE_S = 60.0
_MOST_DOUBLINGS = 6

# Lists that are merged at a time, and what stays behind the last one that was read: a batch that is
# replayed reads its list again.
_MERGED_LISTS = 1000
_KEPT_LISTS = 100


@dataclass(frozen=True)
class _Failure:
    """What a file was like when it failed, in which batch, and from when on (by
    ``time.monotonic()``) it may be planned again as it is; ``None``: only when it has changed."""

    version: _Version
    batch_id: int
    again_at: float | None


class PlannedFiles:
    """The files that the stream of a checkpoint has planned so far, and those that failed.

    Some hundred bytes of memory for each file that ever was planned.
    """

    def __init__(self, session: SparkSession, checkpoint: str) -> None:
        self.folder = f"{checkpoint}/_files"
        self._session = session
        self._checkpoint = checkpoint
        self._failed_folder = f"{checkpoint}/{_FAILED}"
        self._read_folder = f"{checkpoint}/_files_read"
        self._read_lists: list[str] = []
        self._known: set[bytes] = set()
        # By origin.
        self._failed: dict[str, _Failure] = {}
        # Of files that have failed once: the list that has them last, and how often in this run.
        self._last_list: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        # The last batch that Spark will not replay, and the last that has failed files.
        self._committed = self._last_failed = -1
        # Batches whose failed files an earlier start has noted.
        self._noted: set[int] = set()
        self._next = 0

    @property
    def lists(self) -> int:
        """How many batches are planned."""
        return self._next

    def read(self) -> None:
        """What earlier starts have planned."""
        text = read_text(self._session, f"{self._checkpoint}/{_READ_LISTS}")
        self._read_lists = json.loads(text or "[]")
        # By origin: the list it failed in, if that is known, and how.
        failed: dict[str, tuple[str | None, _Failure]] = {}
        for name in _names(self._session, self._failed_folder):
            batch_id = int(name.partition(".")[0])
            self._noted.add(batch_id)
            for line in _lines(read_text(self._session, f"{self._failed_folder}/{name}")):
                record: dict[str, Any] = json.loads(line)
                version = (record["size"], record["modified_ms"])
                again_at = 0.0 if record.get("code") in _PASSING else None
                latest = _Failure(version, batch_id, again_at)
                failed[record["origin"]] = (record.get("list"), latest)
                self._last_failed = max(self._last_failed, batch_id)
        last: dict[str, _Version] = {}
        for folder in (self._read_folder, self.folder):
            for name in _names(self._session, folder):
                for line in _lines(read_text(self._session, f"{folder}/{name}")):
                    if not line.startswith("{"):
                        self._known.add(bytes.fromhex(line))
                        continue
                    planned: dict[str, Any] = json.loads(line)
                    in_list = planned.pop("list", name)
                    file = ListedFile(**planned)
                    self._known.add(_digest(file.identity))
                    if file.origin in failed:
                        last[file.origin] = (file.size, file.modified_ms)
                        self._last_list[file.origin] = in_list
                self._next = max(self._next, int(name.partition("-")[0]) + 1)
        self.see_commits()
        # Those that are planned once more have not failed yet, as they are now.
        for origin, (in_list, failure) in failed.items():
            # Records of older versions do not say of which list they are.
            is_last = in_list is None or self._last_list.get(origin) == in_list
            if is_last and last.get(origin) == failure.version:
                self._failed[origin] = failure

    def is_new(self, file: ListedFile) -> bool:
        """Whether a file is not planned yet, or has failed and changed since, or is due again."""
        if _digest(file.identity) not in self._known:
            return True
        failure = self._failed.get(file.origin)
        # A batch that is not committed is replayed, and reads the file again as it is by then.
        if failure is None or failure.batch_id > self._committed:
            return False
        if failure.version != (file.size, file.modified_ms):
            return True
        return failure.again_at is not None and failure.again_at <= time.monotonic()

    def is_retried(self, file: ListedFile) -> bool:
        """Whether a file has failed and looks as it did then."""
        failure = self._failed.get(file.origin)
        return failure is not None and failure.version == (file.size, file.modified_ms)

    def see_commits(self) -> None:
        """Look which batches are committed, if a failed file may wait for that."""
        if self._last_failed > self._committed:
            self._committed = last_batch(self._session, self._checkpoint, "commits")

    def plan(self, files: Iterable[ListedFile]) -> None:
        """Make a batch of the files; it is there as a whole or not."""
        files = list(files)
        # A name of its own: in a checkpoint that was put back from a copy, a number may come again.
        name = f"{self._next:09d}-{uuid.uuid4().hex[:12]}.json"
        create_text(self._session, f"{self.folder}/{name}", _text(files))
        self._next += 1
        for file in files:
            self._known.add(_digest(file.identity))
            if self._failed.pop(file.origin, None) is not None:
                self._last_list[file.origin] = name

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
                record = json.loads(line)
                file = ListedFile(**record)
                has_failed = file.origin in self._failed or file.origin in self._last_list
                whole = json.dumps({**record, "list": name})
                lines.append(whole if has_failed else _digest(file.identity).hex())
        create_text(self._session, f"{self._read_folder}/{max(lists)}", "\n".join(lines))
        for name in lists:
            delete(self._session, f"{self.folder}/{name}")

    def keep_read_lists(self) -> None:
        """For the next start: many short runs merge their lists as one long run does."""
        name = f"{self._checkpoint}/{_READ_LISTS}"
        delete(self._session, name)
        create_text(self._session, name, json.dumps(self._read_lists))

    def note_failed(
        self,
        batch_id: int,
        files: Iterable[ListedFile],
        codes: Mapping[str, str] | None = None,
        in_list: str | None = None,
    ) -> None:
        """Remember what the failed files of a batch were like; a replay says it again.

        ``codes``: why they failed, by origin. ``in_list``: the name of the list that they are of.
        """
        files, codes = list(files), codes or {}
        is_replay = batch_id in self._noted
        if not files and not is_replay:
            return
        if is_replay:
            for origin, failure in list(self._failed.items()):
                if failure.batch_id == batch_id:
                    self._failed.pop(origin, None)
        name = f"{self._failed_folder}/{batch_id:09d}.json"
        delete(self._session, name)
        self._noted.add(batch_id)
        if files:
            more = {"list": in_list} if in_list else {}
            create_text(
                self._session,
                name,
                _text(files, lambda file: {"code": codes.get(file.origin), **more}),
            )
        for file in files:
            # One that is planned again by now, in another list, has not failed yet, as it is there.
            if in_list is None or self._last_list.setdefault(file.origin, in_list) == in_list:
                again_at = None
                if codes.get(file.origin) in _PASSING:
                    count = self._failures[file.origin] = self._failures.get(file.origin, 0) + 1
                    pause_s = _FIRST_PAUSE_S * 2 ** min(count - 1, _MOST_DOUBLINGS)
                    again_at = time.monotonic() + pause_s
                self._last_failed = max(self._last_failed, batch_id)
                version = (file.size, file.modified_ms)
                self._failed[file.origin] = _Failure(version, batch_id, again_at)


def claim(session: SparkSession, checkpoint: str, folder: str) -> None:
    """Say in the checkpoint that its stream reads this folder.

    Raises :class:`InvalidOptionError` if it reads another one, or something else.
    """
    record = read_text(session, f"{checkpoint}/{_SOURCE}")
    if record is None and last_batch(session, checkpoint, "offsets") >= 0:
        raise InvalidOptionError(
            f"`checkpoint` {checkpoint} is of a stream that does not read a folder, or of an older "
            f"version; `input` says {folder}. Choose a new `checkpoint` and a new output"
        )
    place = qualified(session, checkpoint).rstrip("/")
    if record is None:
        created = json.dumps({"folder": folder, "checkpoint": place})
        create_text(session, f"{checkpoint}/{_SOURCE}", created)
        record = read_text(session, f"{checkpoint}/{_SOURCE}")
    known = json.loads(record or "{}")
    if known.get("folder") != folder:
        raise InvalidOptionError(
            f"this checkpoint reads {known.get('folder')}, `input` says {folder}: correct `input`, "
            "or choose a new `checkpoint` and a new output"
        )
    # Spark's log of the lists that it has read names them by their whole paths.
    if known.get("checkpoint", place) != place:
        raise InvalidOptionError(
            f"`checkpoint` {checkpoint} was made at {known['checkpoint']}, and the checkpoint of a "
            "folder cannot be moved: put it back there, or choose a new `checkpoint` and a new "
            "output"
        )


def _digest(uri: str) -> bytes:
    return hashlib.blake2b(uri.encode(), digest_size=16).digest()


def _text(
    files: Iterable[ListedFile], more: Callable[[ListedFile], dict[str, Any]] = lambda _: {}
) -> str:
    # ASCII, and no line break within a line.
    lines = (
        json.dumps(
            {
                "origin": file.origin,
                "uri": file.uri,
                "size": file.size,
                "modified_ms": file.modified_ms,
                **({"known_as": file.known_as} if file.known_as else {}),
                **more(file),
            }
        )
        for file in files
    )
    return "".join(f"{line}\n" for line in lines)


def _lines(text: str | None) -> list[str]:
    return [line for line in (text or "").split("\n") if line]


def _names(session: SparkSession, folder: str) -> list[str]:
    return sorted(name for name in list_names(session, folder) or [] if name[:1].isdigit())
