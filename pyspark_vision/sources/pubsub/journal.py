"""What batches have read, under the checkpoint: the messages, until they are acknowledged.

``segments/N`` holds the messages of the N-th batch that was planned, with what acknowledges them;
it is written before Spark plans the batch, so a batch that is run again is exactly the same.
``acknowledged/N`` has the keys of what was acknowledged, up to segment N, by which a repeat is
known for a while. A segment goes when its keys stand there, those when their time is over.

A process of an earlier start, or of a driver that another took for dead, may still be at it for a
moment: it acknowledges what is committed, as this one would. A segment is nobody's to write twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import messages
from pyspark_vision.sources.pubsub.stores import Store

_SEGMENTS, _ACKNOWLEDGED = "segments", "acknowledged"
_KEYS = pa.schema([pa.field("key", pa.binary(16))])
_NUMBER = re.compile("[0-9]{12}")


class Journal:
    """The files of one checkpoint's source; a segment is named by its number, from 1.

    Raises :class:`StreamError`, here and in each method, if they cannot be reached or are damaged.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        with _in_words("read"):
            # In this order: what goes between the two stands among the acknowledged.
            kept = numbers(store.names(_SEGMENTS))
            self._acknowledged = numbers(store.names(_ACKNOWLEDGED))
        self.acknowledged = self._acknowledged[-1] if self._acknowledged else 0
        # Of a stop between keeping the keys and removing what they are of.
        self._delete(_SEGMENTS, [number for number in kept if number <= self.acknowledged])
        self.segments = [number for number in kept if number > self.acknowledged]

    @property
    def last(self) -> int:
        """The newest segment that there ever was; 0 for none."""
        return self.segments[-1] if self.segments else self.acknowledged

    def write(self, number: int, content: bytes) -> None:
        """Keep the messages of the next segment."""
        name = _name(_SEGMENTS, number)
        with _in_words("written"):
            is_new = self._store.create(name, content)
        if not is_new:
            raise StreamError(
                f"Pub/Sub: the journal's {name} was written by another job: only one may use a "
                "checkpoint at a time. Stop the other, or start this one again when it has ended"
            )
        self.segments.append(number)

    def read(self, number: int) -> pa.RecordBatch:
        """The messages of a segment; :class:`StreamError` if they are not there any more."""
        batch = self._read(_SEGMENTS, number)
        if batch is None:
            raise StreamError(
                f"Pub/Sub: the journal has no segment {number}, and the checkpoint asks for it: "
                "was one of them put back from a copy without the other? Put both back, or choose "
                "a new checkpoint and output"
            )
        return batch

    def kept_segments(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The segments and their messages, oldest first."""
        for number in self.segments.copy():
            batch = self._read(_SEGMENTS, number)
            if batch is not None:
                yield number, batch
                continue
            # Acknowledged since they were listed.
            with _in_words("read"):
                self._acknowledged = numbers(self._store.names(_ACKNOWLEDGED))
            self.acknowledged = max(self._acknowledged, default=0)
            if number > self.acknowledged:
                self.read(number)
            self.segments = [kept for kept in self.segments if kept > self.acknowledged]

    def keep_keys(self, up_to: int, keys: Iterable[bytes]) -> None:
        """All segments up to this one are acknowledged: their keys stay, the messages go."""
        batch = pa.record_batch([pa.array(list(keys), type=pa.binary(16))], schema=_KEYS)
        with _in_words("written"):
            self._store.write(_name(_ACKNOWLEDGED, up_to), messages.to_bytes(batch))
        self._acknowledged.append(up_to)
        self.acknowledged = up_to
        done = [number for number in self.segments if number <= up_to]
        self.segments = [number for number in self.segments if number > up_to]
        self._delete(_SEGMENTS, done)

    def kept_keys(self) -> list[tuple[int, list[bytes]]]:
        """What was kept, oldest first: up to which segment, and the keys."""
        kept = []
        for number in self._acknowledged:
            batch = self._read(_ACKNOWLEDGED, number)
            if batch is not None:
                kept.append((number, batch.column("key").to_pylist()))
        return kept

    def forget_keys(self, up_to: int) -> None:
        """Remove keys whose time is over; the newest file stays, for it says how far it goes."""
        old = [number for number in self._acknowledged[:-1] if number <= up_to]
        self._delete(_ACKNOWLEDGED, old)
        self._acknowledged = [number for number in self._acknowledged if number not in old]

    def _read(self, folder: str, number: int) -> pa.RecordBatch | None:
        name = _name(folder, number)
        with _in_words("read"):
            content = self._store.read(name)
        schema = messages.JOURNALLED if folder == _SEGMENTS else _KEYS
        return None if content is None else messages.journalled(content, name, schema)

    def _delete(self, folder: str, old: Iterable[int]) -> None:
        with _in_words("written"):
            for number in old:
                self._store.delete(_name(folder, number))


def numbers(names: Iterable[str]) -> list[int]:
    """Of the files in a folder, in order; others are nobody's."""
    return sorted(int(name) for name in names if _NUMBER.fullmatch(name))


@contextmanager
def _in_words(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StreamError(f"Pub/Sub: the journal cannot be {verb} ({error})") from None


def _name(folder: str, number: int) -> str:
    return f"{folder}/{number:012d}"
