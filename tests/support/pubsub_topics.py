"""Topics of the tests' Pub/Sub server, by Google's own clients."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from local_services import pubsub as local_pubsub

PROJECT = "tests"
# Of one request: the service takes 1000 messages.
_PUBLISHED_AT_ONCE = 500


@dataclass(frozen=True)
class Topic:
    """A topic with one subscription, both of one name that no other has."""

    endpoint: str
    name: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex}")

    @property
    def topic(self) -> str:
        return f"projects/{PROJECT}/topics/{self.name}"

    @property
    def subscription(self) -> str:
        return f"projects/{PROJECT}/subscriptions/{self.name}"

    def make(self, **settings: object) -> Topic:
        """On the server; again after it was killed."""
        local_pubsub.make_subscription(self.endpoint, PROJECT, self.name, self.name, **settings)
        return self

    def publish(
        self,
        values: Sequence[bytes],
        attributes: Mapping[str, str] | None = None,
        ordering_key: str = "",
    ) -> list[str]:
        """Messages in order; their ids."""
        return self.publish_each([(value, attributes or {}) for value in values], ordering_key)

    def publish_each(
        self, messages: Sequence[tuple[bytes, Mapping[str, str]]], ordering_key: str = ""
    ) -> list[str]:
        """Messages with attributes of their own, in order; their ids."""
        ids: list[str] = []
        with _publisher(self.endpoint) as client:
            for begin in range(0, len(messages), _PUBLISHED_AT_ONCE):
                part: list[Any] = [
                    {"data": value, "attributes": dict(attributes), "ordering_key": ordering_key}
                    for value, attributes in messages[begin : begin + _PUBLISHED_AT_ONCE]
                ]
                ids += client.publish(topic=self.topic, messages=part).message_ids
        return ids

    def left(self) -> int:
        """How many messages the server sends now, of nobody or out of time; they go back."""
        with _subscriber(self.endpoint) as client:
            ids: list[str] = []
            while received := client.pull(
                subscription=self.subscription, max_messages=1000, timeout=10
            ).received_messages:
                ids += [message.ack_id for message in received]
            if ids:
                client.modify_ack_deadline(
                    subscription=self.subscription, ack_ids=ids, ack_deadline_seconds=0
                )
            return len(ids)


@contextmanager
def _publisher(endpoint: str) -> Iterator[PublisherClient]:
    with grpc.insecure_channel(endpoint) as channel:
        yield PublisherClient(transport=PublisherGrpcTransport(channel=channel))


@contextmanager
def _subscriber(endpoint: str) -> Iterator[SubscriberClient]:
    with grpc.insecure_channel(endpoint) as channel:
        yield SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
