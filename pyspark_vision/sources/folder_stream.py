"""A folder as a stream: the driver lists it, and plans each file once.

Spark's own stream of files looks at their times and names, and what does not fit them is never
read; a file that goes after it was planned, or whose name has a colon, ends it at each start.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.errors import IncompleteInputError, by_reason
from pyspark_vision.functions import fetch_object
from pyspark_vision.sources import folders, hadoop_folder, linked_folders
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.folders import Folder, Way
from pyspark_vision.sources.linked_folders import LinkedFolders
from pyspark_vision.sources.listed_files import ListedFile, Tally
from pyspark_vision.sources.object_keys import batches_of
from pyspark_vision.sources.planned_files import PlannedFiles, claim
from pyspark_vision.sources.settling import has_settled, settled
from pyspark_vision.spark.hadoop import hadoop_path, literal
from pyspark_vision.spark.session import parallelism

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DEFAULT_MAX_FILES = 1024
# What a batch holds at most beside its number of files: bytes pass through the JVM.
_BATCH_BYTES = 256 * 1024 * 1024

# Files that are sorted by their times at once, and that the driver holds for it.
_SORTED_FILES = 100_000

# Lists that wait for the stream: above the first number the next one grows instead, above the
# second there is no next one yet, so that another start may say how large they are.
_LISTS_AHEAD, _MOST_LISTS_AHEAD = 2, 8

_FOLDERS_SHOWN = 5

_SCHEMA = "origin string, uri string, size bigint, modified_ms bigint"
# Columns that go along from the records to `note`; no other sink shows them.
FILE_SIZE, FILE_LIST = "file_size", "file_list"

# Spark leaves out files that are so much older than the newest one; these are none of anybody's.
_MAX_FILE_AGE = "36500d"

_log = logging.getLogger(__name__)


def listing_interval_s(trigger: str) -> float | None:
    """How often a folder is listed: as often as batches begin, and at most once a second.

    ``None`` for a stream that reads what is there and ends.
    """
    if trigger == "available-now":
        return None
    number = re.match(r"\s*([0-9.]+)\s*([a-z]+)", trigger.lower())
    seconds = {"ms": 0.001, "mil": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0, "hou": 3600.0}
    unit = 1.0 if number is None else seconds.get(number[2][:3], 1.0)
    return max(1.0, unit * float(number[1])) if number else 1.0


@dataclass(frozen=True)
class FolderOptions:
    """What of a folder is read, and how often it is listed; ``None``: once, what is there."""

    names: Names
    max_files: int
    settle_s: float
    every_s: float | None


class FolderStream:
    """The stream of a folder, for one run of a job on one checkpoint.

    ``records()`` are its rows; within ``with`` the folder is listed, in a thread of its own unless
    it is listed once. ``note`` is a sink that has to see each batch.
    """

    def __init__(
        self, session: SparkSession, place: Folder, checkpoint: str, options: FolderOptions
    ) -> None:
        self._session = session
        self._place = place
        self._checkpoint = checkpoint
        self._options = options
        self._planned = PlannedFiles(session, checkpoint)
        # By this run. One is written by the thread that lists, the other by that of the batches.
        self._lists_planned = self._lists_read = 0
        self._pictures: DataFrame | None = None
        # By URI: files as they were seen, and since when, by time.monotonic(); of the last look,
        # and of this one.
        self._waited: dict[str, tuple[ListedFile, float]] = {}
        self._waiting: dict[str, tuple[ListedFile, float]] = {}
        # Of the last listing that saw the whole folder.
        self._tally = Tally()
        self._linked = LinkedFolders()
        self._left_out_said = self._trouble_said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="list-folder", daemon=True)

    @property
    def in_batch(self) -> bool:
        """Whether files are read in each batch, by :meth:`with_content`, and not in the stream."""
        return not self._place.fetched

    def records(self) -> DataFrame:
        """``origin, received, value`` (bytes), ``fetch_error``, and what :meth:`note` wants.

        Where files are read :attr:`in_batch`, without ``value`` and ``fetch_error``.
        """
        file_system, path = hadoop_path(self._session, self._planned.folder)
        file_system.mkdirs(path)
        reader = self._session.readStream.schema(_SCHEMA).options(
            maxFilesPerTrigger=1, maxFileAge=_MAX_FILE_AGE
        )
        lists = reader.json(literal(self._planned.folder))
        return self._columns(lists.select("*", F.col("_metadata.file_name").alias(FILE_LIST)))

    def sample(self) -> DataFrame:
        """No rows of :meth:`records`, to show a plan; nothing is written."""
        files = self._session.createDataFrame([], f"{_SCHEMA}, {FILE_LIST} string")
        rows = self._columns(files)
        if not self.in_batch:
            return rows
        content, error = F.lit(None).cast("binary"), F.lit(None).cast(schemas.ERROR)
        return rows.drop("uri").select("*", content.alias("value"), error.alias("fetch_error"))

    def with_content(self, batch: DataFrame) -> DataFrame:
        """Add ``value`` and ``fetch_error`` to a batch of records."""
        if self._pictures is not None:
            self._pictures.unpersist()
        files = [ListedFile(row.origin, row.uri) for row in batch.collect()]
        self._pictures = hadoop_folder.read(self._session, files)
        columns = [name for name in batch.columns if name != "uri"]
        return self._pictures.join(F.broadcast(batch), "origin").select(
            *columns,
            F.col("picture.content").alias("value"),
            F.col("picture.error").alias("fetch_error"),
        )

    def note(self, results: DataFrame, batch_id: int) -> None:
        """A sink: what files were like that failed, so that they are read again if they change.

        Or if the reason may have passed. And which list the batch has read.
        """
        modified_ms = F.unix_millis("received").alias("modified_ms")
        failed = F.struct("origin", FILE_SIZE, modified_ms, F.col("error.code").alias("code"))
        row = results.agg(
            F.first(FILE_LIST).alias("list"),
            F.collect_list(F.when(F.col("error").isNotNull(), failed)).alias("failed"),
        ).first()
        assert row is not None
        self._lists_read += 1
        if row.list is not None:
            self._planned.note_read([row.list])
        files = [
            ListedFile(failure.origin, "", failure[FILE_SIZE], failure.modified_ms)
            for failure in row.failed
        ]
        codes = {failure.origin: failure.code for failure in row.failed}
        self._planned.note_failed(batch_id, files, codes, row.list)

    def left_out(self) -> str:
        """What of the folder had no row when it was listed last, and why; empty if all had one."""
        return by_reason(self._tally.left_out) if self._tally.left_out else ""

    def check(self) -> None:
        """Raise :class:`IncompleteInputError` if folders could not be listed, once it has ended."""
        unreadable = self._tally.unreadable_folders
        if self._options.every_s is None and unreadable:
            raise IncompleteInputError(
                f"{self._place.uri}: {len(unreadable)} folders cannot be listed, and nobody has "
                f"seen their files: {'; '.join(unreadable[:_FOLDERS_SHOWN])}. Give this user the "
                "right to read them, and run the job again"
            )

    def __enter__(self) -> FolderStream:
        """List the folder for the first time."""
        claim(self._session, self._checkpoint, folders.full_name(self._session, self._place))
        self._planned.read()
        if self._place.way is Way.LOCAL:
            self._linked = linked_folders.kept(self._session, f"{self._checkpoint}/_links")
        self._list()
        if self._options.every_s is None and not self._planned.lists:
            left_out = self._tally.left_out
            reasons = f"; left out {by_reason(left_out)}" if left_out else ""
            raise IncompleteInputError(f"there is no picture at {self._place.uri}{reasons}")
        if self._options.every_s is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)
        if kind is None:
            self._planned.keep_read_lists()

    def _columns(self, files: DataFrame) -> DataFrame:
        # A list is one file to Spark, and so one task.
        files = files.repartition(parallelism(self._session)).select(
            "origin",
            "uri",
            F.timestamp_millis("modified_ms").alias("received"),
            F.col("size").alias(FILE_SIZE),
            FILE_LIST,
        )
        if self.in_batch:
            return files
        fetched = files.withColumn("_fetched", fetch_object("uri", prefixes=self._place.prefixes))
        return fetched.select(
            "origin",
            "received",
            FILE_SIZE,
            FILE_LIST,
            F.col("_fetched.content").alias("value"),
            F.col("_fetched.error").alias("fetch_error"),
        )

    def _watch(self) -> None:
        assert self._options.every_s is not None
        while not self._stop.wait(self._options.every_s):
            try:
                self._list()
            # A store that is away for a minute: the stream goes on with what is planned.
            except Exception as error:
                self._warn(f"cannot be listed now: {str(error).partition(chr(10))[0]}")

    def _list(self) -> None:
        tally = Tally()
        self._planned.see_commits()
        self._waited, self._waiting = self._waiting, {}
        files = folders.files(self._session, self._place, self._options.names, tally, self._linked)
        new = self._settled((file for file in files if self._is_wanted(file)), tally)
        while piece := list(islice(new, _SORTED_FILES)):
            piece.sort(key=lambda file: (file.modified_ms or 0, file.uri))
            if not self._plan(piece):
                return
        self._tally = tally
        self._warn("; ".join(f"cannot list {folder}" for folder in tally.unreadable_folders))
        # A job that ends says it in its last lines.
        if self._options.every_s is not None and self.left_out() != self._left_out_said:
            self._left_out_said = self.left_out()
            _log.info("the folder %s: left out %s", self._place.uri, self._left_out_said or "0")

    def _is_wanted(self, file: ListedFile) -> bool:
        """Whether it is to have a row; a link that still leads nowhere has its own already."""
        if not self._planned.is_new(file):
            return False
        if not self._planned.is_retried(file):
            return True
        return folders.look(self._session, self._place, file) is not None

    def _plan(self, files: list[ListedFile]) -> bool:
        """Whether there is room for more; what had none is found again by the next look."""
        most = self._options.max_files
        is_watched = self._options.every_s is not None
        for batch in batches_of(iter(files), most, most, _BATCH_BYTES, lambda file: file.size or 0):
            ahead = self._lists_planned - self._lists_read
            is_part = ahead >= _LISTS_AHEAD and len(batch) < most
            if is_watched and (is_part or ahead >= _MOST_LISTS_AHEAD):
                return False
            self._planned.plan(batch)
            self._lists_planned += 1
        return True

    def _settled(self, files: Iterator[ListedFile], tally: Tally) -> Iterator[ListedFile]:
        settle_s = 0.0 if self._place.way is Way.STORE else self._options.settle_s
        if self._options.every_s is None:
            yield from settled(files, settle_s, self._look, tally)
            return
        for file in files:
            if has_settled(file, settle_s) or self._has_waited(file, settle_s):
                yield file

    def _has_waited(self, file: ListedFile, settle_s: float) -> bool:
        """Whether it is what it was when it was looked at before, that long ago."""
        now = time.monotonic()
        waited = self._waited.get(file.uri)
        if waited is None or waited[0] != file:
            waited = (file, now)
        self._waiting[file.uri] = waited
        return now - waited[1] >= settle_s

    def _look(self, file: ListedFile) -> tuple[int, int] | None:
        return folders.look(self._session, self._place, file)

    def _warn(self, what: str) -> None:
        """In the log, when it is another than before; empty: nothing is wrong."""
        if what != self._trouble_said:
            self._trouble_said = what
            _log.warning("the folder %s: %s", self._place.uri, what or "is whole again")
