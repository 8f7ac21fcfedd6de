"""Events to a topic, each once: Kafka's transactions hold the messages and how far they reach.

A transaction has the messages and, as the offset of a consumer group of the journal's own, the
number of the next event. So both are in Kafka, or neither is: who was killed between the send and
any note of it asks the group where to go on. ``transactional.id`` is the journal's name: a new
session ends what an old one left open, and shuts it out. Readers see each event once if they read
what is committed (``isolation.level=read_committed``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pyspark_vision.clients.brokers import Brokers, BrokersError, explained, refuse_unreachable
from pyspark_vision.clients.events_api.records import Record

EVENT_ID_HEADER = "event_id"

# For one call of the brokers; an event is not held up longer by one that hangs.
_CALL_S = 5.0
# An open transaction of a killed process holds back readers of what is committed, so long.
_TRANSACTION_S = 20
# A transaction waits for the markers of the one before it by trying again; with librdkafka's 100 ms
# each took 99 ms, with 5 it takes 9 (two cores, a local broker).
_RETRY_MS = 5
# librdkafka's own bounds of a message; a topic's is often lower or higher.
_DEFAULT_MESSAGE_BYTES = 1_000_000
# Of a record in its batch: Kafka's overhead, the event id, with room.
_OVERHEAD_BYTES = 512


@dataclass(frozen=True)
class Target:
    """Where events go: ``journal`` names transactions and group."""

    brokers: Brokers = field(repr=False)
    topic: str
    journal: str

    @property
    def group(self) -> str:
        return f"pyspark-vision-events-{self.journal}"


def event_id(journal: str, sequence: int) -> str:
    """What an answer and the message's header call an event."""
    return f"{journal}-{sequence}"


class Session:
    """A connection that sends in order until its first error; after that, make another.

    Raises :class:`BrokersError` from everything.
    """

    def __init__(self, target: Target) -> None:
        refuse_unreachable(target.brokers)
        self._target = target
        self._failure: KafkaError | None = None
        self.max_message_bytes = _max_message_bytes(target)
        limit = max(self.max_message_bytes, 1000)  # the least that librdkafka takes
        settings = target.brokers.config(
            transactional_id=target.group,
            transaction_timeout_ms=_TRANSACTION_S * 1000,
            message_timeout_ms=int(_CALL_S * 1000),
            socket_timeout_ms=int(_CALL_S * 1000),
            reconnect_backoff_max_ms=1000,
            linger_ms=1,
            retry_backoff_ms=_RETRY_MS,
            message_max_bytes=limit,
            batch_size=min(limit, _DEFAULT_MESSAGE_BYTES),
        )
        own_group = target.brokers.config(group_id=target.group, enable_auto_commit=False)
        self._producer = Producer({**settings, "error_cb": self._note})
        self._consumer = Consumer({**own_group, "error_cb": self._note})
        try:
            self._producer.init_transactions(_CALL_S)
            # Not before that: what an old session left open is ended now, one way or the other.
            place = TopicPartition(target.topic, 0)
            [committed] = self._consumer.committed([place], timeout=_CALL_S)
            if committed.error is not None:
                raise KafkaException(committed.error)
        except KafkaException as error:
            raise self._explained(error) from None
        self.next_sequence: int | None = committed.offset if committed.offset >= 0 else None

    def send(self, records: Sequence[Record]) -> int:
        """All of them, or none; the number of the event after them."""
        following = records[-1].sequence + 1
        target = self._target
        refused: list[KafkaError] = []

        def note_refusal(error: KafkaError | None, _: object) -> None:
            if error is not None:
                refused.append(error)

        try:
            self._producer.begin_transaction()
            for record in records:
                self._producer.produce(
                    target.topic,
                    record.message,
                    timestamp=record.accepted_ms,
                    headers={EVENT_ID_HEADER: event_id(target.journal, record.sequence)},
                    on_delivery=note_refusal,
                )
            self._producer.send_offsets_to_transaction(
                [TopicPartition(target.topic, 0, following)],
                self._consumer.consumer_group_metadata(),
                _CALL_S,
            )
            self._producer.commit_transaction(_CALL_S)
        except KafkaException as error:
            raise self._explained(refused[0] if refused else error) from None
        return following

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What is on its way must not be tried on and on; the next session ends the transaction.
        self._producer.purge()
        self._producer.poll(0)
        self._consumer.close()

    def _note(self, error: KafkaError) -> None:
        self._failure = error

    def _explained(self, error: KafkaException | KafkaError) -> BrokersError:
        failure = error.args[0] if isinstance(error, KafkaException) else error
        # That a call took too long says less than what happened meanwhile.
        if self._failure is not None and failure.code() in (
            KafkaError._TIMED_OUT,
            KafkaError._PURGE_QUEUE,
        ):
            failure = self._failure
        return BrokersError(explained(self._target.brokers, failure))


def check_topic(target: Target) -> None:
    """Raise :class:`BrokersError` for what waiting does not mend: no such topic, a wrong password.

    Brokers that do not answer yet are no reason.
    """
    try:
        refuse_unreachable(target.brokers)
    except BrokersError:
        return
    failures: list[KafkaError] = []
    try:
        settings: dict[str, Any] = {**target.brokers.config(), "error_cb": failures.append}
        admin = AdminClient(settings)
    except KafkaException as error:
        raise BrokersError(f"--kafka-config: {error.args[0].str()}") from None
    try:
        known = admin.list_topics(timeout=_CALL_S).topics
    except KafkaException as error:
        for failure in (error.args[0], *failures):
            if failure.code() in (
                KafkaError._AUTHENTICATION,
                KafkaError.SASL_AUTHENTICATION_FAILED,
                KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            ):
                raise BrokersError(explained(target.brokers, failure)) from None
        return
    if target.topic not in known:
        raise BrokersError(
            f"topic {target.topic} does not exist on {target.brokers.servers}. Create it, or "
            "correct --kafka-topic"
        )


def _max_message_bytes(target: Target) -> int:
    """The largest event that the topic takes; who may not ask gets Kafka's default."""
    resource = ConfigResource(ResourceType.TOPIC, target.topic)
    try:
        admin = AdminClient(target.brokers.config())
        [described] = admin.describe_configs([resource], request_timeout=_CALL_S).values()
        limit = int(described.result(_CALL_S)["max.message.bytes"].value)
    except (KafkaException, TimeoutError):
        return _DEFAULT_MESSAGE_BYTES
    return max(limit - _OVERHEAD_BYTES, 1)
