"""What a folder stream has planned, over restarts: each file once, a failed one as it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.sources import planned_files
from pyspark_vision.sources.folder_stream import listing_interval_s
from pyspark_vision.sources.listed_files import ListedFile
from pyspark_vision.sources.planned_files import PlannedFiles


def file(name: str, size: int = 1, modified_ms: int = 1000) -> ListedFile:
    return ListedFile(f"file:/in/{name}", f"file:///in/{name}", size, modified_ms)


def planned(spark: SparkSession, checkpoint: Path) -> PlannedFiles:
    found = PlannedFiles(spark, str(checkpoint))
    found.read()
    return found


def test_a_file_is_new_until_it_is_planned_by_this_start_or_an_earlier_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    files = planned(spark, tmp_path)
    files.plan([file("a"), file("line\nbreak\u2028")])
    files.plan([file("b")])

    later = planned(spark, tmp_path)

    for known in (files, later):
        names = ("a", "line\nbreak\u2028", "b", "c")
        assert [known.is_new(file(name)) for name in names] == [False, False, False, True]
        # What has not failed is not read again, whatever happens to it.
        assert not known.is_new(file("a", 2, 2000))
        assert known.lists == 2


def test_a_failed_file_is_new_once_for_each_change(spark: SparkSession, tmp_path: Path) -> None:
    files = planned(spark, tmp_path)
    files.plan([file("a"), file("b")])
    files.note_failed(0, [file("a")])
    for known in (files, planned(spark, tmp_path)):
        assert not known.is_new(file("a"))
        assert known.is_new(file("a", 2))
        assert known.is_new(file("a", 1, 2000))
        assert not known.is_new(file("b", 2))

    files.plan([file("a", 2)])

    for known in (files, planned(spark, tmp_path)):
        assert [known.is_new(file("a", size)) for size in (1, 2, 3)] == [False, False, False]
    files.note_failed(1, [file("a", 2)])
    for known in (files, planned(spark, tmp_path)):
        assert [known.is_new(file("a", size)) for size in (2, 3)] == [False, True]


def test_lists_that_were_read_long_ago_are_merged_and_nothing_is_forgotten(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_files, "_MERGED_LISTS", 4)
    monkeypatch.setattr(planned_files, "_KEPT_LISTS", 2)
    files = planned(spark, tmp_path)
    for number in range(9):
        files.plan([file(f"{number}"), file(f"bad{number}")])
    lists = sorted(path.name for path in (tmp_path / "_files").glob("[0-9]*"))
    for batch_id, name in enumerate(lists[:7]):
        files.note_failed(batch_id, [file(f"bad{batch_id}")])
        files.note_read([name])
        files.note_read([name])  # a replay

    later = planned(spark, tmp_path)

    left = sorted(path.name for path in (tmp_path / "_files").glob("[0-9]*"))
    assert left == lists[4:]
    assert len(list((tmp_path / "_files_read").glob("[0-9]*"))) == 1
    for known in (files, later):
        assert not any(known.is_new(file(name)) for n in range(9) for name in (f"{n}", f"bad{n}"))
        assert [known.is_new(file(f"bad{n}", 2)) for n in range(9)] == [True] * 7 + [False] * 2
        assert known.lists == 9


def test_a_replayed_batch_says_its_failed_files_again(spark: SparkSession, tmp_path: Path) -> None:
    files = planned(spark, tmp_path)
    files.plan([file("a"), file("b")])

    files.note_failed(0, [file("a")])
    files.note_failed(0, [file("b")])

    later = planned(spark, tmp_path)
    assert [later.is_new(file(name, 2)) for name in "ab"] == [False, True]


@pytest.mark.parametrize(
    ("trigger", "seconds"),
    [
        ("3 seconds", 3.0),
        ("0.2 seconds", 1.0),
        ("2 minutes", 120.0),
        ("500 milliseconds", 1.0),
        ("1 hour", 3600.0),
        ("interval", 1.0),
        ("available-now", None),
    ],
)
def test_a_folder_is_listed_as_often_as_batches_begin(trigger: str, seconds: float | None) -> None:
    assert listing_interval_s(trigger) == seconds
