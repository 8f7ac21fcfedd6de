"""Messages that are published again: as many in a request as Pub/Sub takes, refusals in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions as google_exceptions

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import put_back
from pyspark_vision.sources.pubsub.put_back import Outgoing, Publisher, attributes_of, cut
from pyspark_vision.sources.pubsub.service import AwayError, RefusedError

# Their constructors are untyped.
exceptions: Any = google_exceptions
TOPIC, OTHER = "projects/p1x/topics/t-1", "projects/p1x/topics/t-2"


class Client:
    """Notes requests as (topic, how many messages, their bytes), or raises ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.requests: list[tuple[str, int, int]] = []
        self.transport = SimpleNamespace(close=lambda: None)
        self._error = error

    def publish(self, topic: str, messages: list[Any], **_: Any) -> None:
        if self._error is not None:
            raise self._error
        size = sum(len(message["data"]) for message in messages)
        self.requests.append((topic, len(messages), size))


@pytest.fixture
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client(getattr(request, "param", None))
    monkeypatch.setattr(put_back, "client", lambda *_, **__: client)
    return client


def messages(topic: str, count: int, size: int = 10) -> list[Outgoing]:
    return [Outgoing(topic, bytes(size), {}) for _ in range(count)]


def test_a_request_has_so_many_messages_and_bytes_of_one_topic(client: Client) -> None:
    large = messages(TOPIC, 3, size=2_000_000)

    with Publisher() as publisher:
        count = publisher.publish([*messages(TOPIC, 501), *messages(OTHER, 1), *large])
        assert publisher.publish([]) == 0

    assert count == 505
    assert client.requests == [
        (TOPIC, 500, 5000), (TOPIC, 1, 10), (OTHER, 1, 10),
        (TOPIC, 2, 4_000_000), (TOPIC, 1, 2_000_000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("client", "kind", "said"),
    [
        (exceptions.NotFound("no"), RefusedError, f"the topic {TOPIC} is not there"),
        (
            exceptions.PermissionDenied("may not"),
            RefusedError,
            rf"may not publish to the topic {TOPIC} \(403 may not\): give it the role "
            "roles/pubsub.publisher",
        ),
        (
            exceptions.InvalidArgument("too long"),
            RefusedError,
            rf"the topic {TOPIC} does not take a message \(400 too long\)",
        ),
        (exceptions.DeadlineExceeded("late"), AwayError, "does not answer for the topic"),
    ],
    indirect=["client"],
)
def test_what_the_service_refuses_is_one_line(
    client: Client, kind: type[Exception], said: str
) -> None:
    with Publisher() as publisher, pytest.raises(kind, match=said) as refused:
        publisher.publish(messages(TOPIC, 1))

    assert "\n" not in str(refused.value)


def test_headers_are_attributes_the_last_of_a_name_and_only_text() -> None:
    headers = [("a", b"1"), ("none", None), ("a", "ü".encode())]

    assert attributes_of(headers, "kafka:t/0/1") == {"a": "ü", "none": ""}
    assert attributes_of([], "kafka:t/0/1") == {}
    with pytest.raises(StreamError, match="kafka:t/0/1 has a header a that is no text"):
        attributes_of([("a", b"\xff")], "kafka:t/0/1")


def test_a_text_is_cut_between_letters() -> None:
    assert [cut("aé", size) for size in (0, 1, 2, 3)] == ["", "a", "a", "aé"]
