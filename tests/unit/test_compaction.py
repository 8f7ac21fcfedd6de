"""`pyspark-vision compact`: few files in the place of many, each row once for whoever reads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from dying import Dying
from job_environment import job_environment
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.errors import CheckpointInUseError, InvalidOptionError
from pyspark_vision.sinks.dead_letters import LETTER
from pyspark_vision.sinks.json import json_sink
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.spark import hadoop
from pyspark_vision.streaming import compaction, lease
from pyspark_vision.streaming.compaction import merging, plan, swap
from pyspark_vision.streaming.compaction.plan import Batch
from pyspark_vision.streaming.compaction.stream_readers import MAX_FILE_AGE_MS

TARGET_BYTES = 1_000_000
ROWS_PER_BATCH = 10


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)


@pytest.fixture
def renames(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that cannot exchange two folders."""
    monkeypatch.setattr(swap, "_can_exchange", lambda folder: False)


def write_batches(spark: SparkSession, folder: Path, batches: range) -> None:
    """``ROWS_PER_BATCH`` rows in each batch, in two files, ids from ``batch * ROWS_PER_BATCH``."""
    ids = spark.range(batches.start * ROWS_PER_BATCH, batches.stop * ROWS_PER_BATCH, 1, 2)
    halves = ids.repartitionByRange(2, F.col("id") % ROWS_PER_BATCH).sortWithinPartitions("id")
    rows = halves.withColumn("batch_id", (F.col("id") / ROWS_PER_BATCH).cast("int"))
    rows.write.partitionBy("batch_id").mode("append").parquet(str(folder / "out"))


def write_checkpoint(folder: Path, done: int, planned: int | None = None) -> None:
    """What Spark leaves there of the batches: the last hundred of those that are done."""
    last = done if planned is None else planned
    for log, batches in (("offsets", range(last + 1)), ("commits", range(done + 1))):
        (folder / "checkpoint" / log).mkdir(parents=True, exist_ok=True)
        for batch in batches[-100:]:
            (folder / "checkpoint" / log / str(batch)).write_text("v1\n{}")


def compact(
    spark: SparkSession, folder: Path, target_bytes: int = TARGET_BYTES, **options: Any
) -> tuple[compaction.Size, compaction.Size]:
    output, checkpoint = str(folder / "out"), str(folder / "checkpoint")
    return compaction.compact(spark, output, checkpoint, target_bytes, **options)


def ids(folder: Path) -> list[int]:
    return sorted(pq.read_table(folder / "out").column("id").to_pylist())


def batch_names(folder: Path) -> list[str]:
    names = [path.name for path in (folder / "out").glob("batch_id=*")]
    return sorted(names, key=lambda name: int(name.removeprefix("batch_id=")))


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files(folder: Path) -> set[tuple[str, int]]:
    """Names and inodes."""
    return {
        (str(path), path.stat().st_ino)
        for path in (folder / "out").rglob("*")
        if path.is_file() and path.parent.name != "_lease"
    }


# --- which batches


def batch(batch_id: int, *sizes: int) -> Batch:
    names = tuple(f"{batch_id}-{number}" for number in range(len(sizes)))
    return Batch(batch_id, f"batch_id={batch_id}", names, sum(sizes), 0)


def planned(*batches: Batch, schemas: dict[int, str] | None = None) -> list[list[int]]:
    """The numbers of the batches of each group, for a target of 100 bytes."""
    known = schemas or {item.batch_id: "s" for item in batches if item.files}
    runs = plan.runs(batches, 100)
    groups = [group for run in runs for group in plan.groups(run, known, 100)]
    return [[item.batch_id for item in group.batches] for group in groups]


def test_small_batches_are_grouped_up_to_the_target_in_their_order() -> None:
    assert planned(*(batch(n, 40) for n in range(5))) == [[0, 1], [2, 3]]


def test_a_batch_of_half_the_target_stays_and_parts_its_neighbours() -> None:
    assert planned(batch(0, 1), batch(1, 1), batch(2, 50), batch(3, 1), batch(4, 1)) == [
        [0, 1],
        [3, 4],
    ]


def test_a_batch_alone_is_merged_if_it_has_several_small_files() -> None:
    assert planned(batch(0, 99), batch(1, 10, 10), batch(2, 99)) == [[1]]
    assert planned(batch(0, 99), batch(1, 10), batch(2, 99)) == []


def test_a_batch_above_the_target_gets_as_many_files_as_it_takes() -> None:
    large = batch(0, *(30 for _ in range(9)))

    [group] = plan.groups([large], {0: "s"}, 100)

    assert group == plan.Group((large,), files=3)


def test_batches_of_different_columns_are_not_merged_with_each_other() -> None:
    schemas = {0: "a", 1: "a", 2: "b", 3: "b"}

    assert planned(*(batch(n, 1) for n in range(4)), schemas=schemas) == [[0, 1], [2, 3]]


def test_a_batch_without_files_goes_with_any_other() -> None:
    assert planned(batch(0), batch(1, 1), batch(2), batch(3, 1)) == [[0, 1, 2, 3]]
    assert planned(batch(0), batch(1)) == []


# --- what comes out


def test_old_batches_become_one_file_and_what_may_be_replayed_stays(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "a b"
    write_batches(spark, folder, range(12))
    write_checkpoint(folder, done=10, planned=11)
    kept = {file for file in files(folder) if "id=10/" in file[0] or "id=11/" in file[0]}

    before, after = compact(spark, folder)

    assert (before.batches, before.files) == (12, 24)
    assert (after.batches, after.files) == (3, 5)
    assert batch_names(folder) == ["batch_id=9", "batch_id=10", "batch_id=11"]
    assert ids(folder) == list(range(120))
    assert kept <= files(folder)
    assert beside(folder) == ["checkpoint", "out"]


def test_rows_stay_in_the_order_of_their_batches_and_files(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(12))
    write_checkpoint(tmp_path, done=11)
    expected = [
        row
        for number in range(11)
        for file in sorted((tmp_path / "out" / f"batch_id={number}").glob("part-*"))
        for row in pq.ParquetFile(file).read().column("id").to_pylist()
    ]

    compact(spark, tmp_path)

    [file] = (tmp_path / "out" / "batch_id=10").glob("part-*")
    assert pq.ParquetFile(file).read().column("id").to_pylist() == expected


def test_the_next_runs_write_only_what_came_since(spark: SparkSession, tmp_path: Path) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    written = []
    for run in range(4):
        for number in (2 * run, 2 * run + 1):
            rows = spark.range(2000 * number, 2000 * number + 2000, 1, 1)
            sink(rows.withColumn("text", F.expr("uuid()")), number)  # 80 to 100 KB
        write_checkpoint(tmp_path, done=2 * run + 2)
        known = files(tmp_path)
        compact(spark, tmp_path, 260_000)
        written.append(len({file for file in files(tmp_path) - known if "/part-" in file[0]}))

    assert ids(tmp_path) == list(range(16_000))
    assert batch_names(tmp_path) == [f"batch_id={n}" for n in (1, 3, 5, 7)]
    assert written == [1, 1, 1, 1]


def test_a_second_run_changes_nothing_and_says_so(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_batches(spark, tmp_path, range(5))
    write_checkpoint(tmp_path, done=4)
    command = ["compact", str(tmp_path / "out"), "--checkpoint", str(tmp_path / "checkpoint")]

    assert pyspark_vision(command) == 0
    assert capsys.readouterr().out.startswith("compact: 5 batches in 10 files, 0.0 MB, became 2 ")
    known = files(tmp_path)
    assert pyspark_vision(command) == 0
    assert capsys.readouterr().out == "compact: nothing to gain: 2 batches in 3 files, 0.0 MB\n"
    assert files(tmp_path) == known


def test_an_output_without_batches_has_nothing_to_gain(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_checkpoint(tmp_path, done=4)

    assert compact(spark, tmp_path) == (compaction.Size(0, 0, 0), compaction.Size(0, 0, 0))


def test_batches_without_rows_are_merged_too(spark: SparkSession, tmp_path: Path) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    for number, rows in enumerate([0, 0, 3, 0]):
        sink(spark.range(rows), number)
    write_checkpoint(tmp_path, done=3)

    compact(spark, tmp_path)

    assert batch_names(tmp_path) == ["batch_id=2", "batch_id=3"]
    assert ids(tmp_path) == [0, 1, 2]


def test_what_else_is_in_the_output_stays_but_for_a_batch_that_was_not_finished(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    (tmp_path / "out" / "_job").mkdir()
    (tmp_path / "out" / "_job" / "part-0").write_text("settings")
    (tmp_path / "out" / "README").write_text("mine")
    (tmp_path / "out" / "_staging_3").mkdir()
    (tmp_path / "out").chmod(0o750)

    compact(spark, tmp_path)

    assert (tmp_path / "out" / "_job" / "part-0").read_text() == "settings"
    assert (tmp_path / "out" / "README").read_text() == "mine"
    assert not (tmp_path / "out" / "_staging_3").exists()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_columns_that_a_batch_adds_are_lost_nowhere(spark: SparkSession, tmp_path: Path) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    for number in range(2):
        sink(spark.range(3), number)
    for number in range(2, 5):
        sink(spark.range(3).withColumn("model", F.lit("new")), number)
    write_checkpoint(tmp_path, done=4)

    compact(spark, tmp_path)

    assert batch_names(tmp_path) == ["batch_id=1", "batch_id=3", "batch_id=4"]
    rows = spark.read.option("mergeSchema", True).parquet(str(tmp_path / "out"))
    assert rows.groupBy("model").count().orderBy("model").collect() == [(None, 6), ("new", 9)]


def test_columns_that_are_never_null_and_nested_ones_can_be_merged(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = spark.range(3).select(
        "id",
        F.lit("a").alias("required"),
        F.array(F.struct(F.lit(1).alias("x"), F.lit(b"\0").alias("bytes"))).alias("boxes"),
        F.create_map(F.lit("k"), F.current_timestamp()).alias("times"),
    )
    sink = parquet_sink(spark, str(tmp_path / "out"))
    sink(rows, 0)
    sink(rows.select(*(F.when(F.lit(True), F.col(c)).alias(c) for c in rows.columns)), 1)
    sink(rows, 2)
    write_checkpoint(tmp_path, done=2)

    compact(spark, tmp_path)

    assert batch_names(tmp_path) == ["batch_id=1", "batch_id=2"]
    merged = spark.read.parquet(str(tmp_path / "out" / "batch_id=1"))
    assert [row["boxes"][0]["bytes"] for row in merged.collect()] == [b"\0"] * 6


def test_files_keep_their_codec_and_the_time_of_the_newest_of_their_parts(
    spark: SparkSession, tmp_path: Path
) -> None:
    for number in range(3):
        target = tmp_path / "out" / f"batch_id={number}"
        spark.range(3).coalesce(1).write.option("compression", "zstd").parquet(str(target))
        [file] = target.glob("part-*")
        os.utime(file, (1_700_000_000 + number,) * 2)
    write_checkpoint(tmp_path, done=2)

    compact(spark, tmp_path)

    [file] = (tmp_path / "out" / "batch_id=1").glob("part-*")
    assert pq.read_metadata(file).row_group(0).column(0).compression == "ZSTD"
    assert file.stat().st_mtime == 1_700_000_001


# --- readers


@contextmanager
def reading(folder: Path) -> Iterator[tuple[set[int], list[Exception]]]:
    """(the counts of rows, the errors) of a reader that asks again and again, with pyarrow."""
    counts: set[int] = set()
    errors: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                counts.add(ds.dataset(folder / "out", format="parquet").count_rows())
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield counts, errors
    finally:
        ended.set()
        thread.join()


def test_a_reader_sees_every_row_once_all_the_time(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "GRACE_S", 0.5)
    write_batches(spark, tmp_path, range(100))
    write_checkpoint(tmp_path, done=99)

    with reading(tmp_path) as (counts, errors):
        for done in (30, 60, 99):
            shutil.rmtree(tmp_path / "checkpoint" / "commits")
            write_checkpoint(tmp_path, done, planned=99)
            compact(spark, tmp_path)

    assert counts == {1000}
    assert all(isinstance(error, FileNotFoundError) for error in errors), errors
    assert batch_names(tmp_path) == ["batch_id=98", "batch_id=99"]


def test_a_reader_that_has_listed_before_and_reads_afterwards_gets_an_error(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    by_arrow = ds.dataset(tmp_path / "out", format="parquet")
    by_spark = spark.read.parquet(str(tmp_path / "out"))

    compact(spark, tmp_path)

    with pytest.raises(FileNotFoundError):
        by_arrow.count_rows()
    with pytest.raises(Py4JJavaError, match="FILE_NOT_EXIST"):
        by_spark.count()


def test_what_was_there_is_there_to_be_listed_for_the_time_of_grace(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    seen = []

    def sleep(seconds: float) -> None:
        seen.append(
            (seconds, ids(tmp_path), len(list(tmp_path.glob(".out.compacting/batch_id=*"))))
        )

    monkeypatch.setattr(compaction, "GRACE_S", 7.0)
    monkeypatch.setattr(compaction, "time", SimpleNamespace(sleep=sleep))
    compact(spark, tmp_path)

    assert seen == [(7.0, list(range(40)), 4)]


# --- refusals


def test_a_checkpoint_that_is_in_use_is_refused_in_one_line(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    checkpoint = str(tmp_path / "checkpoint")

    with lease.held(spark, checkpoint, "stream_detect", lambda reason: None):
        code = pyspark_vision(["compact", str(tmp_path / "out"), "--checkpoint", checkpoint])

    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1
    assert f"{checkpoint} is in use by stream_detect (local-" in said
    assert len(batch_names(tmp_path)) == 3


def test_a_job_is_refused_while_it_compacts(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    refused = []

    def start_job(*args: Any) -> None:
        with (
            pytest.raises(CheckpointInUseError) as caught,
            lease.held(spark, str(tmp_path / "checkpoint"), "job", print),
        ):
            pytest.fail("two hold it")
        refused.append(str(caught.value))

    monkeypatch.setattr(compaction, "check", start_job)
    compact(spark, tmp_path)

    assert "is in use by compact (local-" in refused[0]


def test_an_output_at_which_a_job_works_by_a_copy_of_the_checkpoint_is_refused(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    folder = lease.output_lease(str(tmp_path / "out"))

    with (
        lease.held(spark, folder, "stream_detect", print),
        pytest.raises(CheckpointInUseError, match=f"^{tmp_path}/out is in use by stream_detect"),
    ):
        compact(spark, tmp_path)

    assert len(batch_names(tmp_path)) == 3


@pytest.mark.parametrize("by_files", [False, True])
@pytest.mark.parametrize("exchanges", [True, False])
def test_the_output_is_held_before_and_after_it_is_replaced(
    exchanges: bool,
    by_files: bool,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.1)
    if by_files:
        monkeypatch.setattr(lease, "LOCAL_SCHEMES", ())
    if not exchanges:
        monkeypatch.setattr(swap, "_can_exchange", lambda folder: False)
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    folder = lease.output_lease(str(tmp_path / "out"))
    refused = []
    clear = swap.clear

    def start_job(*args: Any) -> None:
        with (
            pytest.raises(CheckpointInUseError) as caught,
            lease.held(spark, folder, "job", print, "out"),
        ):
            pytest.fail("two hold it")
        refused.append(str(caught.value))

    def start_job_and_clear(where: swap.Places) -> None:
        start_job()
        clear(where)

    monkeypatch.setattr(compaction, "check", start_job)
    monkeypatch.setattr(swap, "clear", start_job_and_clear)
    compact(spark, tmp_path)

    # While the holder writes its file anew, it cannot be read whose it is.
    assert [said[:16] for said in refused] == ["out is in use by"] * 3
    assert ids(tmp_path) == list(range(30))
    assert beside(tmp_path) == ["checkpoint", "out"]
    with lease.held(spark, folder, "job", print):
        pass


def test_nothing_is_changed_when_another_job_took_the_checkpoint(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)

    @contextmanager
    def losing(
        session: Any, folder: str, name: str, lost: Callable[[str], None], shown: str = ""
    ) -> Any:
        lost("another job took it")
        yield threading.Lock()

    monkeypatch.setattr(lease, "held", losing)
    with pytest.raises(CheckpointInUseError, match="another job took it"):
        compact(spark, tmp_path)

    assert len(batch_names(tmp_path)) == 3
    assert beside(tmp_path) == ["checkpoint", "out"]


@pytest.mark.parametrize("scheme", ["s3a", "s3", "gs", "abfss"])
def test_an_object_store_is_refused_with_the_reason(
    scheme: str, spark: SparkSession, tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidOptionError, match=f"is on {scheme}, where no folder takes another's"
    ):
        compaction.compact(spark, f"{scheme}://bucket/out", str(tmp_path), TARGET_BYTES)


def test_an_output_of_json_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    sink = json_sink(spark, str(tmp_path / "out"))
    for number in range(2):
        sink(spark.range(1), number)
    write_checkpoint(tmp_path, done=1)

    with pytest.raises(InvalidOptionError, match=r"\.json is not a Parquet file: only outputs of"):
        compact(spark, tmp_path)


def test_an_output_that_is_not_there_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, done=1)

    with pytest.raises(InvalidOptionError, match="out is not a folder"):
        compact(spark, tmp_path)


def test_a_checkpoint_that_no_stream_has_made_is_refused_and_not_made(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(3))

    with pytest.raises(InvalidOptionError, match="is not that of a stream which has run"):
        compact(spark, tmp_path)

    assert beside(tmp_path) == ["out"]


def test_the_checkpoint_of_another_stream_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    write_batches(spark, tmp_path, range(5))
    write_checkpoint(tmp_path, done=3)

    with pytest.raises(
        InvalidOptionError, match=r"batch_id=4 is not of --checkpoint .* batch is 3"
    ):
        compact(spark, tmp_path)


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_changed(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    broken = tmp_path / "out" / "batch_id=1" / "part-9.parquet"
    broken.write_bytes(b"no parquet here")

    with pytest.raises(InvalidOptionError, match=f"{broken} cannot be read: .*not a Parquet file"):
        compact(spark, tmp_path)

    assert len(batch_names(tmp_path)) == 3


def test_a_merge_that_loses_a_row_is_found_and_nothing_is_changed(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    merge = merging.merge

    def losing(session: SparkSession, group: plan.Group, *rest: Any) -> None:
        merge(session, plan.Group(group.batches[1:], 1), *rest)

    monkeypatch.setattr(compaction, "merge", losing)
    with pytest.raises(InvalidOptionError, match="(?s)0 to 1 have 20 rows .* merged .* have 10 of"):
        compact(spark, tmp_path)

    assert ids(tmp_path) == list(range(30))
    assert beside(tmp_path) == ["checkpoint", "out"]


def test_a_session_that_would_write_other_types_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    setting = "spark.sql.parquet.outputTimestampType"
    spark.conf.set(setting, "TIMESTAMP_MILLIS")
    try:
        for number in range(3):
            sink(spark.range(1).select(F.current_timestamp().alias("at")), number)
    finally:
        spark.conf.unset(setting)
    write_checkpoint(tmp_path, done=2)

    with pytest.raises(InvalidOptionError, match="Give the --conf settings that the job has"):
        compact(spark, tmp_path)

    assert len(batch_names(tmp_path)) == 3


# --- a job afterwards


def test_a_batch_that_is_replayed_after_it_leaves_each_row_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    numbers = spark.range(60, numPartitions=6).withColumn("name", F.lit("x"))
    numbers.write.parquet(str(tmp_path / "in"))
    schema = numbers.schema

    def run_stream() -> None:
        source = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1)
        writer = source.parquet(str(tmp_path / "in")).writeStream.trigger(availableNow=True)
        writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
        sink = parquet_sink(spark, str(tmp_path / "out"))
        writer.foreachBatch(sink).start().awaitTermination()

    run_stream()
    # As if the job had been killed after it wrote batch 5, before it was committed.
    for file in (tmp_path / "checkpoint" / "commits").glob("*5*"):
        file.unlink()
    compact(spark, tmp_path)
    names = batch_names(tmp_path)
    known = files(tmp_path)
    run_stream()

    assert names == batch_names(tmp_path) == ["batch_id=3", "batch_id=4", "batch_id=5"]
    assert {Path(file).parent.name for file, _ in known - files(tmp_path)} == {"batch_id=5"}
    assert ids(tmp_path) == list(range(60))


# --- streams that read the output


def letters(spark: SparkSession, first: int, count: int) -> DataFrame:
    nulls = [F.lit(None).cast(f.dataType).alias(f.name) for f in LETTER if f.name != "offset"]
    rows = spark.range(first, first + count).select(F.col("id").alias("offset"), *nulls)
    return rows.select(*LETTER.names).coalesce(1)


def put_back(spark: SparkSession, folder: Path) -> list[int]:
    """The offsets of the letters that a stream such as `replay` finds."""
    found: list[int] = []

    def take(batch: DataFrame, batch_id: int) -> None:
        found.extend(row["offset"] for row in batch.collect())

    stream = spark.readStream.schema(LETTER).parquet(str(folder / "out")).writeStream
    stream = stream.option("checkpointLocation", str(folder / "replay"))
    stream.trigger(availableNow=True).foreachBatch(take).start().awaitTermination()
    return sorted(found)


def age(folder: Path, number: int, days: float) -> None:
    for file in (folder / "out" / f"batch_id={number}").glob("part-*"):
        at = file.stat().st_mtime - days * MAX_FILE_AGE_MS / 1000 / 7
        os.utime(file, (at, at))


def test_letters_that_were_put_back_are_not_put_back_again_when_they_are_merged(
    spark: SparkSession, tmp_path: Path
) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    for number, days in enumerate([9, 8, 2, 0]):
        sink(letters(spark, number * 10, 2), number)
        age(tmp_path, number, days)
    first = put_back(spark, tmp_path)
    sink(letters(spark, 40, 2), 4)
    age(tmp_path, 4, 10)  # not seen yet
    sink(letters(spark, 50, 2), 5)
    write_checkpoint(tmp_path, done=5)

    compact(spark, tmp_path, read_by=[str(tmp_path / "replay")])

    assert first == [0, 1, 10, 11, 20, 21, 30, 31]
    assert batch_names(tmp_path) == [f"batch_id={n}" for n in (1, 2, 3, 4, 5)]
    assert put_back(spark, tmp_path) == [50, 51]


def test_letters_that_nobody_has_put_back_yet_are_all_put_back_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    for number, days in enumerate([9, 8, 2, 0]):
        sink(letters(spark, number * 10, 2), number)
        age(tmp_path, number, days)
    write_checkpoint(tmp_path, done=3)

    compact(spark, tmp_path, read_by=[str(tmp_path / "replay")])

    assert batch_names(tmp_path) == ["batch_id=2", "batch_id=3"]
    assert put_back(spark, tmp_path) == [0, 1, 10, 11, 20, 21, 30, 31]


def test_the_checkpoint_of_a_stream_that_reads_no_files_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(3))
    write_checkpoint(tmp_path, done=2)
    other = tmp_path / "other"
    write_checkpoint(other, done=1)
    (other / "checkpoint" / "offsets" / "1").write_text('v1\n{}\n{"topic":{"0":5}}')

    with pytest.raises(InvalidOptionError, match="other/checkpoint is not of a stream that reads"):
        compact(spark, tmp_path, read_by=[str(other / "checkpoint")])


def test_letters_are_refused_without_word_of_who_reads_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    sink = parquet_sink(spark, str(tmp_path / "out"))
    for number in range(3):
        sink(letters(spark, number * 10, 2), number)
    write_checkpoint(tmp_path, done=2)

    with pytest.raises(InvalidOptionError, match="these are dead letters, .* say --read-by"):
        compact(spark, tmp_path)

    assert len(batch_names(tmp_path)) == 3


# --- killed


def rows_or_error(folder: Path) -> int | str:
    """What a reader gets: a count, or the name of an error."""
    try:
        return ds.dataset(folder / "out", format="parquet").count_rows()
    except (OSError, ValueError) as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("function", "calls", "sees"),
    [
        ("write_text", 0, 40),  # nothing has begun
        ("rename", 0, 40),  # the list of what is kept stands there
        ("write_text", 1, "FileNotFoundError"),  # the output is renamed away
        ("rename", 1, "ArrowInvalid"),  # the file stands in its place
        ("rename", 3, "ArrowInvalid"),  # two of three things that are kept are moved
        ("rename", 4, "FileNotFoundError"),  # all is ready
    ],
)
def test_killed_at_any_moment_of_the_renames_the_next_run_ends_it(
    function: str,
    calls: int,
    sees: int | str,
    renames: None,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    (tmp_path / "out" / "_SUCCESS").unlink()
    (tmp_path / "out" / "_notes").write_text("mine")  # this, batch 3 and the lease are kept
    with monkeypatch.context() as patch:
        patch.setattr(swap, function, Dying(getattr(swap, function), calls))
        with pytest.raises(KeyboardInterrupt):
            compact(spark, tmp_path)

    assert rows_or_error(tmp_path) == sees
    compact(spark, tmp_path)

    assert ids(tmp_path) == list(range(40))
    assert batch_names(tmp_path) == ["batch_id=2", "batch_id=3"]
    assert (tmp_path / "out" / "_notes").read_text() == "mine"
    assert beside(tmp_path) == ["checkpoint", "out"]


def test_killed_after_both_renames_the_next_run_clears_away(
    renames: None, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    with monkeypatch.context() as patch:
        patch.setattr(swap, "clear", Dying(swap.clear, 1))  # the first is that of the start
        with pytest.raises(KeyboardInterrupt):
            compact(spark, tmp_path)

    assert beside(tmp_path) == [".out.compacted", "checkpoint", "out"]
    assert ids(tmp_path) == list(range(40))
    compact(spark, tmp_path)
    assert beside(tmp_path) == ["checkpoint", "out"]
    assert ids(tmp_path) == list(range(40))


def test_killed_between_the_renames_no_batch_can_be_written_until_the_next_run(
    renames: None, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    with monkeypatch.context() as patch:
        patch.setattr(swap, "rename", Dying(hadoop.rename, 1))
        with pytest.raises(KeyboardInterrupt):
            compact(spark, tmp_path)
    sink = parquet_sink(spark, str(tmp_path / "out"))

    with pytest.raises(Py4JJavaError, match="Parent path is not a directory"):
        sink(spark.range(40, 50), 4)

    assert "run it again" in (tmp_path / "out").read_text()
    compact(spark, tmp_path)
    sink(spark.range(40, 50), 4)
    assert ids(tmp_path) == list(range(50))


def test_batches_that_a_job_has_written_where_the_output_was_missing_are_kept(
    renames: None, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    with monkeypatch.context() as patch:
        patch.setattr(swap, "write_text", Dying(hadoop.write_text, 1))
        with pytest.raises(KeyboardInterrupt):
            compact(spark, tmp_path)
    sink = parquet_sink(spark, str(tmp_path / "out"))
    sink(spark.range(30, 40), 3)  # replayed
    sink(spark.range(40, 50), 4)
    write_checkpoint(tmp_path, done=4)

    compact(spark, tmp_path)

    assert ids(tmp_path) == list(range(50))
    assert beside(tmp_path) == ["checkpoint", "out"]


KILLED = """
import os, signal, sys
from pyspark_vision.cli.main import main
from pyspark_vision.streaming.compaction import swap

place, before, folder = sys.argv[1:]
if place == "rename":
    swap._can_exchange = lambda folder: False
function = getattr(swap, place)
calls = []

def dying(*args, **keywords):
    # The first exchange is the one that tries whether the disk can.
    calls.append(args)
    if len(calls) == 2 and before == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    function(*args, **keywords)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(swap, place, dying)
main(["compact", folder + "/out", "--checkpoint", folder + "/checkpoint"])
"""


@pytest.mark.parametrize(
    ("place", "when", "sees"),
    [
        ("_exchange", "before", 40),
        pytest.param("_exchange", "after", 40, marks=pytest.mark.slow),
        pytest.param("rename", "before", "ArrowInvalid", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_killed_at_the_swap_loses_nothing_and_blocks_nobody(
    place: str, when: str, sees: int | str, spark: SparkSession, tmp_path: Path
) -> None:
    write_batches(spark, tmp_path, range(4))
    write_checkpoint(tmp_path, done=3)
    conf = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), place, when, str(tmp_path)],
        env=job_environment({**conf, "spark.master": "local[1]"}),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert rows_or_error(tmp_path) == sees
    compact(spark, tmp_path)
    assert ids(tmp_path) == list(range(40))
    assert batch_names(tmp_path) == ["batch_id=2", "batch_id=3"]
    assert beside(tmp_path) == ["checkpoint", "out"]
