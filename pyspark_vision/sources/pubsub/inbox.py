"""Messages between the service and Spark's batches: waiting, journalled, acknowledged.

No service, no files, no clock of its own: plain state, one lock. Nothing is given to be
acknowledged before the segment that holds it is committed. A repeat is known by its keys: of a
message that waits or is journalled it brings another ack id; of one that was acknowledged within
the window it is acknowledged at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from pyspark_vision.sources.pubsub.messages import Message, keys_of

_Ids = dict[str, list[str]]  # ack ids by subscription


class Lease:
    """A message that is held: the ack ids that it came with, and when they were extended last."""

    __slots__ = ("ack_ids", "extended_at", "keys", "subscription")

    def __init__(
        self, subscription: str, keys: tuple[bytes, ...], ack_ids: list[str], extended_at: float
    ) -> None:
        self.subscription = subscription
        self.keys = keys
        self.ack_ids = ack_ids
        self.extended_at = extended_at


class Inbox:
    """``id_attributes``: see :func:`~pyspark_vision.sources.pubsub.messages.keys_of`.

    ``window_s``: how long after it was acknowledged a message is still known.
    """

    def __init__(self, id_attributes: Sequence[str], window_s: float) -> None:
        self._id_attributes = tuple(id_attributes)
        self._window_s = window_s
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._waiting: deque[tuple[Message, Lease]] = deque()
        self._waiting_bytes = 0
        self._segments: dict[int, list[Lease]] = {}
        self._committed = 0
        # By key: the lease of what is held; None for what was acknowledged.
        self._known: dict[bytes, Lease | None] = {}
        self._acknowledged: deque[tuple[float, int, list[bytes]]] = deque()
        self.repeats = 0

    def add(self, arrived: Iterable[Message], now: float) -> _Ids:
        """Take messages in; the ack ids of those that were acknowledged before."""
        done: _Ids = {}
        with self._lock:
            for message in arrived:
                keys = keys_of(message, self._id_attributes)
                known = next((key for key in keys if key in self._known), None)
                if known is None:
                    lease = Lease(message.subscription, keys, [message.ack_id], now)
                    self._waiting.append((message, lease))
                    self._waiting_bytes += message.size
                    for key in keys:
                        self._known[key] = lease
                    continue
                self.repeats += 1
                held = self._known[known]
                if held is None:
                    done.setdefault(message.subscription, []).append(message.ack_id)
                elif message.ack_id not in held.ack_ids:
                    held.ack_ids.append(message.ack_id)
                    held.extended_at = 0.0
            self._arrived.notify_all()
        return done

    def take(self, max_messages: int, max_bytes: int, wait_s: float) -> list[tuple[Message, Lease]]:
        """The oldest messages that wait, at least one if there is one within ``wait_s``."""
        with self._lock:
            if not self._waiting and wait_s > 0:
                self._arrived.wait(wait_s)
            taken: list[tuple[Message, Lease]] = []
            size = 0
            while self._waiting and len(taken) < max_messages:
                size += self._waiting[0][0].size
                if taken and size > max_bytes:
                    break
                taken.append(self._waiting.popleft())
                self._waiting_bytes -= taken[-1][0].size
            return taken

    def put_back(self, taken: Sequence[tuple[Message, Lease]]) -> None:
        """What was taken and could not be journalled waits again."""
        with self._lock:
            self._waiting.extendleft(reversed(taken))
            self._waiting_bytes += sum(message.size for message, _ in taken)

    def room(self, max_messages: int, max_bytes: int) -> int:
        """How many messages more may wait."""
        with self._lock:
            if self._waiting_bytes >= max_bytes:
                return 0
            return max(0, max_messages - len(self._waiting))

    def journalled(self, segment: int, leases: Sequence[Lease]) -> None:
        """These messages are in the journal, and in the batch to be planned next."""
        with self._lock:
            self._segments[segment] = list(leases)

    def restore(self, segment: int, leases: Sequence[Lease]) -> None:
        """What an earlier process has journalled."""
        with self._lock:
            self._segments[segment] = list(leases)
            for lease in leases:
                for key in lease.keys:
                    self._known[key] = lease

    def restore_acknowledged(self, segment: int, keys: list[bytes], now: float) -> None:
        """What an earlier process has acknowledged; its time begins anew."""
        with self._lock:
            self._acknowledged.append((now, segment, keys))
            self._known.update(dict.fromkeys(keys))

    def commit(self, up_to: int) -> None:
        """All segments up to this one may be acknowledged."""
        with self._lock:
            self._committed = max(self._committed, up_to)

    def to_acknowledge(self) -> tuple[list[int], _Ids]:
        """Committed segments that are not acknowledged yet, and their ack ids."""
        with self._lock:
            segments = sorted(number for number in self._segments if number <= self._committed)
            ids: _Ids = {}
            for number in segments:
                for lease in self._segments[number]:
                    ids.setdefault(lease.subscription, []).extend(lease.ack_ids)
            return segments, ids

    def acknowledged(self, segments: Sequence[int], now: float) -> list[bytes]:
        """These segments were acknowledged; the keys to be kept of them."""
        with self._lock:
            leases = [lease for number in segments for lease in self._segments.pop(number)]
            keys = [key for lease in leases for key in lease.keys]
            self._known.update(dict.fromkeys(keys))
            if segments:
                self._acknowledged.append((now, segments[-1], keys))
            return keys

    def forget(self, now: float) -> int:
        """Drop the keys whose time is over; up to which segment they were, 0 for none."""
        up_to = 0
        with self._lock:
            while self._acknowledged and now - self._acknowledged[0][0] > self._window_s:
                _, up_to, keys = self._acknowledged.popleft()
                for key in keys:
                    if self._known.get(key, key) is None:
                        del self._known[key]
        return up_to

    def to_extend(self, now: float, every_s: float) -> _Ids:
        """Ack ids of all that is held and was not extended for so long; they count as extended."""
        ids: _Ids = {}
        with self._lock:
            held = [lease for _, lease in self._waiting]
            held += [lease for leases in self._segments.values() for lease in leases]
            for lease in held:
                if now - lease.extended_at >= every_s:
                    lease.extended_at = now
                    ids.setdefault(lease.subscription, []).extend(lease.ack_ids)
        return ids

    def release(self) -> _Ids:
        """Ack ids of what waits, which is given back: it is not held any more."""
        ids: _Ids = {}
        with self._lock:
            for _, lease in self._waiting:
                ids.setdefault(lease.subscription, []).extend(lease.ack_ids)
                for key in lease.keys:
                    self._known.pop(key, None)
            self._waiting.clear()
            self._waiting_bytes = 0
        return ids
