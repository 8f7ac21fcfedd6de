"""The service, by Google's client: pull, acknowledge, extend; what it refuses is one line.

By unary requests. The client's streaming pull holds back each further message of an ordering key
until the one before it was acknowledged: a batch would have one message of each key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark_vision.errors import MissingDependencyError, StreamError
from pyspark_vision.sources.pubsub.messages import Message

EMULATOR = "PUBSUB_EMULATOR_HOST"
# Of one request: Pub/Sub takes 512 KiB, and an ack id has some 200 bytes.
_IDS_PER_REQUEST = 1000
# Of one answer, by Pub/Sub's own limit.
MOST_PULLED = 1000
# How long a request for messages waits for some; the service may answer earlier without any.
PULL_TIMEOUT_S = 20.0
_REQUEST_TIMEOUT_S = 10.0
# What the service has for the topic of a subscription whose topic is gone.
_DELETED = "_deleted-topic_"


class RefusedError(StreamError):
    """The subscription is not there, or not for this account."""


class AwayError(StreamError):
    """No answer; it may come back."""


class Service:
    """One connection; for several threads."""

    def __init__(self, endpoint: str | None = None) -> None:
        emulator = emulator_place(endpoint)
        self.place = emulator or "Google Cloud"
        self._client = client(emulator)
        # A connection of its own, which ends before the others.
        self._pulling = client(emulator)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Requests under way end with an error."""
        self.stop_pulling()
        self._client.transport.close()

    def stop_pulling(self) -> None:
        """Requests for messages end with an error: what is given back is not answered to them."""
        self._pulling.transport.close()

    def is_ordered(self, subscription: str) -> bool:
        """Whether the subscription keeps the order of keys; raises if it is not there.

        An account that may read messages and not look at the subscription is told ``False``.
        """
        from google.api_core.exceptions import Forbidden

        try:
            with self._in_words(subscription, _REQUEST_TIMEOUT_S, passes=Forbidden):
                found = self._client.get_subscription(
                    subscription=subscription, retry=_retry(), timeout=_REQUEST_TIMEOUT_S
                )
        except Forbidden:
            # Reading is another right than looking: what comes is given back at once.
            waiting = self.pull(subscription, 1, timeout_s=1.0)
            self.give_back(subscription, [message.ack_id for message in waiting])
            return False
        return bool(found.enable_message_ordering)

    def topic_of(self, subscription: str) -> str:
        """``projects/P/topics/T``, to which the subscription is.

        Raises if it is not there, or not for this account, or its topic was deleted.
        """
        asked = Asked(f"the subscription {subscription}", "look at", "roles/pubsub.viewer")
        with in_words(asked, self.place, _REQUEST_TIMEOUT_S):
            there = self._client.get_subscription(
                subscription=subscription, retry=_retry(), timeout=_REQUEST_TIMEOUT_S
            )
        if there.topic == _DELETED:
            raise RefusedError(f"Pub/Sub: the topic of {asked.thing} was deleted")
        return str(there.topic)

    def pull(
        self, subscription: str, count: int, timeout_s: float = PULL_TIMEOUT_S
    ) -> list[Message]:
        """Up to ``count`` messages; none if none came in time."""
        from google.api_core.exceptions import DeadlineExceeded

        try:
            with self._in_words(subscription, timeout_s, passes=DeadlineExceeded):
                answer = self._pulling.pull(
                    subscription=subscription,
                    max_messages=min(count, MOST_PULLED),
                    retry=None,
                    timeout=timeout_s,
                )
        except DeadlineExceeded:
            return []
        return [_message(subscription, received) for received in answer.received_messages]

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """These need not come again. Ids that are too old are passed over."""
        for piece in _pieces(ack_ids):
            with self._in_words(subscription, _REQUEST_TIMEOUT_S):
                _unless_too_old(
                    self._client.acknowledge,
                    subscription=subscription,
                    ack_ids=piece,
                    retry=_retry(),
                    timeout=_REQUEST_TIMEOUT_S,
                )

    def extend(self, subscription: str, ack_ids: Sequence[str], deadline_s: int) -> None:
        """Keep these reserved for so long from now."""
        for piece in _pieces(ack_ids):
            with self._in_words(subscription, _REQUEST_TIMEOUT_S):
                _unless_too_old(
                    self._client.modify_ack_deadline,
                    subscription=subscription,
                    ack_ids=piece,
                    ack_deadline_seconds=deadline_s,
                    retry=_retry(),
                    timeout=_REQUEST_TIMEOUT_S,
                )

    def give_back(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """Let these be sent to others, at once."""
        self.extend(subscription, ack_ids, 0)

    def _in_words(
        self, subscription: str, timeout_s: float, passes: type[Exception] | tuple[()] = ()
    ) -> AbstractContextManager[None]:
        asked = Asked(f"the subscription {subscription}", "read", "roles/pubsub.subscriber")
        return in_words(asked, self.place, timeout_s, passes)


@dataclass(frozen=True)
class Asked:
    """What a request is about: ``thing``, what the account does with it, the role that may."""

    thing: str
    verb: str
    role: str


@contextmanager
def in_words(
    asked: Asked, place: str, timeout_s: float, passes: type[Exception] | tuple[()] = ()
) -> Iterator[None]:
    """What the service refuses, or does not answer, as :class:`StreamError` of one line.

    What is of the kind ``passes`` is raised as it is.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except passes:
        raise
    except exceptions.NotFound:
        raise RefusedError(
            f"Pub/Sub: {asked.thing} is not there ({place}): make it, or correct its name and "
            "project"
        ) from None
    except (exceptions.Forbidden, exceptions.Unauthenticated) as error:
        raise RefusedError(
            f"Pub/Sub: this account may not {asked.verb} {asked.thing} ({first_line(error)}): give "
            f"it the role {asked.role}"
        ) from None
    except GoogleAuthError as error:
        raise RefusedError(
            f"Pub/Sub: no credentials for {asked.thing} ({first_line(error)}): give this "
            "machine a service account, or set GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    except (exceptions.GoogleAPICallError, exceptions.RetryError, ValueError) as error:
        raise AwayError(
            f"Pub/Sub: {place} does not answer for {asked.thing} within {timeout_s:g} s "
            f"({first_line(error)})"
        ) from None


def emulator_place(endpoint: str | None = None) -> str | None:
    """``HOST:PORT`` of an emulator; ``None``: the service itself.

    >>> emulator_place("http://127.0.0.1:8085/")
    '127.0.0.1:8085'
    """
    # gRPC takes HOST:PORT alone, and people write an address as a browser has it.
    named = (endpoint or os.environ.get(EMULATOR) or "").removeprefix("http://").rstrip("/")
    return named or None


def client(emulator: str | None, *, publishes: bool = False) -> Any:
    """Google's client, of what reads subscriptions or of what publishes to topics.

    ``emulator``: ``host:port``; ``None``: the service itself, by application-default credentials.
    """
    try:
        import grpc
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.pubsub_v1 import PublisherClient, SubscriberClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
    except ImportError:
        raise MissingDependencyError(
            "Pub/Sub: google-cloud-pubsub is not installed: pip install 'pyspark_vision[gcp]', on "
            "the driver"
        ) from None
    kind: Any = PublisherClient if publishes else SubscriberClient
    transport: Any = PublisherGrpcTransport if publishes else SubscriberGrpcTransport
    if emulator is None:
        try:
            return kind()
        except (GoogleAuthError, GoogleAPIError) as error:
            raise RefusedError(
                f"Pub/Sub: no credentials ({first_line(error)}): give this machine a service "
                "account, or set GOOGLE_APPLICATION_CREDENTIALS; an emulator is named by endpoint "
                f"or {EMULATOR}"
            ) from None
    # Messages have up to 10 MB, answers more than gRPC's 4.
    unbounded = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = grpc.insecure_channel(emulator, options=unbounded)
    return kind(transport=transport(channel=channel))


def _message(subscription: str, received: Any) -> Message:
    # As protobuf's own: proto-plus makes each field anew whenever it is asked.
    plain = type(received).pb(received)
    sent = plain.message
    return Message(
        subscription=subscription,
        message_id=sent.message_id,
        publish_time=_utc(sent.publish_time),
        ack_id=plain.ack_id,
        data=sent.data,
        attributes=dict(sent.attributes),
        ordering_key=sent.ordering_key,
    )


def _utc(stamp: Any) -> Any:
    from datetime import UTC

    return stamp.ToDatetime(tzinfo=UTC)


def _unless_too_old(request: Any, **arguments: Any) -> None:
    """With exactly-once delivery the service refuses ids whose time is over; they come again."""
    from google.api_core.exceptions import FailedPrecondition, InvalidArgument

    try:
        request(**arguments)
    except (InvalidArgument, FailedPrecondition):
        pass


def _retry() -> Any:
    """Of a small request: the client's own patience is a minute, and an end would wait for it."""
    from google.api_core import exceptions, retry

    passing = (
        exceptions.ServiceUnavailable,
        exceptions.InternalServerError,
        exceptions.ResourceExhausted,
        exceptions.Aborted,
    )
    return retry.Retry(retry.if_exception_type(*passing), timeout=_REQUEST_TIMEOUT_S)


def _pieces(ack_ids: Sequence[str]) -> Iterator[list[str]]:
    for begin in range(0, len(ack_ids), _IDS_PER_REQUEST):
        yield list(ack_ids[begin : begin + _IDS_PER_REQUEST])


def first_line(error: Exception) -> str:
    """What a client's exception says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
