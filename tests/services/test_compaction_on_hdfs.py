"""`pyspark-vision compact` on HDFS, where a folder can be renamed and not exchanged."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass

import pytest
from dying import Dying
from local_services.hdfs import Hdfs
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.spark import hadoop
from pyspark_vision.spark.hadoop import hadoop_path
from pyspark_vision.streaming import compaction, lease
from pyspark_vision.streaming.compaction import swap
from pyspark_vision.streaming.lease import output_lease

BATCHES, ROWS_PER_BATCH = 6, 10
ALL_IDS = list(range(BATCHES * ROWS_PER_BATCH))


@dataclass(frozen=True)
class Stream:
    """A stream of one file of ``ROWS_PER_BATCH`` ids per batch, with all it has on HDFS."""

    spark: SparkSession
    root: str

    @property
    def output(self) -> str:
        return f"{self.root}/out"

    @property
    def checkpoint(self) -> str:
        return f"{self.root}/checkpoint"

    def run(self) -> None:
        """Read what there is, and end."""
        source = self.spark.readStream.schema("id long")
        numbers = source.option("maxFilesPerTrigger", 1).parquet(f"{self.root}/in")
        writer = numbers.writeStream.option("checkpointLocation", self.checkpoint)
        sink = parquet_sink(self.spark, self.output)
        writer.trigger(availableNow=True).foreachBatch(sink).start().awaitTermination()

    def feed(self, first: int, count: int, files: int = 1) -> None:
        rows = self.spark.range(first, first + count, 1, files)
        rows.write.mode("append").parquet(f"{self.root}/in")

    def compact(self) -> tuple[compaction.Size, compaction.Size]:
        return compaction.compact(self.spark, self.output, self.checkpoint, 1_000_000)

    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.spark.read.parquet(self.output).collect())

    def names(self, folder: str) -> list[str]:
        file_system, path = hadoop_path(self.spark, folder)
        return sorted(status.getPath().getName() for status in file_system.listStatus(path))


@pytest.fixture
def stream(spark: SparkSession, hdfs: Hdfs, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """One that has read six files."""
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    made = Stream(spark, f"{hdfs.fs_uri}/{uuid.uuid4().hex}")
    made.feed(0, BATCHES * ROWS_PER_BATCH, files=BATCHES)
    made.run()
    return made


def test_old_batches_become_one_and_the_stream_goes_on(
    stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    code = pyspark_vision(["compact", stream.output, "--checkpoint", stream.checkpoint])
    said = capsys.readouterr().out

    assert code == 0
    assert said.startswith(f"compact: 6 batches in {BATCHES} files, 0.0 MB, became 2 batches in 2 ")
    assert stream.names(stream.output) == ["_lease", "batch_id=4", "batch_id=5"]
    assert stream.names(stream.root) == ["checkpoint", "in", "out"]
    stream.feed(60, 10)
    stream.run()
    assert stream.names(stream.output) == ["_lease", "batch_id=4", "batch_id=5", "batch_id=6"]
    assert stream.ids() == list(range(70))


def test_a_reader_gets_all_rows_or_an_error(stream: Stream) -> None:
    counts: set[int] = set()
    errors: list[str] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                counts.add(stream.spark.read.parquet(stream.output).count())
            except (PySparkException, Py4JJavaError) as error:
                errors.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        stream.compact()
        stream.feed(60, 10)
        stream.run()
        stream.compact()
    finally:
        ended.set()
        thread.join()

    assert counts <= {60, 70}
    assert counts, errors
    assert stream.ids() == list(range(70))
    assert stream.names(stream.output) == ["_lease", "batch_id=5", "batch_id=6"]


@pytest.mark.parametrize(("function", "calls"), [("write_text", 1), ("rename", 1), ("rename", 3)])
def test_killed_between_the_renames_the_next_run_ends_it(
    function: str, calls: int, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(swap, function, Dying(getattr(swap, function), calls))
        with pytest.raises(KeyboardInterrupt):
            stream.compact()

    with pytest.raises((PySparkException, Py4JJavaError)):
        stream.ids()
    stream.compact()

    assert stream.ids() == ALL_IDS
    assert stream.names(stream.output) == ["_lease", "batch_id=4", "batch_id=5"]
    assert stream.names(stream.root) == ["checkpoint", "in", "out"]


def test_killed_between_the_renames_a_job_writes_nothing_until_the_next_run(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(swap, "rename", Dying(hadoop.rename, 1))
        with pytest.raises(KeyboardInterrupt):
            stream.compact()
    stream.feed(60, 10)

    with pytest.raises(PySparkException):
        stream.run()
    stream.compact()
    stream.run()

    assert stream.ids() == list(range(70))


@pytest.mark.parametrize("place", ["checkpoint", "output"])
def test_a_running_job_refuses_it(
    place: str, stream: Stream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.5)

    held = {"checkpoint": stream.checkpoint, "output": output_lease(stream.output)}[place]
    with lease.held(stream.spark, held, "stream_detect", print):
        code = pyspark_vision(["compact", stream.output, "--checkpoint", stream.checkpoint])

    assert code == 2
    assert "is in use by stream_detect" in capsys.readouterr().err
    assert len(set(stream.names(stream.output)) - {"_lease"}) == BATCHES
