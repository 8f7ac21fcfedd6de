"""Messages on their way to a topic: few at a time, each counted once by its delivery report."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pyspark_vision.clients import brokers as kafka
from pyspark_vision.clients.brokers import Brokers, BrokersError
from pyspark_vision.clients.stopping import Stop
from pyspark_vision.clients.tally import Tally

# Of one camera, sent and not confirmed: a second at 20 frames/s. More would only be stale.
MOST_UNDER_WAY = 20

# Above any frame; the topic's own limit is what decides, and its refusal says so.
_MESSAGE_MAX_BYTES = 64 * 1024 * 1024
# A frame that the brokers did not take for so long is of no use to a live stream. One that must not
# be lost waits as long as librdkafka's own default.
_GIVE_UP_S, _GIVE_UP_WAITING_S = 30, 300
# A broker that makes topics by itself needs a moment for it.
_TOPIC_IS_MADE_S = 2.0
# Nothing confirmed for so long is worth a line.
_SILENT_S = 3.0
# So long a signal waits while brokers are asked why; those that are up answer at once.
_LOOK_S = 1.0
# A flush that takes longer than a moment.
_SAID_AFTER_S = 1.0
# Reports of what was given up come at once; a moment all the same.
_LAST_REPORTS_S = 5.0

_NOT_LET_IN = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
# What is not known to have arrived, though a broker may have it.
_UNCONFIRMED = (KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_INFLIGHT)
_REASONS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError._PURGE_QUEUE: "unsent",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "unknown_topic",
    KafkaError._UNKNOWN_TOPIC: "unknown_topic",
    **dict.fromkeys(_UNCONFIRMED, "unconfirmed"),
}


@dataclass(frozen=True)
class Record:
    """What becomes a record of Kafka; ``taken_at`` its time."""

    key: bytes | None
    value: bytes
    taken_at: datetime


class Outbox:
    """A producer for one topic, by cameras.

    Each record that is put in has been captured by its camera's tally, which then counts it once:
    as sent when the brokers have confirmed it, else as dropped or failed. A camera that has
    :data:`MOST_UNDER_WAY` records under way waits (``waits``), or its newest is dropped. ``say``
    gets a line per kind of trouble, and one when it is over.

    Raises :class:`BrokersError` if no broker answers or the topic is not there.
    """

    def __init__(
        self, brokers: Brokers, topic: str, say: Callable[[str], None], *, waits: bool
    ) -> None:
        self._brokers, self._topic, self._say, self._waits = brokers, topic, say, waits
        self._room = threading.Condition()
        self._give_up_s = _GIVE_UP_WAITING_S if waits else _GIVE_UP_S
        self._is_stopping = self._is_closed = False
        self._told: set[str] = set()
        self._last_report = time.monotonic()
        self._silent_since: float | None = None
        self._last_error: KafkaError | None = None
        kafka.refuse_unreachable(brokers)
        self._producer = self._connected()
        self._refuse_missing_topic()

    def put(self, record: Record, tally: Tally) -> None:
        """Send a record, from any thread; returns at once, or with ``waits`` when there is room."""
        with self._room:
            while not self._is_closed:
                # The tally counts this record, too.
                if tally.under_way <= MOST_UNDER_WAY and self._produced(record, tally):
                    return
                if self._is_stopping:
                    break
                if not self._waits:
                    tally.drop("queue_full")
                    return
                self._room.wait(1.0)
            tally.drop("stopped")

    def poll(self, timeout_s: float) -> None:
        """Take in delivery reports for so long; from one thread, again and again."""
        self._producer.poll(timeout_s)
        with self._room:
            waiting = len(self._producer)
            if not waiting:
                self._last_report = time.monotonic()
            silent_s = time.monotonic() - self._last_report
            if not waiting or silent_s <= _SILENT_S or self._silent_since is not None:
                return
            self._silent_since = self._last_report
        # Cameras go on meanwhile: this may take a moment.
        is_gone = self._is_topic_gone()
        way = "cameras wait" if self._waits else "newer ones are dropped"
        why = f" ({self._last_error.str()})" if self._last_error else ""
        said = f"{self._brokers.servers} has confirmed nothing for {silent_s:.0f} s{why}"
        if is_gone:
            said = f"topic {self._topic} does not exist on {self._brokers.servers} any more"
        until = "it is there again" if is_gone else "it answers"
        self._say(f"{said}: {waiting} frames are under way, {way} until {until}")

    def stop_waiting(self) -> None:
        """Let nobody wait for room any more."""
        with self._room:
            self._is_stopping = True
            self._room.notify_all()

    def close(self, timeout_s: float, stop: Stop) -> None:
        """Wait for what is under way, at most so long or until a second signal; what is left then
        has failed."""
        with self._room:
            self._is_stopping = self._is_closed = True
            self._room.notify_all()
        began, told = time.monotonic(), False
        while len(self._producer) and not stop.is_hurried:
            waited_s = time.monotonic() - began
            if waited_s > timeout_s:
                break
            if waited_s > _SAID_AFTER_S and not told:
                told = True
                self._say(
                    f"waiting up to {timeout_s:g} s for {len(self._producer)} frames that are "
                    "under way; a second Ctrl-C ends at once"
                )
            self.poll(0.1)
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(_LAST_REPORTS_S)

    def _connected(self) -> Producer:
        settings: dict[str, Any] = {
            "message.max.bytes": _MESSAGE_MAX_BYTES,
            "message.timeout.ms": self._give_up_s * 1000,
            # A frame that is sent again after a lost answer is not in the topic twice.
            "enable.idempotence": True,
            # A topic's limit holds for a batch: frames that fit one by one go one by one.
            "batch.num.messages": 1,
            "linger.ms": 0,
        }
        # What the user's file says comes first.
        config = settings | self._brokers.config() | {"error_cb": self._errored}
        try:
            return Producer(config)
        except KafkaException as error:  # a property that librdkafka does not know, or not so
            raise BrokersError(f"--kafka-config: {error.args[0].str()}") from None

    def _refuse_missing_topic(self) -> None:
        deadline = time.monotonic() + _TOPIC_IS_MADE_S
        while True:
            try:
                known = self._producer.list_topics(self._topic, timeout=kafka.TIMEOUT_S)
            except KafkaException as error:
                self._producer.poll(0)
                said = error.args[0]
                if self._last_error is not None and self._last_error.code() in _NOT_LET_IN:
                    said = self._last_error
                raise BrokersError(kafka.explained(self._brokers, said)) from None
            problem = known.topics[self._topic].error
            if problem is None:
                return
            passes = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE)
            if problem.code() not in passes or time.monotonic() > deadline:
                said = kafka.explained(self._brokers, problem)
                raise BrokersError(f"topic {self._topic} cannot be written. {said}")
            time.sleep(0.1)

    def _is_topic_gone(self) -> bool:
        """Whether brokers say that there is no such topic; librdkafka waits for one in silence."""
        try:
            known = self._producer.list_topics(self._topic, timeout=_LOOK_S)
        except KafkaException:
            return False
        problem = known.topics[self._topic].error
        return problem is not None and problem.code() == KafkaError.UNKNOWN_TOPIC_OR_PART

    def _produced(self, record: Record, tally: Tally) -> bool:
        """Whether something has become of the record; ``False``: the producer's queue is full."""
        try:
            self._producer.produce(
                self._topic,
                record.value,
                record.key,
                on_delivery=functools.partial(self._reported, tally),
                timestamp=int(record.taken_at.timestamp() * 1000),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._failed(tally, error.args[0], len(record.value))
        return True

    def _reported(self, tally: Tally, error: KafkaError | None, message: Message) -> None:
        with self._room:
            self._last_report = time.monotonic()
            if error is None:
                tally.send()
                if self._silent_since is not None:
                    silent_s = time.monotonic() - self._silent_since
                    self._silent_since = self._last_error = None
                    self._say(f"{self._brokers.servers} confirms again, after {silent_s:.0f} s")
            else:
                self._failed(tally, error, len(message.value() or b""))
            self._room.notify_all()

    def _failed(self, tally: Tally, error: KafkaError, value_bytes: int) -> None:
        reason = _REASONS.get(error.code(), error.name().strip("_").lower())
        tally.fail(reason)
        if reason not in self._told and not self._is_stopping:
            self._told.add(reason)
            said = kafka.explained(self._brokers, error)
            if reason == "too_large":
                said = f"a frame of {value_bytes:,} bytes is too large for it. {said}"
            elif reason == "unconfirmed":
                said = (
                    f"{self._brokers.servers} did not confirm frames in {self._give_up_s} s; they "
                    "may be in it or not. Start the brokers again"
                )
            self._say(f"topic {self._topic}: {said}. Others go on; {reason} is counted")

    def _errored(self, error: KafkaError) -> None:
        # That all brokers are down follows what each of them is down for.
        if self._last_error is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last_error = error
