"""Requests' events into the journal, many by one write, and the news when they are in the topic."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pyspark_vision.clients.events_api.identity import Identities, Identity
from pyspark_vision.clients.events_api.journal import Draft, Journal, JournalFullError
from pyspark_vision.clients.events_api.refusals import key_reused, not_kept

# A client that finds no room, or Kafka away, is asked to wait so long.
RETRY_AFTER_S = 5

# One write has at most so many; beyond that requests wait in the sockets.
_MAX_WRITTEN = 1000


@dataclass(frozen=True)
class Kept:
    """An event in the journal. ``is_repeat``: by its key, it was there before this request."""

    sequence: int
    is_repeat: bool = False


class Intake:
    """The event loop's side: it is called and told from the loop's thread only."""

    def __init__(self, journal: Journal, identities: Identities, on_kept: Callable[[], None]):
        self._journal, self._identities, self._on_kept = journal, identities, on_kept
        self._waiting: deque[tuple[Draft, asyncio.Future[int]]] = deque()
        self._in_flight: dict[bytes, tuple[bytes, asyncio.Future[int]]] = {}
        self._news = asyncio.Event()
        self._closing = False
        # By their numbers; each is set to whether the event is sent.
        self._unsent: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._sent = journal.sent
        self.kept = 0

    async def keep(self, message: bytes, identity: Identity | None) -> Kept:
        """Keep an event; return when it is on the disk. Raises :class:`Refusal`."""
        if identity is None:
            return Kept(await self._enqueue(message, b""))
        known = self._identities.find(identity.key)
        if known is not None and known[0] >= self._journal.first:
            sequence, request = known
            if request != identity.request:
                raise key_reused()
            return Kept(sequence, is_repeat=True)
        if identity.key in self._in_flight:
            request, future = self._in_flight[identity.key]
            if request != identity.request:
                raise key_reused()
            return Kept(await asyncio.shield(future), is_repeat=True)
        return Kept(await self._enqueue(message, bytes(identity)))

    def has(self, sequence: int) -> bool:
        """Whether the journal still has the event of this number."""
        return self._journal.first <= sequence < self._journal.end

    async def sent(self, sequence: int, timeout_s: float) -> bool:
        """Whether the event is in the topic, after at most so many seconds."""
        if sequence < self._sent:
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # Nearly in order, for numbers are given in order and repeats are rare.
        self._unsent.append((sequence, future))
        timer = asyncio.get_running_loop().call_later(timeout_s, _settle, future, False)
        try:
            return await future
        finally:
            timer.cancel()

    def set_sent(self, sent: int) -> None:
        """Events below this number are in the topic now."""
        self._sent = max(self._sent, sent)
        # A repeat may stand among later ones; it is woken with them, or by its timeout.
        while self._unsent and (self._unsent[0][0] < self._sent or self._unsent[0][1].done()):
            _, future = self._unsent.popleft()
            _settle(future, True)

    def set_away(self) -> None:
        """Kafka takes nothing now: who waits is told."""
        while self._unsent:
            sequence, future = self._unsent.popleft()
            _settle(future, sequence < self._sent)

    async def run(self) -> None:
        """Write what comes, until :meth:`close`."""
        while self._waiting or not self._closing:
            await self._write_waiting()
            if not self._waiting and not self._closing:
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        """No more requests come; :meth:`run` ends when what waits is written."""
        self._closing = True
        self._news.set()

    async def _write_waiting(self) -> None:
        """Append what waits now, and tell those who wait for it."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_WRITTEN))]
        if not batch:
            return
        try:
            numbers = await asyncio.to_thread(self._journal.append, [draft for draft, _ in batch])
        except JournalFullError as error:
            for draft, future in batch:
                self._in_flight.pop(draft.identity[:16], None)
                if not future.done():
                    future.set_exception(not_kept(str(error), RETRY_AFTER_S))
                    future.exception()  # it may have been given up by its client
            return
        oldest = self._journal.first
        for sequence, (draft, future) in zip(numbers, batch, strict=True):
            if draft.identity:
                self._identities.remember(sequence, draft.identity, oldest)
                self._in_flight.pop(draft.identity[:16], None)
            if not future.done():
                future.set_result(sequence)
        self.kept += len(batch)
        self._on_kept()

    async def _enqueue(self, message: bytes, identity: bytes) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((Draft(time.time_ns() // 1_000_000, message, identity), future))
        if identity:
            self._in_flight[identity[:16]] = (identity[16:], future)
        self._news.set()
        return await asyncio.shield(future)


def _settle(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)
