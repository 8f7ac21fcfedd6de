"""What batches have read, under the checkpoint: the messages, until they are acknowledged.

``segments/N`` holds the messages of the N-th batch that was planned, with what acknowledges them;
it is written before Spark plans the batch, so a batch that is run again is exactly the same.
``acknowledged/N`` has the keys of what was acknowledged, up to segment N, by which a repeat is
known for a while. A segment goes when its keys stand there, those when their time is over.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import messages
from pyspark_vision.sources.pubsub.stores import Store

_SEGMENTS, _ACKNOWLEDGED = "segments", "acknowledged"
_KEYS = pa.schema([pa.field("key", pa.binary(16))])


class Journal:
    """The files of one checkpoint's source; a segment is named by its number, from 1."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._acknowledged = sorted(_numbers(store.names(_ACKNOWLEDGED)))
        self.acknowledged = self._acknowledged[-1] if self._acknowledged else 0
        kept = sorted(_numbers(store.names(_SEGMENTS)))
        # Of a stop between keeping the keys and removing what they are of.
        for number in [number for number in kept if number <= self.acknowledged]:
            store.delete(_name(_SEGMENTS, number))
        self.segments = [number for number in kept if number > self.acknowledged]

    @property
    def last(self) -> int:
        """The newest segment that there ever was; 0 for none."""
        return self.segments[-1] if self.segments else self.acknowledged

    def write(self, number: int, content: bytes) -> None:
        """Keep the messages of the next segment."""
        self._store.write(_name(_SEGMENTS, number), content)
        self.segments.append(number)

    def read(self, number: int) -> pa.RecordBatch:
        """The messages of a segment; :class:`StreamError` if they are not there any more."""
        name = _name(_SEGMENTS, number)
        content = self._store.read(name)
        if content is None:
            raise StreamError(
                f"Pub/Sub: the journal has no segment {number}, and the checkpoint asks for it: "
                "was one of them put back from a copy without the other? Put both back, or choose "
                "a new checkpoint and output"
            )
        return messages.journalled(content, name)

    def keep_keys(self, up_to: int, keys: Iterable[bytes]) -> None:
        """All segments up to this one are acknowledged: their keys stay, the messages go."""
        batch = pa.record_batch([pa.array(list(keys), type=pa.binary(16))], schema=_KEYS)
        self._store.write(_name(_ACKNOWLEDGED, up_to), messages.to_bytes(batch))
        self._acknowledged.append(up_to)
        self.acknowledged = up_to
        done = [number for number in self.segments if number <= up_to]
        self.segments = [number for number in self.segments if number > up_to]
        for number in done:
            self._store.delete(_name(_SEGMENTS, number))

    def kept_keys(self) -> list[tuple[int, list[bytes]]]:
        """What was kept, oldest first: up to which segment, and the keys."""
        found = []
        for number in self._acknowledged:
            name = _name(_ACKNOWLEDGED, number)
            content = self._store.read(name)
            if content is not None:
                batch = messages.journalled(content, name)
                found.append((number, batch.column("key").to_pylist()))
        return found

    def forget_keys(self, up_to: int) -> None:
        """Remove keys whose time is over; the newest file stays, for it says how far it goes."""
        for number in [one for one in self._acknowledged[:-1] if one <= up_to]:
            self._store.delete(_name(_ACKNOWLEDGED, number))
            self._acknowledged.remove(number)


def _name(folder: str, number: int) -> str:
    return f"{folder}/{number:012d}"


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(name) for name in names if name.isdigit()]
