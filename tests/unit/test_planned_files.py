"""What a folder stream has planned, over restarts: each file once, a failed one as it changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
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


def commit(checkpoint: Path, batch_id: int) -> None:
    (checkpoint / "commits").mkdir(exist_ok=True)
    (checkpoint / "commits" / str(batch_id)).write_text("v1")


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
    commit(tmp_path, 0)
    files.see_commits()
    for known in (files, planned(spark, tmp_path)):
        assert not known.is_new(file("a"))
        assert known.is_new(file("a", 2))
        assert known.is_new(file("a", 1, 2000))
        assert not known.is_new(file("b", 2))

    files.plan([file("a", 2)])

    for known in (files, planned(spark, tmp_path)):
        assert [known.is_new(file("a", size)) for size in (1, 2, 3)] == [False, False, False]
    files.note_failed(1, [file("a", 2)])
    commit(tmp_path, 1)
    files.see_commits()
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
    commit(tmp_path, 6)
    files.see_commits()

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
    commit(tmp_path, 0)

    later = planned(spark, tmp_path)
    assert [later.is_new(file(name, 2)) for name in "ab"] == [False, True]


def lists_of(checkpoint: Path) -> list[str]:
    return sorted(path.name for path in (checkpoint / "_files").glob("[0-9]*"))


def test_a_failed_file_that_has_changed_waits_for_the_commit_of_its_batch(
    spark: SparkSession, tmp_path: Path
) -> None:
    files = planned(spark, tmp_path)
    files.plan([file("a"), file("b")])
    files.note_failed(0, [file("a"), file("b")])

    killed = planned(spark, tmp_path)
    assert not killed.is_new(file("a", 2))  # the replay reads it as it is now
    killed.note_failed(0, [file("b")])
    commit(tmp_path, 0)

    for known in (killed, planned(spark, tmp_path)):
        known.see_commits()
        assert [known.is_new(file(name, 2)) for name in "ab"] == [False, True]


@pytest.mark.parametrize("code", ["fetch_failed", "fetch_denied", "fetch_not_found"])
def test_a_file_that_could_not_be_fetched_is_new_again_at_each_start_until_it_succeeds(
    spark: SparkSession, tmp_path: Path, code: str
) -> None:
    files = planned(spark, tmp_path)
    files.plan([file("a"), file("bad")])
    codes = {file("a").origin: code, file("bad").origin: "truncated"}
    files.note_failed(0, [file("a"), file("bad")], codes, lists_of(tmp_path)[0])
    # The replay of a batch that is not committed reads it.
    assert not planned(spark, tmp_path).is_new(file("a"))
    commit(tmp_path, 0)

    second = planned(spark, tmp_path)
    assert [second.is_new(file(name)) for name in ("a", "bad")] == [True, False]
    second.plan([file("a")])
    assert not second.is_new(file("a"))
    assert not planned(spark, tmp_path).is_new(file("a"))  # it is planned, and has not failed since

    second.note_failed(1, [file("a")], codes, lists_of(tmp_path)[1])
    commit(tmp_path, 1)
    third = planned(spark, tmp_path)
    assert third.is_new(file("a"))
    third.plan([file("a")])
    third.note_failed(2, [], {}, lists_of(tmp_path)[2])
    commit(tmp_path, 2)
    assert not planned(spark, tmp_path).is_new(file("a"))


def test_a_running_stream_tries_a_file_again_after_pauses_that_grow(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    files = planned(spark, tmp_path)
    files.plan([file("a")])
    for batch_id, pause_s in enumerate((60, 120, 240)):
        in_list = lists_of(tmp_path)[batch_id]
        files.note_failed(batch_id, [file("a")], {file("a").origin: "fetch_failed"}, in_list)
        commit(tmp_path, batch_id)
        files.see_commits()
        now += pause_s - 1
        assert not files.is_new(file("a"))
        now += 1
        assert files.is_new(file("a"))
        files.plan([file("a")])


def test_a_replay_does_not_make_a_version_new_that_is_planned_already(
    spark: SparkSession, tmp_path: Path
) -> None:
    files = planned(spark, tmp_path)
    files.plan([file("a"), file("b")])
    in_list = lists_of(tmp_path)[0]
    codes = {file(name).origin: "fetch_failed" for name in "ab"}
    files.note_failed(0, [file("a"), file("b")], codes, in_list)

    killed = planned(spark, tmp_path)
    killed.plan([file("a", 2)])
    killed.note_failed(0, [file("a")], codes, in_list)
    commit(tmp_path, 0)

    for known in (killed, planned(spark, tmp_path)):
        assert not known.is_new(file("a", 2))
        assert not known.is_new(file("b", 2))  # it was read by the replay


def test_many_short_runs_merge_their_lists_as_one_long_run(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_files, "_MERGED_LISTS", 2)
    monkeypatch.setattr(planned_files, "_KEPT_LISTS", 1)
    for number in range(4):
        files = planned(spark, tmp_path)
        files.plan([file(f"{number}")])
        in_list = lists_of(tmp_path)[-1]
        files.note_failed(
            number, [file(f"{number}")], {file(f"{number}").origin: "fetch_denied"}, in_list
        )
        files.note_read([in_list])
        files.keep_read_lists()
        commit(tmp_path, number)

    assert len(lists_of(tmp_path)) == 2
    later = planned(spark, tmp_path)
    assert later.lists == 4
    assert all(later.is_new(file(f"{number}")) for number in range(4))
    later.plan([file("0")])
    assert not planned(spark, tmp_path).is_new(file("0"))


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


def test_a_checkpoint_that_was_moved_is_refused_and_one_in_its_place_is_not(
    spark: SparkSession, tmp_path: Path
) -> None:
    checkpoint, elsewhere = tmp_path / "checkpoint", tmp_path / "elsewhere"
    planned_files.claim(spark, str(checkpoint), "file:/in")
    shutil.copytree(checkpoint, elsewhere)

    planned_files.claim(spark, f"{checkpoint}/", "file:/in")
    with pytest.raises(InvalidOptionError, match=f"was made at file://{checkpoint}, and"):
        planned_files.claim(spark, str(elsewhere), "file:/in")


def test_a_checkpoint_of_a_version_that_did_not_note_its_place_goes_on(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "_source").mkdir()
    (tmp_path / "_source" / "files.json").write_text('{"folder": "file:/in"}')

    planned_files.claim(spark, str(tmp_path), "file:/in")
