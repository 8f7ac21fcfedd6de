"""Pub/Sub messages as rows, in Arrow's form: what the journal keeps and what tasks read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from pyspark_vision.errors import StreamError
from pyspark_vision.messages.topics import REPLAYED_LETTER

# What a task gives to Spark; the data source's schema says the same in Spark's words.
ROWS = pa.schema(
    [
        pa.field("subscription", pa.string()),
        pa.field("message_id", pa.string()),
        pa.field("publish_time", pa.timestamp("us", tz="UTC")),
        pa.field("ordering_key", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("data", pa.binary()),
    ]
)
# The journal keeps beside them what it takes to acknowledge them, and to know them again.
JOURNALLED = ROWS.append(pa.field("ack_ids", pa.list_(pa.string()))).append(
    pa.field("keys", pa.list_(pa.binary(16)))
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Message:
    """One as it was delivered. ``subscription``: ``projects/P/subscriptions/S``."""

    subscription: str
    message_id: str
    publish_time: datetime
    ack_id: str
    data: bytes
    attributes: dict[str, str] = field(default_factory=dict)
    ordering_key: str = ""

    @property
    def size(self) -> int:
        """Bytes, as far as a batch's bound is concerned."""
        texts = (*self.attributes, *self.attributes.values(), self.ordering_key)
        return len(self.data) + sum(map(len, texts))


def keys_of(message: Message, id_attributes: Sequence[str]) -> tuple[bytes, ...]:
    """By which a repeat is known: digests of 16 bytes.

    The first is of the message's id, with its publish time: a test server gives ids again. Where
    the message has all of ``id_attributes``, the second is of their values; not of a message that
    was put back: that is no repeat of the one that failed, but of itself, if it is sent twice.
    """
    subscription = message.subscription
    time_us = (message.publish_time - _EPOCH) // timedelta(microseconds=1)
    keys = [_digest(subscription, "id", message.message_id, str(time_us))]
    values = [message.attributes.get(name) for name in id_attributes]
    if letter := message.attributes.get(REPLAYED_LETTER):
        keys.append(_digest(subscription, "letter", letter))
    elif values and None not in values:
        keys.append(_digest(subscription, "attributes", *(value or "" for value in values)))
    return tuple(keys)


def to_batch(messages: Sequence[Message], leases: Sequence[tuple[list[str], list[bytes]]]) -> bytes:
    """Messages, with the ack ids and keys of each, as one file."""
    columns = [
        [message.subscription for message in messages],
        [message.message_id for message in messages],
        [message.publish_time for message in messages],
        [message.ordering_key for message in messages],
        [list(message.attributes.items()) for message in messages],
        [message.data for message in messages],
        [ack_ids for ack_ids, _ in leases],
        [keys for _, keys in leases],
    ]
    arrays = [
        pa.array(column, type=part.type) for column, part in zip(columns, JOURNALLED, strict=True)
    ]
    return to_bytes(pa.record_batch(arrays, schema=JOURNALLED))


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """As a stream of Arrow's own, compressed."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def from_bytes(content: bytes) -> pa.RecordBatch:
    """What :func:`to_bytes` made."""
    with pa.ipc.open_stream(content) as reader:
        return reader.read_next_batch()


def journalled(content: bytes, name: str, schema: pa.Schema = JOURNALLED) -> pa.RecordBatch:
    """:func:`from_bytes` of a journal's file; :class:`StreamError` if it is damaged."""
    try:
        batch = from_bytes(content)
        batch.validate(full=True)
        if batch.schema != schema:
            raise pa.ArrowInvalid("it has other columns")
        return batch
    except (pa.ArrowException, OSError, StopIteration) as error:
        why = str(error) or "it ends too early"
        raise StreamError(
            f"Pub/Sub: the journal's {name} is damaged ({why}). Put it back from a copy; or begin "
            "with a new checkpoint and output: messages that were not acknowledged come again"
        ) from None


def slices(batch: pa.RecordBatch, count: int) -> list[pa.RecordBatch]:
    """The rows of a journalled batch in at most ``count`` parts, without ack ids and keys.

    What has an ordering key is in one part with all others of that key, in order.
    """
    rows = batch.select(ROWS.names)
    if count < 2 or rows.num_rows < 2:
        return [rows] if rows.num_rows else []
    parts: list[list[int]] = [[] for _ in range(min(count, rows.num_rows))]
    for number, key in enumerate(rows.column("ordering_key").to_pylist()):
        place = int.from_bytes(_digest(key)[:4], "big") if key else number
        parts[place % len(parts)].append(number)
    return [rows.take(pa.array(part)) for part in parts if part]


def _digest(*texts: str) -> bytes:
    # The lengths in front: no two lists of texts are the same bytes.
    whole = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()
