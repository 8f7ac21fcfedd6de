"""A folder as a steady stream: files are planned as they come, in few lists, each once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.errors import IncompleteInputError
from pyspark_vision.sources import folders
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.folder_stream import FolderOptions, FolderStream


def write(folder: Path, *names: str) -> None:
    """Files that were written long ago."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
        os.utime(folder / name, (1000, 1000))


def stream(
    spark: SparkSession, tmp_path: Path, *, every_s: float | None = 0.05, max_files: int = 100
) -> FolderStream:
    place = folders.folder(spark, str(tmp_path / "in"))
    options = FolderOptions(Names("*"), max_files, 0.0, every_s)
    return FolderStream(spark, place, str(tmp_path / "checkpoint"), options)


def lists(tmp_path: Path) -> list[int]:
    """How many files each list has."""
    found = sorted((tmp_path / "checkpoint" / "_files").glob("[0-9]*.json"))
    return [len(path.read_text().splitlines()) for path in found]


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_while_no_batch_is_read_later_files_wait_for_one_larger_list(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path / "in", "0")
    with stream(spark, tmp_path, max_files=5) as files:
        files.records()
        write(tmp_path / "in", "1")
        wait_for(lambda: lists(tmp_path) == [1, 1])
        write(tmp_path / "in", "2", "3")
        time.sleep(0.5)
        assert lists(tmp_path) == [1, 1]
        write(tmp_path / "in", "4", "5", "6", "7")
        wait_for(lambda: lists(tmp_path) == [1, 1, 5])

        write(tmp_path / "in", *(f"more-{number}" for number in range(60)))
        wait_for(lambda: lists(tmp_path) == [1, 1, *[5] * 6])
        time.sleep(0.5)
        assert len(lists(tmp_path)) == 8

    # Another start does not know how far the stream is, and plans what is left.
    with stream(spark, tmp_path):
        assert lists(tmp_path) == [1, 1, *[5] * 6, 36]


def test_rows_have_bytes_or_a_reason_and_come_once_over_restarts(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path / "in", "a:b", "_c.jpg", "gone", "d")
    rows: list[tuple[str, bytes | None, str | None]] = []

    def collect(batch: DataFrame, _: int) -> None:
        for row in batch.collect():
            code = row.fetch_error and row.fetch_error.code
            rows.append((row.origin.rsplit("/", 1)[-1], row.value and bytes(row.value), code))

    for more in ([], ["later"]):
        write(tmp_path / "in", *more)
        with stream(spark, tmp_path, every_s=None, max_files=3) as files:
            (tmp_path / "in" / "gone").unlink(missing_ok=True)
            writer = files.records().writeStream.foreachBatch(collect)
            writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
            query = writer.trigger(availableNow=True).start()
            query.awaitTermination()

    assert sorted(rows) == [
        ("_c.jpg", b"_c.jpg", None),
        ("a:b", b"a:b", None),
        ("d", b"d", None),
        ("gone", None, "fetch_not_found"),
        ("later", b"later", None),
    ]


def test_a_file_that_went_and_is_put_back_as_it_was_is_read_by_the_next_start_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path / "in", "a", "gone")
    rows: list[tuple[str, str | None]] = []
    for start in range(3):
        write(tmp_path / "in", "gone")
        with stream(spark, tmp_path, every_s=None) as files:
            if start == 0:
                (tmp_path / "in" / "gone").unlink()

            def collect(batch: DataFrame, batch_id: int, files: FolderStream = files) -> None:
                batch = batch.withColumnRenamed("fetch_error", "error")
                rows.extend(
                    (row.origin.rsplit("/", 1)[-1], row.error and row.error.code)
                    for row in batch.collect()
                )
                files.note(batch, batch_id)

            writer = files.records().writeStream.foreachBatch(collect)
            writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
            writer.trigger(availableNow=True).start().awaitTermination()

    assert sorted(rows, key=str) == [("a", None), ("gone", "fetch_not_found"), ("gone", None)]


def test_a_file_that_changes_between_the_note_of_its_failure_and_the_commit_has_one_good_row(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path / "in", "a", "cut")
    rows: dict[int, list[tuple[str, str | None]]] = {}
    for start in range(3):
        with stream(spark, tmp_path, every_s=None) as files:

            def collect(
                batch: DataFrame, batch_id: int, start: int = start, files: FolderStream = files
            ) -> None:
                error = F.struct(F.lit("truncated").alias("code"))
                is_cut = F.col("value") == F.lit(b"cut")
                batch = batch.withColumn("error", F.when(is_cut, error))
                rows[batch_id] = [
                    (row.origin.rsplit("/", 1)[-1], row.error and row.error.code)
                    for row in batch.collect()
                ]
                files.note(batch, batch_id)
                if start == 0:
                    raise RuntimeError("killed here")

            writer = files.records().writeStream.foreachBatch(collect)
            writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
            query = writer.trigger(availableNow=True).start()
            if start == 0:
                with pytest.raises(StreamingQueryException, match="killed here"):
                    query.awaitTermination()
                assert ("cut", "truncated") in rows[0]
                (tmp_path / "in" / "cut").write_bytes(b"the whole picture")
                os.utime(tmp_path / "in" / "cut", (2000, 2000))
            else:
                query.awaitTermination()

    assert sorted(row for batch in rows.values() for row in batch) == [("a", None), ("cut", None)]


def test_a_second_link_to_a_folder_outside_gives_no_row_again(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path / "in", "own")
    write(tmp_path / "outer", "there")
    names: list[str] = []
    for link in ("m", "a"):
        (tmp_path / "in" / link).symlink_to(tmp_path / "outer")
        with stream(spark, tmp_path, every_s=None) as files:
            writer = files.records().writeStream.foreachBatch(
                lambda batch, _: names.extend(row.origin for row in batch.collect())
            )
            writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
            writer.trigger(availableNow=True).start().awaitTermination()
        write(tmp_path / "outer", "later")

    assert files.left_out() == "1 (link_repeated 1)"
    assert sorted(names) == [f"file:{tmp_path}/in/{name}" for name in ("m/later", "m/there", "own")]


def test_a_stream_that_ends_says_what_it_left_out_and_fails_for_folders_that_nobody_has_seen(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", "0", ".hidden")
    with stream(spark, tmp_path, every_s=None) as files:
        pass
    assert files.left_out() == "1 (hidden 1)"
    files.check()

    (tmp_path / "in" / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: bytes) -> object:  # root may list everything
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with stream(spark, tmp_path, every_s=None) as files:
        pass
    assert files.left_out() == "2 (hidden 1, unreadable_folder 1)"
    with pytest.raises(IncompleteInputError, match="closed: Permission denied"):
        files.check()


def test_a_listing_that_fails_for_a_while_is_said_and_tried_again(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(tmp_path / "in", "0")
    with stream(spark, tmp_path) as files:
        files.records()
        with monkeypatch.context() as patch:
            asked: list[int] = []

            def fail(*_: object) -> None:
                asked.append(1)
                raise OSError("the store is away")

            patch.setattr(folders, "files", fail)
            write(tmp_path / "in", "1")
            wait_for(lambda: len(asked) > 2)
            assert lists(tmp_path) == [1]
        wait_for(lambda: lists(tmp_path) == [1, 1])

    assert caplog.text.count("the store is away") == 1
