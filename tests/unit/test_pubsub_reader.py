"""The reader's threads, with a service that is told when to answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import reader as reader_module
from pyspark_vision.sources.pubsub.journal import Journal
from pyspark_vision.sources.pubsub.messages import Message, from_bytes, keys_of
from pyspark_vision.sources.pubsub.options import reader_options
from pyspark_vision.sources.pubsub.reader import Reader
from pyspark_vision.sources.pubsub.stores import LocalStore

SUB = "projects/project/subscriptions/sub"
MESSAGE = Message(SUB, "m1", datetime(2026, 11, 28, 12, tzinfo=UTC), "ack-1", b"four")
TIMEOUT_S = 20


class SlowService:
    """Has one message; an acknowledgement is answered when ``answers`` is set."""

    def __init__(self) -> None:
        self._waiting = [MESSAGE]
        self.asked, self.answers, self._closed = (threading.Event() for _ in range(3))
        self.acknowledged: list[str] = []

    def is_ordered(self, subscription: str) -> bool:
        return True  # one request at a time

    def pull(self, subscription: str, count: int, timeout_s: float) -> list[Message]:
        self._closed.wait(0.01)
        pulled, self._waiting = self._waiting, []
        return pulled

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        self.asked.set()
        assert self.answers.wait(TIMEOUT_S)
        self.acknowledged += ack_ids

    def extend(self, subscription: str, ack_ids: Sequence[str], deadline_s: int) -> None:
        pass

    give_back: Any = extend

    def stop_pulling(self) -> None:
        pass

    def close(self) -> None:
        self._closed.set()


def test_a_stop_while_a_batch_is_being_acknowledged_keeps_what_it_was_and_says_nothing(
    tmp_path: Path,
) -> None:
    service, store = SlowService(), LocalStore(tmp_path)
    options = reader_options({"subscription": SUB, "journal": str(tmp_path)})
    reader = Reader(options, store, service)  # type: ignore[arg-type]
    reader.start()
    segment = 0
    while segment == 0:
        segment = reader.latest(0)
    failures: list[BaseException] = []

    def stop() -> None:
        try:
            reader.stop()
        except Exception as error:
            failures.append(error)

    reader.commit(segment)
    assert service.asked.wait(TIMEOUT_S)
    stopping = threading.Thread(target=stop)
    stopping.start()
    stopping.join(0.3)  # it is at what the other thread is at
    service.answers.set()
    stopping.join(TIMEOUT_S)

    assert failures == []
    assert service.acknowledged == ["ack-1"]
    assert Journal(store).kept_keys() == [(segment, list(keys_of(MESSAGE, ())))]


def test_a_reader_that_has_read_all_has_acknowledged_before_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_KEEP_EVERY_S", 60.0)  # a machine that is busy
    monkeypatch.setattr(reader_module, "_DRAINED_S", 0.1)
    service, store = SlowService(), LocalStore(tmp_path)
    service.answers.set()
    options = reader_options({"subscription": SUB, "journal": str(tmp_path)})
    reader = Reader(options, store, service)  # type: ignore[arg-type]
    reader.begin_to_drain()
    reader.start()

    first = reader.latest(0)
    held = list(service.acknowledged)
    last = reader.latest(first)

    assert (first, held) == (1, [])
    assert (last, service.acknowledged) == (first, ["ack-1"])
    assert Journal(store).segments == []
    reader.stop()


def test_all_is_read_when_the_service_has_said_so_however_long_it_takes_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_DRAINED_S", 0.1)
    service, answers = SlowService(), threading.Event()
    service.answers.set()
    at_once = service.pull

    def pull(subscription: str, count: int, timeout_s: float) -> list[Message]:
        answers.wait(TIMEOUT_S)
        return at_once(subscription, count, timeout_s)

    service.pull = pull  # type: ignore[method-assign]
    options = reader_options({"subscription": SUB, "journal": str(tmp_path)})
    reader = Reader(options, LocalStore(tmp_path), service)  # type: ignore[arg-type]
    reader.begin_to_drain()
    reader.start()
    threading.Timer(0.5, answers.set).start()

    assert reader.latest(0) == 1
    reader.stop()


def test_a_batch_that_a_restarted_query_has_yet_to_run_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_KEEP_EVERY_S", 0.01)
    options = reader_options({"subscription": SUB, "journal": str(tmp_path)})
    killed = Reader(options, LocalStore(tmp_path), SlowService())  # type: ignore[arg-type]
    killed.start()
    while killed.latest(None) == 0:
        pass
    killed.stop()
    service = SlowService()
    service.answers.set()
    restarted = Reader(options, LocalStore(tmp_path), service)  # type: ignore[arg-type]
    restarted.start()

    # PySpark 4.0 and 4.1 ask for nothing at the end of the batch first, then for the batch.
    nothing = restarted.partitions(1, 1)
    early = service.asked.wait(0.3)
    parts = restarted.partitions(0, 1)
    next_segment = restarted.latest(None)  # asked for when that batch is committed
    late = service.asked.wait(TIMEOUT_S)
    restarted.stop()

    assert (nothing, early) == ([], False)
    rows = [row for part in parts for row in from_bytes(part).column("data").to_pylist()]
    assert rows == [b"four"]
    assert late
    assert service.acknowledged == ["ack-1"]
    assert next_segment in (1, 2)  # its service has the message, too: a repeat, or a new ack id


class WaitingService(SlowService):
    """Requests for messages wait until they are ended; what is given back is answered to them."""

    def __init__(self) -> None:
        super().__init__()
        self.answers.set()
        self.lost: list[str] = []
        self._pulls_end = threading.Event()

    def pull(self, subscription: str, count: int, timeout_s: float) -> list[Message]:
        if self._waiting:
            return super().pull(subscription, count, timeout_s)
        self._pulls_end.wait(TIMEOUT_S)
        return []

    def stop_pulling(self) -> None:
        self._pulls_end.set()

    def extend(self, subscription: str, ack_ids: Sequence[str], deadline_s: int) -> None:
        if deadline_s == 0:
            self.give_back(subscription, ack_ids)

    def give_back(self, subscription: str, ack_ids: Sequence[str]) -> None:
        self.given_back = list(ack_ids)
        if not self._pulls_end.is_set():
            self.lost += ack_ids


def started_with_a_message(folder: Path) -> tuple[Reader, WaitingService]:
    """A reader in whose inbox the service's message waits."""
    options = reader_options({"subscription": SUB, "journal": str(folder)})
    service = WaitingService()
    reader = Reader(options, LocalStore(folder), service)  # type: ignore[arg-type]
    reader.start()
    while reader._inbox.room(2000, 2**30) == 2000:
        pass
    return reader, service


def test_what_waits_is_given_back_by_a_stop_and_not_to_the_reader_that_stops(
    tmp_path: Path,
) -> None:
    reader, service = started_with_a_message(tmp_path)

    reader.stop()

    assert (service.given_back, service.lost) == (["ack-1"], [])
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_cannot_be_written_ends_the_batch_in_one_line_and_gives_back(
    tmp_path: Path,
) -> None:
    reader, service = started_with_a_message(tmp_path)
    (tmp_path / "segments").write_text("a file where the folder should be")

    with pytest.raises(StreamError, match="the journal cannot be written") as refused:
        reader.latest(0)
    reader.stop()

    assert "the next start reads its messages" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert service.given_back == ["ack-1"]


def test_where_spark_says_how_far_it_has_read_no_more_than_that_is_acknowledged(
    tmp_path: Path,
) -> None:
    options = reader_options({"subscription": SUB, "journal": str(tmp_path)})
    reader = Reader(options, LocalStore(tmp_path), WaitingService())  # type: ignore[arg-type]
    reader.start()
    while reader.latest(0) == 0:
        pass

    reader.latest(0)  # asked again, and nothing was read

    assert reader._inbox.to_acknowledge() == ([], {})
    reader.stop()
