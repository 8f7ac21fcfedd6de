"""A batch job over files: batch after batch, each file once, and nothing without a row or a reason.

The next batches are listed while executors work on the last. A job that was stopped goes on with
what has no row at the output.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.errors import ErrorCode, IncompleteInputError, by_reason
from pyspark_vision.functions import fetch_object
from pyspark_vision.job import batch_rows
from pyspark_vision.sources import hadoop_folder
from pyspark_vision.sources.file_names import LeftOut
from pyspark_vision.sources.listed_files import ListedFile, Tally
from pyspark_vision.sources.object_keys import file_frame, in_batches
from pyspark_vision.spark.session import parallelism
from pyspark_vision.streaming import runner
from pyspark_vision.streaming.counts import Counts

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from pyspark_vision.sinks import Sink

# The first batch is small, so that there is progress to see; each later one twice as large.
_FIRST_FILES = 500
# What a restart repeats at most, beside --images-per-batch.
_BATCH_BYTES = 8 * 1024**3

# Files that Hadoop's file systems read are kept, in memory or on disk, while a batch is made.
_KEPT_BYTES = 1024**3

# Parquet files of about this size serve readers best.
_FILE_BYTES = 128 * 1024 * 1024

# Files in a task: enough that starting it costs nothing, few enough that no task ends long after
# the others.
_TASK_FILES = 512

# A file that waits to be made anew is a few hundred bytes in the driver.
_MOST_WAITING = 100_000


_FOLDERS_SHOWN = 5


@dataclass
class Report:
    """What a job has seen and done so far; a line of progress for each batch."""

    name: str
    refuse_if_lost: Callable[[], None]
    counts: Counts = field(default_factory=Counts)
    tally: Tally = field(default_factory=Tally)
    were_there: int = 0
    started_at: float = field(default_factory=time.monotonic)

    def line(self) -> None:
        """Images so far, and how fast."""
        rate = self.counts.rows / (time.monotonic() - self.started_at)
        failed = sum(self.counts.failed.values())
        there = f", {self.were_there:,} were there" if self.were_there else ""
        done = f"{self.counts.rows:,} images, {failed:,} failed"
        print(f"{self.name}: {done}, {rate:.1f} images/s{there}", flush=True)
        self.refuse_if_lost()

    def summary(self) -> str:
        """The last line: what came in is rows, or was left out for a reason, or was there."""
        left_out = f", left out {by_reason(self.tally.left_out)}" if self.tally.left_out else ""
        there = f", were there {self.were_there}" if self.were_there else ""
        return f"{self.name}: {self.counts.summary('images', 'embedded')}{left_out}{there}"

    def check(self, place: str) -> None:
        """Raise :class:`IncompleteInputError` if something has neither a row nor a reason."""
        rows, left_out = self.counts.rows, sum(self.tally.left_out.values())
        if self.tally.seen != rows + self.were_there + left_out:
            raise IncompleteInputError(
                f"{place} held {self.tally.seen} files, of which {self.were_there} had rows, "
                f"{rows} have got one and {left_out} were left out: "
                f"{self.tally.seen - rows - self.were_there - left_out} are not accounted for. "
                "Run the job again"
            )
        if folders := self.tally.unreadable_folders:
            raise IncompleteInputError(
                f"{place}: {len(folders)} folders cannot be listed, and nobody has seen their "
                f"files: {'; '.join(folders[:_FOLDERS_SHOWN])}. Give this user the right to read "
                "them, and run the job again"
            )
        if rows + self.were_there == 0:
            reasons = f"; left out {by_reason(self.tally.left_out)}" if left_out else ""
            raise IncompleteInputError(f"there is no picture at {place}{reasons}")


@dataclass(frozen=True)
class FileBatches:
    """How batches are made of files.

    - ``transform``: ``origin`` and its picture (a column) -> flat results, a row each.
    - ``sink`` writes them to ``output``; ``row_bytes`` is about what a row takes there.
    - ``prefixes``: ``fetch_object``'s; ``by_executors``: they fetch the files, and Hadoop's file
      systems need not.
    - ``retried``: codes of failed rows that are made anew, beside those of files that have changed;
      ``None``: failed rows stay.
    - ``letters``: a sink that gets the failed rows, too.
    """

    transform: Callable[[DataFrame, Column], DataFrame]
    sink: Sink
    output: str
    file_format: str
    row_bytes: int
    most_files: int
    fetch_concurrency: int
    prefixes: Sequence[str] = ()
    by_executors: bool = True
    retried: frozenset[ErrorCode] | None = batch_rows.TRANSIENT
    letters: Sink | None = None


def run(
    session: SparkSession, files: Iterator[ListedFile], batches: FileBatches, report: Report
) -> None:
    """Make the rows that are not there; then those that failed and are to be made anew."""
    rows = batch_rows.read_rows(session, batches.output, batches.file_format)
    try:
        _run(session, files, batches, report, rows)
    finally:
        if rows.table is not None:
            rows.table.unpersist()


def _run(
    session: SparkSession,
    files: Iterator[ListedFile],
    batches: FileBatches,
    report: Report,
    rows: batch_rows.Rows,
) -> None:
    batch_id = rows.next_batch
    again: list[tuple[ListedFile, frozenset[int]]] = []

    def make(some: list[ListedFile]) -> None:
        nonlocal batch_id
        if some:
            report.counts.add(_make(session, some, batches, batch_id))
            batch_id += 1

    def make_again() -> None:
        batch_rows.remove(session, batches.output, batches.file_format, again)
        for batch in _in_batches(iter([file for file, _ in again]), batches):
            make(batch)
            report.line()
        again.clear()

    for batch in _in_batches(files, batches, first=_FIRST_FILES):
        split = batch_rows.split(session, batch, rows, batches.retried)
        report.were_there += split.were_there
        if split.duplicates:
            report.tally.leave_out(LeftOut.DUPLICATE_KEY, split.duplicates)
        make(split.new)
        report.line()
        again += split.again
        if len(again) > _MOST_WAITING:
            make_again()
    if again:
        make_again()


def _in_batches(
    files: Iterator[ListedFile], batches: FileBatches, first: int | None = None
) -> Iterator[list[ListedFile]]:
    return in_batches(
        files,
        batches.most_files,
        first=first,
        most_bytes=_BATCH_BYTES if batches.by_executors else _KEPT_BYTES,
        bytes_of=lambda file: file.size or 0,
    )


def _make(
    session: SparkSession, files: list[ListedFile], batches: FileBatches, batch_id: int
) -> Counts:
    output_files = max(1, math.ceil(len(files) * batches.row_bytes / _FILE_BYTES))

    def write(results: DataFrame, batch_id: int) -> None:
        # The results are computed by now, by as many tasks as there are cores.
        batches.sink(results.repartition(output_files), batch_id)

    sinks = {
        "failures": batch_rows.failures_sink(session, batches.output, files),
        **({"dead_letters": batches.letters} if batches.letters else {}),
        batches.file_format: write,
    }

    def compute(images: DataFrame, picture: Column) -> Counts:
        results = batches.transform(images, picture)
        return runner.run_batch(results, batch_id, sinks, value="embedding")

    if batches.by_executors:
        picture = fetch_object(
            "uri", concurrency=batches.fetch_concurrency, prefixes=batches.prefixes
        )
        return compute(file_frame(session, files, _tasks(session, len(files))), picture)
    pictures = hadoop_folder.read(session, files)
    try:
        return compute(pictures, F.col("picture"))
    finally:
        pictures.unpersist()


def _tasks(session: SparkSession, files: int) -> int:
    cores = parallelism(session)
    return max(cores, min(8 * cores, math.ceil(files / _TASK_FILES)))
