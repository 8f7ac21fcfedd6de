"""The topic that is read: what it is, and its messages by assigned partitions and offsets.

No consumer group divides the partitions: whoever reads keeps their offsets. Offsets are committed
to Kafka only for its own tools to show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, TopicDescription

from pyspark_vision.clients.brokers import (
    TIMEOUT_S,
    Brokers,
    BrokersError,
    check_topics,
    explained,
)
from pyspark_vision.errors import StreamError

# Of a result with its picture, some hundred megabytes at worst.
_MESSAGES_PER_READ = 100
# How long a signal, or a flush that is due, waits at most.
_READ_TIMEOUT_S = 0.2
# How often it is looked whether the topic has more partitions, and whether brokers answer again.
_LOOK_INTERVAL_S, _LOOK_AGAIN_INTERVAL_S = 10.0, 1.0
# A look waits for an answer; brokers that are up give it at once.
_LOOK_TIMEOUT_S = 2.0
# A broker that starts may not know its topics in the first moments.
_UNKNOWN_TOPIC_S = 15.0

_FINAL = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._FATAL,
)


@dataclass(frozen=True)
class Topic:
    """A topic, the ids that brokers gave it and their cluster, and the numbers of its partitions.

    The topic's id is the same for all topics where brokers are older than 2.8.
    """

    name: str
    topic_id: str
    cluster_id: str
    partitions: tuple[int, ...]


def find_topic(brokers: Brokers, name: str) -> Topic:
    """Ask the brokers. Raises :class:`BrokersError` if none answers, or has no such topic."""
    check_topics(brokers, [name])
    admin = AdminClient(brokers.config())
    try:
        cluster_id = admin.list_topics(name, timeout=TIMEOUT_S).cluster_id or ""
        described = _described(admin, name, TIMEOUT_S)
    except KafkaException as error:
        raise BrokersError(explained(brokers, error.args[0])) from None
    partitions = tuple(sorted(partition.id for partition in described.partitions))
    return Topic(name, str(described.topic_id), cluster_id, partitions)


class Reader:
    """Messages of a topic from given offsets on, also while brokers are away for a time."""

    def __init__(
        self,
        brokers: Brokers,
        topic: Topic,
        group: str,
        say: Callable[[str], None],
        *,
        may_skip: bool,
    ) -> None:
        """``say`` gets what a person should know, a line at a time. ``may_skip``: go on with the
        first message that is left where the next one was removed before it was read."""
        self._brokers, self._topic, self._say = brokers, topic, say
        self._partitions = set(topic.partitions)
        self._admin = AdminClient(brokers.config())
        self._away_since: float | None = None
        self._unknown_since: float | None = None
        self._next_look = time.monotonic() + _LOOK_INTERVAL_S
        self._trouble: KafkaError | None = None
        self._commits_are_said = False
        self._consumer = Consumer(
            {
                **brokers.config(
                    group_id=group,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest" if may_skip else "error",
                ),
                "error_cb": self._on_error,
                "on_commit": self._on_commit,
            }
        )

    def ends(self) -> dict[int, tuple[int, int]]:
        """Of each partition the first offset that is there, and the next that will be."""
        try:
            return {
                partition: self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic.name, partition), timeout=TIMEOUT_S
                )
                for partition in self._topic.partitions
            }
        except KafkaException as error:
            raise BrokersError(explained(self._brokers, error.args[0])) from None

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read each partition from its offset on."""
        self._partitions = set(offsets)
        self._consumer.assign(
            [TopicPartition(self._topic.name, *position) for position in offsets.items()]
        )

    def read(self) -> list[Message]:
        """Some messages, or none after a moment.

        Raises :class:`BrokersError` and :class:`StreamError` for what does not mend by itself.
        """
        messages = self._consumer.consume(_MESSAGES_PER_READ, _READ_TIMEOUT_S)
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._refuse_anew()
                raise StreamError(_lost(self._topic.name, message.partition(), message.offset()))
            else:
                self._trouble = error
        if good:
            self._unknown_since = None
            self._answered()
        self._meet_trouble()
        if time.monotonic() >= self._next_look:
            self._look()
        return good

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Show these offsets to Kafka's own tools, when it can be."""
        positions = [TopicPartition(self._topic.name, *position) for position in offsets.items()]
        try:
            self._consumer.commit(offsets=positions, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], [])

    def close(self) -> None:
        """Let go of the brokers; commits under way are sent first."""
        self._consumer.close()

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error

    def _on_commit(self, error: KafkaError | None, _: Any) -> None:
        # Brokers that are away, or busy for a moment, are no news; codes below 0 are the client's.
        if error is None or error.retriable() or error.code() < 0 or self._commits_are_said:
            return
        self._commits_are_said = True
        self._say(
            f"Kafka does not keep the offsets of the group for its tools ({error.str()}); the "
            "events file has its own"
        )

    def _meet_trouble(self) -> None:
        error, self._trouble = self._trouble, None
        if error is None:
            return
        if error.code() in _FINAL or error.fatal():
            raise BrokersError(explained(self._brokers, error))
        # One of several brokers may be away, a topic may not be known yet: what counts is whether
        # the next look fails.
        self._next_look = min(self._next_look, time.monotonic() + _LOOK_AGAIN_INTERVAL_S)

    def _look(self) -> None:
        """Read partitions that were added; see that brokers are back, or that the topic is gone."""
        now = time.monotonic()
        self._next_look = now + _LOOK_AGAIN_INTERVAL_S
        try:
            there = _described(self._admin, self._topic.name, _LOOK_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._missed()
                return
            self._answered()
            self._unknown_since = self._unknown_since or now
            if now - self._unknown_since > _UNKNOWN_TOPIC_S:
                raise StreamError(f"topic {self._topic.name} is not there any more") from None
            return
        self._answered()
        self._refuse_other(there)
        self._unknown_since = None
        self._next_look = now + _LOOK_INTERVAL_S
        added = sorted({partition.id for partition in there.partitions} - self._partitions)
        if added:
            self._partitions.update(added)
            # They were made while others were read: all that is in them is new.
            self._consumer.incremental_assign(
                [TopicPartition(self._topic.name, partition, 0) for partition in added]
            )

    def _refuse_anew(self) -> None:
        """An offset that is gone may be one of a topic that is gone."""
        try:
            there = _described(self._admin, self._topic.name, _LOOK_TIMEOUT_S)
        except KafkaException:  # then what is known is said
            return
        self._refuse_other(there)

    def _refuse_other(self, there: TopicDescription) -> None:
        if str(there.topic_id) != self._topic.topic_id:
            raise StreamError(
                f"topic {self._topic.name} was made anew while it was read: its offsets began "
                "again. What the old one had after the last result here is gone; read the new one "
                "with another --events file"
            )

    def _missed(self) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._say(f"no broker of {self._brokers.servers} answers any more; waiting for them")

    def _answered(self) -> None:
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            self._away_since = None
            self._say(f"brokers answer again, after {away_s:.0f} s")


def _described(admin: AdminClient, name: str, timeout_s: float) -> TopicDescription:
    """What brokers say of a topic. Raises KafkaException."""
    asked = admin.describe_topics(TopicCollection([name]), request_timeout=timeout_s)
    described: TopicDescription = asked[name].result()
    return described


def without_lost(
    topic: str,
    offsets: Mapping[int, int],
    ends: Mapping[int, tuple[int, int]],
    *,
    may_skip: bool,
) -> tuple[dict[int, int], int]:
    """Where reading can go on, of each partition that there is, and how many offsets are lost.

    Partitions that came since ``offsets`` were kept are read from their beginning. Raises
    :class:`StreamError` if something is lost and may not be skipped.
    """
    possible, lost = {}, 0
    for partition, (first, end) in ends.items():
        offset = offsets.get(partition, first)
        if offset > end and not may_skip:
            raise StreamError(
                f"{topic}-{partition} ends at offset {end}, and was read up to {offset} before: "
                "its last records are gone. Go on with those that come with --skip-lost"
            )
        if offset < first and not may_skip:
            raise StreamError(_lost(topic, partition, offset))
        possible[partition] = min(max(offset, first), end)
        lost += max(0, first - offset)
    return possible, lost


def _lost(topic: str, partition: int | None, offset: int | None) -> str:
    return (
        f"{topic}-{partition}: what stood at offset {offset} is not there any more; retention "
        "removed it before it was read. Go on without it with --skip-lost"
    )
