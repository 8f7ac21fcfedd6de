"""Messages that are published again, to the topics of the subscriptions that they came from.

From the driver, as they are read. Each subscription to a topic gets what is published to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub.service import (
    Asked,
    RefusedError,
    client,
    emulator_place,
    first_line,
    in_words,
)

# Of one request: Pub/Sub takes 1000 messages, and 10 MB with all that is around them.
_MESSAGES_PER_REQUEST = 500
_BYTES_PER_REQUEST = 5_000_000
_TIMEOUT_S = 30.0
# Pub/Sub's own, of an attribute's value.
MAX_VALUE_BYTES = 1024


@dataclass(frozen=True)
class Outgoing:
    """A message to be published. ``topic``: ``projects/P/topics/T``."""

    topic: str
    data: bytes
    attributes: dict[str, str]
    ordering_key: str = ""

    @property
    def size(self) -> int:
        """Bytes, as far as a request's bound is concerned."""
        texts = (*self.attributes, *self.attributes.values(), self.ordering_key)
        return len(self.data) + sum(len(text.encode()) for text in texts)


class Publisher:
    """One connection to the service, or to the emulator of ``PUBSUB_EMULATOR_HOST``."""

    def __init__(self) -> None:
        emulator = emulator_place()
        self.place = emulator or "Google Cloud"
        self._client = client(emulator, publishes=True)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.transport.close()

    def publish(self, messages: Iterable[Outgoing]) -> int:
        """Publish all, those of a topic in their order; how many they were.

        Raises :class:`StreamError`, in one line, if the topic is not there or not for this account,
        or the service does not take a message or does not answer. What was published before stays
        published.
        """
        count = 0
        for request in _requests(messages):
            self._send(request)
            count += len(request)
        return count

    def _send(self, request: list[Outgoing]) -> None:
        from google.api_core.exceptions import InvalidArgument

        topic = request[0].topic
        asked = Asked(f"the topic {topic}", "publish to", "roles/pubsub.publisher")
        sent: list[Any] = [
            {
                "data": message.data,
                "attributes": message.attributes,
                "ordering_key": message.ordering_key,
            }
            for message in request
        ]
        try:
            with in_words(asked, self.place, _TIMEOUT_S, passes=InvalidArgument):
                self._client.publish(topic=topic, messages=sent, timeout=_TIMEOUT_S)
        except InvalidArgument as error:
            raise RefusedError(
                f"Pub/Sub: {asked.thing} does not take a message ({first_line(error)})"
            ) from None


def attributes_of(headers: Iterable[tuple[str, bytes | None]], origin: str) -> dict[str, str]:
    """Headers as attributes; of several of one name the last. Raises if one is no text."""
    attributes = {}
    for name, value in headers:
        try:
            attributes[name] = (value or b"").decode()
        except UnicodeDecodeError:
            raise StreamError(
                f"{origin} has a header {name} that is no text, and Pub/Sub has attributes of text "
                "only: put it back to Kafka"
            ) from None
    return attributes


def cut(text: str, max_bytes: int = MAX_VALUE_BYTES) -> str:
    """The beginning of a text, as long as an attribute's value may be.

    >>> cut("aé", 2)
    'a'
    """
    return text.encode()[:max_bytes].decode(errors="ignore")


def _requests(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    request: list[Outgoing] = []
    size = 0
    for message in messages:
        is_full = len(request) == _MESSAGES_PER_REQUEST or size + message.size > _BYTES_PER_REQUEST
        if request and (is_full or message.topic != request[0].topic):
            yield request
            request, size = [], 0
        request.append(message)
        size += message.size
    if request:
        yield request
