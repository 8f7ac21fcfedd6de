"""Dead letters that go back over Pub/Sub: published again to the topics of their subscriptions.

A letter's payload is the message's data, its headers are the attributes, its key the ordering key.
It says where it failed first (``pyspark_vision.replay_of``), and which letter it is: the source
would take it for a repeat of the message that failed otherwise. Put back twice, by a run that was
killed, it is one to the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.messages.record_headers import HEADERS
from pyspark_vision.messages.topics import LETTER_HEADER_PREFIX, REPLAY_OF, REPLAYED_LETTER
from pyspark_vision.sources.pubsub.put_back import Outgoing, Publisher, attributes_of, cut
from pyspark_vision.sources.pubsub.service import RefusedError, Service

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def topics(letters: DataFrame, to: str | None) -> dict[str | None, str]:
    """The topic to which the letters of each subscription go: its own, or ``to`` for all.

    Raises :class:`~pyspark_vision.errors.StreamError`, in one line, if a subscription is not there,
    or its topic, or this account may not look at it.
    """
    rows = letters.select("subscription").distinct().collect()
    subscriptions = [row["subscription"] for row in rows]
    if to is not None:
        return dict.fromkeys(subscriptions, to)
    try:
        with Service() as service:
            return {name: service.topic_of(name) for name in subscriptions}
    except RefusedError as error:
        raise RefusedError(f"{error}, or name the topic by `to` pubsub:TOPIC") from None


def publish(letters: DataFrame, topics: Mapping[str | None, str]) -> None:
    """Send them, from this process; raises as :meth:`Publisher.publish`."""
    with Publisher() as publisher:
        publisher.publish(_messages(letters, topics))


def _messages(letters: DataFrame, topics: Mapping[str | None, str]) -> Iterator[Outgoing]:
    """Those of a topic together, in the order of their times."""
    known_by = F.coalesce("origin", F.sha2("payload", 256))
    letter = F.sha2(F.concat_ws(" ", known_by, F.unix_micros("timestamp").cast("string")), 256)
    rows = letters.select("*", letter.alias("_letter")).orderBy("subscription", "timestamp")
    for row in rows.toLocalIterator():
        origin = str(row["origin"])
        others = [
            (header["key"], header["value"])
            for header in row[HEADERS] or []
            if not header["key"].startswith(LETTER_HEADER_PREFIX)
        ]
        # Of a letter from Kafka it is a key for partitions, which is no order that was asked for.
        has_order = row["subscription"] is not None
        yield Outgoing(
            topic=topics[row["subscription"]],
            data=bytes(row["payload"] or b""),
            attributes={
                **attributes_of(others, origin),
                REPLAY_OF: cut(origin),
                REPLAYED_LETTER: row["_letter"],
            },
            ordering_key=bytes(row["key"] or b"").decode() if has_order else "",
        )
