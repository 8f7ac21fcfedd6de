"""Topics as the live page reads them: the last records and what comes, whatever the brokers do.

Partitions are assigned and no group is joined: nothing of the page is kept in Kafka. One thread
reads, another asks the brokers every second whether they are there, for a reader that waits looks
the same as one whose brokers are gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from pyspark_vision.clients.brokers import Brokers, BrokersError, explained

# What a page shows at once when it is opened on topics that are there already.
PAST_RECORDS = 100
# A reader that is so far behind, after its machine slept for instance, goes on with the newest.
_MOST_BEHIND = 2000

_ASK_EVERY_S = 1.0
_ANSWER_TIMEOUT_S = 2.0
_READ_TIMEOUT_S = 0.1
_RECORDS_AT_ONCE = 100
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT)
_SETTINGS = {
    "group_id": "pyspark-vision-live",  # the client wants a name; no group is made
    "enable_auto_commit": False,
    "enable_auto_offset_store": False,
    # Of a topic that was made anew, or whose records went before they were read.
    "auto_offset_reset": "latest",
    "reconnect_backoff_max_ms": 1000,
    # What waits in memory to be taken.
    "queued_max_messages_kbytes": 16 * 1024,
}


@dataclass(frozen=True)
class Record:
    """A record; ``at``: seconds since 1970, when it came, or its own time if ``is_past``."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Sequence[tuple[str, bytes | None]]
    at: float
    is_past: bool


@dataclass(frozen=True)
class FeedStatus:
    """``problem``: what is wrong with the brokers, ``None`` if they answer; ``since``: seconds
    since 1970; ``missing``: topics that are not there; ``skipped``: records left out to catch up.
    """

    problem: str | None
    since: float
    missing: tuple[str, ...] = ()
    skipped: int = 0


class Feed:
    """Reads topics into functions, in threads of its own, from :meth:`start` to :meth:`stop`."""

    def __init__(self, brokers: Brokers, readers: Mapping[str, Callable[[Record], None]]) -> None:
        self._brokers = brokers
        self._readers = dict(readers)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._status = FeedStatus("connecting", time.time())
        self._partitions: Mapping[str, int] | None = None  # what the brokers have, once known
        self._ends: dict[tuple[str, int], int] = {}  # where what was there before ends
        self._totals: dict[tuple[str, int], int] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to read; brokers may be away.

        Raises :class:`BrokersError` for properties that the client does not have.
        """
        config = self._brokers.config(**_SETTINGS)
        try:
            reader = Consumer({**config, "error_cb": self._failed})
            # Of its own, so that no answer waits behind the records of the other.
            asker = Consumer(config)
        except KafkaException as error:
            raise BrokersError(explained(self._brokers, error.args[0])) from None
        self._threads = [
            threading.Thread(target=self._read, args=(reader,), name="live-feed", daemon=True),
            # A request that brokers do not answer is not waited for when the page ends.
            threading.Thread(target=self._ask, args=(asker,), name="live-brokers", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads; the one that asks may still wait for an answer."""
        self._stopping.set()
        for thread, timeout_s in zip(self._threads, (2.0, 0.1), strict=False):
            thread.join(timeout_s)

    @property
    def status(self) -> FeedStatus:
        """How it is now."""
        with self._lock:
            return self._status

    def records_in(self, topic: str) -> int:
        """How many records the topic has, as far as it was read."""
        with self._lock:
            return sum(count for (name, _), count in self._totals.items() if name == topic)

    def _ask(self, client: Consumer) -> None:
        while not self._stopping.is_set():
            try:
                known = client.list_topics(timeout=_ANSWER_TIMEOUT_S).topics
            except KafkaException as error:
                self._note(self._said(error.args[0]))
            else:
                partitions = {
                    name: len(known[name].partitions) for name in self._readers & known.keys()
                }
                with self._lock:
                    self._partitions = partitions
                self._note(None, missing=tuple(sorted(self._readers.keys() - partitions)))
            self._stopping.wait(_ASK_EVERY_S)

    def _read(self, consumer: Consumer) -> None:
        assigned: dict[str, int] = {}
        looks_at = 0.0
        try:
            while not self._stopping.is_set():
                with self._lock:
                    wanted = self._partitions
                if wanted is not None and dict(wanted) != assigned:
                    try:
                        assigned = self._assign(consumer, wanted, assigned)
                    except KafkaException as error:
                        self._note(self._said(error.args[0]))
                        self._stopping.wait(_READ_TIMEOUT_S)
                messages = _read_now(consumer)
                for message in messages:
                    self._take(message)
                if len(messages) > _RECORDS_AT_ONCE or time.monotonic() >= looks_at:
                    looks_at = time.monotonic() + _READ_TIMEOUT_S
                    self._catch_up(consumer, assigned)
        finally:
            consumer.close()

    def _assign(
        self, consumer: Consumer, wanted: Mapping[str, int], assigned: Mapping[str, int]
    ) -> dict[str, int]:
        """Partitions that came are read from their last records on; those that went are left."""
        places = {(name, n) for name, count in wanted.items() for n in range(count)}
        held = {(name, n) for name, count in assigned.items() for n in range(count)}
        if gone := held - places:
            consumer.incremental_unassign([TopicPartition(*place) for place in gone])
            for place in gone:
                self._ends.pop(place, None)
        starts = []
        for name, number in sorted(places - held):
            start = TopicPartition(name, number)
            low, high = consumer.get_watermark_offsets(start, timeout=_ANSWER_TIMEOUT_S)
            self._ends[name, number] = high
            self._total(name, number, high - low)
            start.offset = max(low, high - -(-PAST_RECORDS // wanted[name]))
            starts.append(start)
        if starts:
            consumer.incremental_assign(starts)
        return dict(wanted)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._failed(error)
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        is_past = offset < self._ends.get((topic, partition), 0)
        kind, sent_ms = message.timestamp()
        has_time = is_past and kind != TIMESTAMP_NOT_AVAILABLE
        reader = self._readers.get(topic)
        if reader is None:
            return
        key, value = message.key(), message.value()
        reader(
            Record(
                topic=topic,
                partition=partition,
                offset=offset,
                key=key if isinstance(key, bytes) else None,
                value=value if isinstance(value, bytes) else None,
                headers=_headers(message),
                at=sent_ms / 1000 if has_time else time.time(),
                is_past=is_past,
            )
        )

    def _catch_up(self, consumer: Consumer, assigned: Mapping[str, int]) -> None:
        """Leave out what nobody waits for any more."""
        places = [TopicPartition(name, n) for name, count in assigned.items() for n in range(count)]
        for place in consumer.position(places):
            low, high = consumer.get_watermark_offsets(place, cached=True)
            if high < 0 or place.offset < 0:  # not known yet
                continue
            self._total(place.topic, place.partition, high - max(0, low))
            if high - place.offset > _MOST_BEHIND:
                start = high - PAST_RECORDS
                with self._lock:
                    self._status = FeedStatus(
                        self._status.problem,
                        self._status.since,
                        self._status.missing,
                        self._status.skipped + start - place.offset,
                    )
                consumer.seek(TopicPartition(place.topic, place.partition, start))

    def _total(self, topic: str, partition: int, count: int) -> None:
        with self._lock:
            self._totals[topic, partition] = count

    def _failed(self, error: KafkaError) -> None:
        """librdkafka's own words; what it mends itself is no problem of a person's."""
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return  # said by the other thread
        if error.code() != KafkaError._TRANSPORT:
            self._note(self._said(error))

    def _said(self, error: KafkaError) -> str:
        with self._lock:
            has_answered = self._partitions is not None
        if has_answered and error.code() in _AWAY:
            return f"{self._brokers.servers} does not answer; the page goes on when it does"
        return explained(self._brokers, error)

    def _note(self, problem: str | None, missing: tuple[str, ...] | None = None) -> None:
        with self._lock:
            old = self._status
            is_same = (problem is None) == (old.problem is None)
            self._status = FeedStatus(
                problem,
                old.since if is_same else time.time(),
                old.missing if missing is None else missing,
                old.skipped,
            )


def _read_now(consumer: Consumer) -> list[Message]:
    """What is there, as soon as there is something: many at once are waited for to the timeout."""
    first = consumer.poll(_READ_TIMEOUT_S)
    return [] if first is None else [first, *consumer.consume(_RECORDS_AT_ONCE, 0)]


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    given = message.headers() or []
    pairs = given.items() if isinstance(given, dict) else given
    return [
        (str(name), value if isinstance(value, bytes) else str(value).encode() if value else None)
        for name, value in pairs
    ]
