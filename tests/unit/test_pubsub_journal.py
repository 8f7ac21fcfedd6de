"""The journal under a checkpoint: whole segments, kept until acknowledged, then their keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import messages
from pyspark_vision.sources.pubsub.journal import Journal
from pyspark_vision.sources.pubsub.messages import Message
from pyspark_vision.sources.pubsub.stores import LocalStore

KEY = b"0123456789abcdef"


def sent(number: int, ordering_key: str = "") -> Message:
    time = datetime(2026, 11, 28, 12, 0, 0, number, tzinfo=UTC)
    attributes = {"n": str(number)}
    return Message("projects/p/subscriptions/s", f"m{number}", time, "a", b"\x00", attributes,
                   ordering_key)  # fmt: skip


def content(*numbers: int) -> bytes:
    return messages.to_batch([sent(n) for n in numbers], [([f"a{n}"], [KEY]) for n in numbers])


def ids(batch: pa.RecordBatch) -> list[str]:
    names: list[str] = batch.column("message_id").to_pylist()
    return names


def test_a_new_journal_is_empty(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path / "none"))

    assert (journal.last, journal.segments, journal.kept_keys()) == (0, [], [])


def test_what_was_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    Journal(LocalStore(tmp_path)).write(1, content(1, 2))

    after = Journal(LocalStore(tmp_path))

    assert after.last == 1
    [row, _] = after.read(1).to_pylist()
    assert row["data"] == b"\x00"
    assert row["attributes"] == [("n", "1")]
    assert row["publish_time"] == sent(1).publish_time
    assert row["ack_ids"] == ["a1"]


def test_acknowledged_messages_go_and_their_keys_stay(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path))
    for number in (1, 2, 3):
        journal.write(number, content(number))

    journal.keep_keys(2, [KEY])

    after = Journal(LocalStore(tmp_path))
    assert [file.name for file in (tmp_path / "segments").iterdir()] == ["000000000003"]
    assert after.segments == [3]
    assert after.kept_keys() == [(2, [KEY])]
    assert after.last == 3


def test_a_stop_between_keeping_keys_and_removing_messages_is_made_good(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path))
    journal.write(1, content(1))
    journal.keep_keys(1, [KEY])
    LocalStore(tmp_path).write("segments/000000000001", content(1))

    after = Journal(LocalStore(tmp_path))

    assert after.segments == []
    assert list((tmp_path / "segments").iterdir()) == []


def test_keys_are_forgotten_but_never_how_far_the_journal_goes(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path))
    for number in (1, 2):
        journal.write(number, content(number))
        journal.keep_keys(number, [KEY])

    journal.forget_keys(2)

    after = Journal(LocalStore(tmp_path))
    assert after.last == 2
    assert [number for number, _ in after.kept_keys()] == [2]


def test_a_segment_that_is_gone_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="no segment 7, and the checkpoint asks for it"):
        Journal(LocalStore(tmp_path)).read(7)


@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.9], ids=["empty", "three", "half", "most"])
def test_a_file_that_was_cut_short_is_said_in_one_line(kept: float, tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path))
    for number in (1, 2):
        journal.write(number, content(number))
    journal.keep_keys(1, [KEY])
    for file in (*tmp_path.glob("segments/*"), *tmp_path.glob("acknowledged/*")):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(kept if kept >= 1 else kept * len(whole))])

    after = Journal(LocalStore(tmp_path))

    with pytest.raises(StreamError, match="the journal's segments/000000000002 is damaged"):
        after.read(2)
    with pytest.raises(StreamError, match="the journal's acknowledged/000000000001 is damaged"):
        after.kept_keys()


def test_unfinished_and_foreign_files_are_nobodys(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("segments/000000000001", content(1))
    for name in ("_000000000002.abc", "3", "000000000004 (copy)", "²", "note.txt"):
        (tmp_path / "segments" / name).write_bytes(b"half")

    assert Journal(store).segments == [1]


def test_a_file_of_the_journal_that_is_another_files_copy_is_said_in_one_line(
    tmp_path: Path,
) -> None:
    journal = Journal(LocalStore(tmp_path))
    for number in (1, 2):
        journal.write(number, content(number))
    journal.keep_keys(1, [KEY])
    copied = (tmp_path / "acknowledged" / "000000000001").read_bytes()
    (tmp_path / "segments" / "000000000002").write_bytes(copied)

    with pytest.raises(StreamError, match=r"000000000002 is damaged \(it has other columns"):
        Journal(LocalStore(tmp_path)).read(2)


def test_a_segment_is_written_once_whoever_comes_second(tmp_path: Path) -> None:
    paused, taken_over = (Journal(LocalStore(tmp_path)) for _ in range(2))
    taken_over.write(1, content(1))

    with pytest.raises(StreamError, match="segments/000000000001 was written by another job"):
        paused.write(1, content(2))

    assert ids(Journal(LocalStore(tmp_path)).read(1)) == ["m1"]
    assert [file.name for file in (tmp_path / "segments").iterdir()] == ["000000000001"]


def test_a_segment_that_an_ending_process_acknowledges_meanwhile_is_no_segment_any_more(
    tmp_path: Path,
) -> None:
    ending = Journal(LocalStore(tmp_path))
    for number in (1, 2):
        ending.write(number, content(number))
    starting = Journal(LocalStore(tmp_path))
    ending.keep_keys(1, [KEY])

    assert [number for number, _ in starting.kept_segments()] == [2]
    assert starting.kept_keys() == [(1, [KEY])]
    assert (starting.segments, starting.last) == ([2], 2)


def test_a_segment_that_is_gone_and_not_acknowledged_is_said_in_one_line(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path))
    journal.write(1, content(1))
    (tmp_path / "segments" / "000000000001").unlink()

    with pytest.raises(StreamError, match="no segment 1, and the checkpoint asks for it"):
        list(journal.kept_segments())


@pytest.mark.parametrize("verb", ["read", "written"])
def test_a_folder_that_cannot_be_used_is_said_in_one_line(verb: str, tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path))
    (tmp_path / "segments").write_text("a file where the folder should be")

    def use() -> None:
        if verb == "read":
            Journal(LocalStore(tmp_path))
        else:
            journal.write(1, content(1))

    with pytest.raises(StreamError, match=f"the journal cannot be {verb}") as refused:
        use()

    assert "\n" not in str(refused.value)


def test_tasks_share_the_messages_and_those_of_a_key_stay_together_in_order() -> None:
    held = [sent(number, "k" if number % 2 else "") for number in range(10)]
    batch = messages.from_bytes(messages.to_batch(held, [([], [])] * 10))

    parts = [ids(part) for part in messages.slices(batch, 3)]

    assert sorted(name for part in parts for name in part) == sorted(
        f"m{number}" for number in range(10)
    )
    assert len(parts) == 3
    [keyed] = [part for part in parts if "m1" in part]
    assert [name for name in keyed if int(name[1:]) % 2] == ["m1", "m3", "m5", "m7", "m9"]


def test_no_messages_are_no_tasks() -> None:
    assert messages.slices(messages.from_bytes(messages.to_batch([], [])), 3) == []
