"""The events API's journal: what was appended is there, whatever happens to the process or disk."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pyspark_vision.clients.events_api.journal import (
    Draft,
    Journal,
    JournalFullError,
    open_journal,
)
from pyspark_vision.clients.events_api.records import Record, decode, encode
from pyspark_vision.clients.events_api.segments import JournalError

MB = 1024 * 1024
IDENTITY = b"k" * 24


class Opened:
    """A journal, and the records that were there when it was opened."""

    def __init__(self, stack: ExitStack, folder: Path, topic: str, max_bytes: int) -> None:
        self.records: list[Record] = []
        self.stack = stack
        self.journal: Journal = stack.enter_context(
            open_journal(folder, topic, max_bytes, self.records.append)
        )

    def close(self) -> Journal:
        self.stack.close()
        return self.journal


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Opened]:
    """``opened(topic="events", max_bytes=MB)``: the journal in ``j``, open."""

    def open_it(topic: str = "events", max_bytes: int = MB) -> Opened:
        return Opened(ExitStack(), tmp_path / "j", topic, max_bytes)

    return open_it


def drafts(*messages: bytes) -> list[Draft]:
    return [Draft(1000 + place, message) for place, message in enumerate(messages)]


def messages(journal: Journal, max_records: int = 100) -> list[bytes]:
    return [record.message for record in journal.unsent(max_records)]


def segment(tmp_path: Path) -> Path:
    return sorted((tmp_path / "j").glob("*.events"))[-1]


def test_records_are_read_as_they_were_written_and_nothing_else_is() -> None:
    records = [Record(1, -5, b""), Record(2, 2**40, b"\x00" * 9, IDENTITY), Record(3, 0, b"word")]
    data = b"".join(map(encode, records))

    assert [record for record, _ in decode(data)] == records
    assert list(decode(b"")) == list(decode(bytes(100))) == list(decode(b"\xff" * 100)) == []
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        assert [r for r, _ in decode(bytes(damaged))] == records[: len(list(decode(data[:place])))]


def test_what_is_appended_is_read_in_order_until_it_is_marked_as_sent(
    opened: Callable[..., Opened],
) -> None:
    journal = opened().journal

    assert (journal.end, messages(journal)) == (1, [])
    assert journal.append(drafts(b"a", b"b", b"c")) == range(1, 4)
    assert messages(journal) == messages(journal) == [b"a", b"b", b"c"]
    assert messages(journal, 2) == [b"a", b"b"]
    journal.mark_sent(3)
    assert (journal.sent, messages(journal)) == (3, [b"c"])
    assert journal.append(drafts(b"d")) == range(4, 5)
    assert messages(journal) == [b"c", b"d"]


def test_a_second_process_finds_what_the_first_kept_and_goes_on_with_its_numbers(
    opened: Callable[..., Opened],
) -> None:
    first = opened()
    first.journal.append([Draft(7, b"a", IDENTITY), Draft(8, b"b")])
    first.journal.mark_sent(2)
    name = first.close().name

    second = opened()

    assert second.journal.name == name
    assert second.records == [Record(1, 7, b"a", IDENTITY), Record(2, 8, b"b")]
    assert messages(second.journal) == [b"b"]
    assert second.journal.append(drafts(b"c")) == range(3, 4)


def test_cut_at_any_byte_the_whole_records_before_it_are_there(
    opened: Callable[..., Opened], tmp_path: Path
) -> None:
    first = opened()
    first.journal.append(drafts(b"one", b"two", b"three"))
    first.close()
    data = segment(tmp_path).read_bytes()
    ends = [0, *(end for _, end in decode(data))]

    for cut in range(len(data) + 1):
        segment(tmp_path).write_bytes(data[:cut])
        again = opened()
        whole = sum(end <= cut for end in ends) - 1
        assert messages(again.journal) == [b"one", b"two", b"three"][:whole]
        assert again.journal.append(drafts(b"next")) == range(whole + 1, whole + 2)
        assert messages(again.journal)[-1] == b"next"
        again.close()


def test_damage_before_events_that_are_not_sent_is_an_error_and_not_cut_off(
    opened: Callable[..., Opened], tmp_path: Path
) -> None:
    first = opened()
    first.journal.append(drafts(b"one", b"two", b"three"))
    first.close()
    data = bytearray(segment(tmp_path).read_bytes())
    data[30] ^= 1
    segment(tmp_path).write_bytes(data)

    with pytest.raises(JournalError, match=r"\.events is damaged at byte 28, behind event 1: res"):
        opened()
    assert segment(tmp_path).read_bytes() == data


def test_a_full_journal_takes_nothing_until_its_events_are_sent(
    opened: Callable[..., Opened], tmp_path: Path
) -> None:
    journal = opened().journal
    for _ in range(1000):
        journal.append(drafts(bytes(1000)))

    with pytest.raises(JournalFullError, match="the journal has its 1 MB full of events"):
        journal.append(drafts(*[bytes(1000)] * 48))
    assert journal.append(drafts(b"a small one")) == range(1001, 1002)
    journal.mark_sent(500)
    for _ in range(300):
        journal.append(drafts(bytes(1000)))
    assert sum(path.stat().st_size for path in (tmp_path / "j").glob("*.events")) <= MB


def test_a_long_run_in_a_small_bound_loses_and_repeats_nothing(
    opened: Callable[..., Opened],
) -> None:
    chance = random.Random(5)
    current, sent, appended = opened(), [], 0
    while appended < 5000:
        journal = current.journal
        sizes = [chance.randint(0, 3000) for _ in range(chance.randint(1, 40))]
        try:
            numbers = journal.append([Draft(0, bytes(size)) for size in sizes])
        except JournalFullError:
            numbers = range(0)
        assert list(numbers) == list(range(appended + 1, appended + 1 + len(numbers)))
        appended += len(numbers)
        if chance.random() < 0.6:
            records = journal.unsent(chance.randint(1, 100))
            sent += [record.sequence for record in records]
            if records:
                journal.mark_sent(records[-1].sequence + 1)
        if chance.random() < 0.05:
            current.close()
            current = opened()
    while records := current.journal.unsent(500):
        sent += [record.sequence for record in records]
        current.journal.mark_sent(records[-1].sequence + 1)
    assert sent == list(range(1, appended + 1))


def test_a_write_that_fails_keeps_nothing_of_it(
    opened: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = opened().journal
    journal.append(drafts(b"before"))
    write = os.write

    def full_after_ten_bytes(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(file, data[:10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_after_ten_bytes)
        with pytest.raises(JournalFullError, match=r"/j: No space left on device"):
            journal.append(drafts(b"lost"))
    journal.append(drafts(b"after"))

    assert messages(journal) == [b"before", b"after"]
    assert [r.sequence for r, _ in decode(segment(tmp_path).read_bytes())] == [1, 2]


def test_a_journal_is_of_one_process_one_topic_and_no_others_folder(
    opened: Callable[..., Opened], tmp_path: Path
) -> None:
    first = opened()
    first.journal.append(drafts(b"a"))
    with pytest.raises(JournalError, match="is another running events-api's: choose another f"):
        opened()
    first.close()
    with pytest.raises(JournalError, match="has events for the topic events that are not sent"):
        opened(topic="other")
    again = opened()
    again.journal.mark_sent(2)
    again.close()
    assert messages(opened(topic="other").journal) == []

    others = tmp_path / "others"
    others.mkdir()
    (others / "letter.txt").write_text("mine")
    with pytest.raises(JournalError, match=r"is no journal and has letter\.txt in it"):
        Opened(ExitStack(), others, "events", MB)
    assert [path.name for path in others.iterdir()] == ["letter.txt"]
    with pytest.raises(JournalError, match="cannot be written: Not a directory. Choose a folder"):
        Opened(ExitStack(), others / "letter.txt" / "j", "events", MB)


def test_a_mark_that_kafka_knows_better_is_taken_over(opened: Callable[..., Opened]) -> None:
    first = opened()
    first.journal.append(drafts(b"a", b"b"))
    first.close()

    second = opened()
    second.journal.mark_sent(3)

    assert messages(second.journal) == []
    second.journal.mark_sent(9)  # the journal's end was lost, although Kafka had taken it
    assert second.journal.append(drafts(b"c")) == range(9, 10)
    assert messages(second.close()) == [b"c"]
    assert messages(opened().journal) == [b"c"]
