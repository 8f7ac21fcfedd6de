"""What waits between Pub/Sub and Spark: nothing is acknowledged early, no repeat is read twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyspark_vision.sources.pubsub.inbox import Inbox, Lease
from pyspark_vision.sources.pubsub.messages import Message, keys_of

SUB = "projects/p/subscriptions/s"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def message(number: int, ack_id: str = "", **changed: object) -> Message:
    given: dict[str, object] = {
        "subscription": SUB,
        "message_id": f"m{number}",
        "publish_time": NOON,
        "ack_id": ack_id or f"ack-{number}",
        "data": b"four",
    }
    return Message(**{**given, **changed})  # type: ignore[arg-type]


def planned(inbox: Inbox, segment: int, count: int = 10) -> list[str]:
    """The ids of the next batch, journalled as this segment."""
    taken = inbox.take(count, 10**6, 0)
    inbox.journalled(segment, [lease for _, lease in taken])
    return [message.message_id for message, _ in taken]


def test_messages_are_acknowledged_when_their_segment_is_committed_and_not_before() -> None:
    inbox = Inbox((), 60)
    assert inbox.add([message(1), message(2)], 0) == {}
    assert planned(inbox, 1) == ["m1", "m2"]

    before = inbox.to_acknowledge()
    inbox.commit(1)

    assert before == ([], {})
    assert inbox.to_acknowledge() == ([1], {SUB: ["ack-1", "ack-2"]})
    assert len(inbox.acknowledged([1], 5)) == 2
    assert inbox.to_acknowledge() == ([], {})


def test_a_repeat_is_not_read_again_and_its_newest_ack_id_counts() -> None:
    inbox = Inbox((), 60)
    inbox.add([message(1, "first")], 0)
    inbox.add([message(1, "second")], 0)  # while it waits
    assert planned(inbox, 1) == ["m1"]
    inbox.add([message(1, "third")], 0)  # while its batch runs

    assert inbox.take(10, 100, 0) == []
    inbox.commit(1)
    assert inbox.to_acknowledge() == ([1], {SUB: ["first", "second", "third"]})
    assert inbox.repeats == 2


def test_a_repeat_of_what_was_acknowledged_is_acknowledged_at_once_within_the_window() -> None:
    inbox = Inbox((), 60)
    inbox.add([message(1)], 0)
    planned(inbox, 1)
    inbox.commit(1)
    inbox.acknowledged([1], 100)

    assert inbox.add([message(1, "again")], 150) == {SUB: ["again"]}
    assert inbox.forget(160) == 0
    assert inbox.forget(161) == 1
    assert inbox.add([message(1, "late")], 162) == {}
    assert planned(inbox, 2) == ["m1"]


def test_an_id_that_comes_with_another_publish_time_is_another_message() -> None:
    inbox = Inbox((), 60)

    inbox.add([message(1), message(1, "b", publish_time=NOON + timedelta(microseconds=1))], 0)

    assert len(inbox.take(10, 100, 0)) == 2


def test_messages_that_agree_in_the_id_attributes_are_one() -> None:
    inbox = Inbox(("objectId", "objectGeneration"), 60)
    attributes = {"objectId": "a.jpg", "objectGeneration": "7"}

    inbox.add(
        [
            message(1, attributes=attributes),
            message(2, attributes=attributes),
            message(3, attributes={**attributes, "objectGeneration": "8"}),
            message(4, attributes={"objectId": "a.jpg"}),
            message(5, attributes={"objectId": "a.jpg"}),
        ],
        0,
    )

    assert planned(inbox, 1) == ["m1", "m3", "m4", "m5"]
    inbox.commit(1)
    assert "ack-2" in inbox.to_acknowledge()[1][SUB]


def test_a_batch_is_bounded_in_messages_and_bytes_and_has_one_message_at_least() -> None:
    inbox = Inbox((), 60)
    inbox.add([message(number) for number in range(5)], 0)

    assert planned(inbox, 1, 2) == ["m0", "m1"]
    assert [one.message_id for one, _ in inbox.take(9, 8, 0)] == ["m2", "m3"]
    assert [one.message_id for one, _ in inbox.take(9, 1, 0)] == ["m4"]
    assert inbox.take(9, 1, 0) == []


def test_there_is_room_until_as_many_messages_or_bytes_wait() -> None:
    inbox = Inbox((), 60)
    inbox.add([message(1), message(2)], 0)

    assert inbox.room(5, 100) == 3
    assert inbox.room(5, 8) == 0
    assert inbox.room(1, 100) == 0


def test_all_that_is_held_is_extended_and_each_once_in_the_time() -> None:
    inbox = Inbox((), 60)
    inbox.add([message(1)], 0)
    planned(inbox, 1)
    inbox.add([message(2)], 0)

    assert inbox.to_extend(10, 20) == {}
    assert inbox.to_extend(20, 20) == {SUB: ["ack-2", "ack-1"]}
    assert inbox.to_extend(21, 20) == {}


def test_what_waits_is_given_back_and_may_come_again() -> None:
    inbox = Inbox((), 60)
    inbox.add([message(1), message(2)], 0)
    planned(inbox, 1, 1)

    assert inbox.release() == {SUB: ["ack-2"]}
    inbox.add([message(2, "again")], 0)

    assert planned(inbox, 2) == ["m2"]


def test_what_an_earlier_process_journalled_is_known_and_acknowledged_by_its_own_ids() -> None:
    inbox = Inbox((), 60)
    keys = keys_of(message(1), ())
    inbox.restore_acknowledged(1, list(keys_of(message(0), ())), 0)
    inbox.restore(2, [Lease(SUB, keys, ["old"], 0)])

    assert inbox.add([message(0, "zero"), message(1, "new")], 0) == {SUB: ["zero"]}
    assert inbox.take(10, 100, 0) == []
    inbox.commit(2)
    assert inbox.to_acknowledge() == ([2], {SUB: ["old", "new"]})


def test_a_letter_that_is_put_back_is_no_repeat_of_the_message_that_failed_but_of_itself() -> None:
    inbox = Inbox(("name",), 60)
    failed = message(1, attributes={"name": "a.jpg"})
    again = {"name": "a.jpg", "pyspark_vision.replayed_letter": "ab12"}
    later = {**again, "pyspark_vision.replayed_letter": "cd34"}  # it has failed once more
    inbox.add([failed, message(2, attributes={"name": "a.jpg"})], 0)

    inbox.add([message(3, attributes=again), message(4, attributes=again)], 0)
    inbox.add([message(5, attributes=later)], 0)

    assert planned(inbox, 1) == ["m1", "m3", "m5"]
