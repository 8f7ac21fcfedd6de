"""What runs in Spark's process of the source: threads that pull, and one that keeps leases.

Spark calls from one thread. It asks for the newest offset when the batch before is committed, and
only then: that is when the messages of that batch are acknowledged. What it is told is a segment's
number, and the segment is in the journal before it is told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import messages
from pyspark_vision.sources.pubsub.inbox import Inbox, Lease
from pyspark_vision.sources.pubsub.journal import Journal
from pyspark_vision.sources.pubsub.options import ReaderOptions
from pyspark_vision.sources.pubsub.service import (
    MOST_PULLED,
    PULL_TIMEOUT_S,
    AwayError,
    RefusedError,
    Service,
)
from pyspark_vision.sources.pubsub.stores import DoorStore, LocalStore, Store

# How long an empty inbox is waited for: Spark asks again at once, and each question costs the
# driver a few milliseconds.
_WAIT_S = 0.1
# A reader that has no room looks again; what keeps leases looks for what is due.
_ROOM_EVERY_S = 0.05
_KEEP_EVERY_S = 0.5
# Keys are kept in a file of their own: not one for each small batch.
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
# A subscription that was there and is not: made anew by somebody, or rights that are being changed.
_PATIENCE_S = 60.0
# With empty answers for so long, what was there is read.
_DRAINED_S = 3.0
_STOP_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


def store_of(options: ReaderOptions) -> Store:
    """Of the journal, on this machine's disks or through the driver's Python."""
    if options.door is not None:
        return DoorStore(options.door)
    parts = urlsplit(options.journal)
    if parts.scheme not in ("", "file"):
        raise StreamError(
            f"Pub/Sub: the journal {options.journal} is not on this machine's disks: read by "
            "sources.pubsub.stream.stream_pubsub, which reaches all file systems of Spark's"
        )
    return LocalStore(Path(unquote(parts.path) if parts.scheme else options.journal))


class Reader:
    """Pulls from :meth:`start` to :meth:`stop`."""

    def __init__(self, options: ReaderOptions, store: Store, service: Service) -> None:
        self._options = options
        self._service = service
        self._journal = Journal(store)
        self._inbox = Inbox(options.id_attributes, options.window_s)
        self._told = 0  # the newest segment that Spark knows of
        self._batches: dict[int, pa.RecordBatch] = {}
        self._stopping = threading.Event()
        self._failure: StreamError | None = None
        self._pulling: list[threading.Thread] = []
        self._keeping: list[threading.Thread] = []
        self._drains = False
        # Since when the answers for a subscription have been empty.
        self._quiet_since: dict[str, float] = {}
        self._is_ordered = False
        self._journal_lock = threading.Lock()
        self._acknowledging = threading.Lock()

    def start(self) -> None:
        """Look at the subscriptions, read the journal, and begin to pull."""
        # Of a subscription that keeps the order of keys one request is under way at a time: two
        # answers might overtake each other.
        readers = {
            name: 1 if self._service.is_ordered(name) else self._options.readers
            for name in self._options.subscriptions
        }
        self._is_ordered = 1 in readers.values()
        self._restore()
        for name, count in readers.items():
            for _ in range(count):
                self._pulling.append(self._begin(self._pull, name))
        self._keeping.append(self._begin(self._keep))

    def latest(self, start: int | None) -> int:
        """The newest segment; all that was told before is committed by now.

        ``start``: up to where Spark has read, if it says so.
        """
        self._raise_failure()
        committed = self._told if start is None else start
        self._inbox.commit(committed)
        self._told = max(self._told, committed)
        if self._journal.last > self._told:
            # Journalled by a process that died before Spark planned it.
            self._told = self._journal.last
            return self._told
        taken = self._take()
        if not taken:
            return self._told
        held = [message for message, _ in taken]
        leases = [lease for _, lease in taken]
        kept = [(lease.ack_ids, list(lease.keys)) for lease in leases]
        content = messages.to_batch(held, kept)
        number = self._told + 1
        try:
            with self._journal_lock:
                self._journal.write(number, content)
        except StreamError as error:
            self._inbox.put_back(taken)
            raise StreamError(
                f"{error}; the batch was not begun, and the next start reads its messages"
            ) from None
        self._inbox.journalled(number, leases)
        self._batches = {number: messages.from_bytes(content)}
        self._told = number
        return number

    def partitions(self, start: int, end: int) -> list[bytes]:
        """What each task of the batch ``(start, end]`` reads."""
        # Before 4.2 a restarted query asks for (end, end] of a batch that it has yet to run: that
        # is no word that the batch is committed.
        if start < end:
            self._inbox.commit(start)
        self._told = max(self._told, end)
        parts: list[bytes] = []
        for number in range(start + 1, end + 1):
            batch = self._batches.get(number)
            if batch is None:
                batch = self._journal.read(number)
            slices = messages.slices(batch, self._options.partitions)
            parts += [messages.to_bytes(part) for part in slices]
        return parts

    def commit(self, end: int) -> None:
        """Spark will not ask for what is up to here again."""
        self._inbox.commit(end)

    def begin_to_drain(self) -> None:
        """All was read when the service has nothing for a while; called before :meth:`start`."""
        self._drains = True

    def stop(self) -> None:
        """Acknowledge what is committed, give back what waits, and end."""
        self._stopping.set()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        self._service.stop_pulling()
        for thread in self._pulling:
            thread.join(max(0.0, deadline - time.monotonic()))
        try:
            self._acknowledge()
            for subscription, ack_ids in self._inbox.release().items():
                self._service.give_back(subscription, ack_ids)
        except StreamError:  # it is away: what is held comes again by itself
            pass
        self._service.close()
        for thread in self._keeping:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _take(self) -> list[tuple[messages.Message, Lease]]:
        options = self._options
        if self._drains:
            # Spark ends the query and this process after the last batch, and need not call `stop`
            # before. What fails here is done by the next start.
            with suppress(StreamError):
                self._acknowledge()
        taken = self._inbox.take(options.max_messages, options.max_bytes, _WAIT_S)
        while self._drains and not taken:
            self._raise_failure()
            if self._is_drained():
                break
            taken = self._inbox.take(options.max_messages, options.max_bytes, _WAIT_S)
        return taken

    def _is_drained(self) -> bool:
        quiet = list(self._quiet_since.values())
        if len(quiet) < len(self._options.subscriptions):
            return False
        return time.monotonic() - max(quiet) > _DRAINED_S

    def _restore(self) -> None:
        now = time.monotonic()
        for number, batch in self._journal.kept_segments():
            rows = batch.select(["subscription", "ack_ids", "keys"])
            leases = [
                Lease(row["subscription"], tuple(row["keys"]), list(row["ack_ids"]), 0.0)
                for row in rows.to_pylist()
            ]
            self._inbox.restore(number, leases)
        for number, keys in self._journal.kept_keys():
            self._inbox.restore_acknowledged(number, keys, now)

    def _begin(self, work: Callable[..., None], *arguments: str) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except StreamError as error:
                self._failure = self._failure or error
            # A thread that ends without a word would be a stream that stands still.
            except Exception as error:
                if not self._stopping.is_set():
                    _log.exception("Pub/Sub: a reader has failed")
                    said = f"Pub/Sub: a reader has failed ({type(error).__name__}: {error})"
                    self._failure = self._failure or StreamError(said)

        thread = threading.Thread(target=run, name=f"pubsub{work.__name__}", daemon=True)
        thread.start()
        return thread

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _pull(self, subscription: str) -> None:
        options = self._options
        trouble = _Trouble()
        while not self._stopping.is_set():
            room = self._inbox.room(options.max_waiting_messages, options.max_waiting_bytes)
            if room == 0:
                self._stopping.wait(_ROOM_EVERY_S)
                continue
            try:
                # Google's service answers late where it has nothing.
                timeout_s = _DRAINED_S if self._drains else PULL_TIMEOUT_S
                arrived = self._service.pull(subscription, min(room, MOST_PULLED), timeout_s)
                trouble.over()
                if not arrived:
                    self._quiet_since.setdefault(subscription, time.monotonic())
                else:
                    self._quiet_since.clear()
                    done = self._inbox.add(arrived, time.monotonic())
                    for name, ack_ids in done.items():
                        self._service.acknowledge(name, ack_ids)
            except (AwayError, RefusedError) as error:
                if self._stopping.is_set():
                    return
                self._stopping.wait(trouble.pause_s(error))

    def _keep(self) -> None:
        trouble = _Trouble()
        while not self._stopping.wait(_KEEP_EVERY_S):
            try:
                self._extend()
                self._acknowledge()
                trouble.over()
            except (AwayError, RefusedError) as error:
                if self._stopping.is_set():
                    return
                self._stopping.wait(trouble.pause_s(error))
            if up_to := self._inbox.forget(time.monotonic()):
                with self._journal_lock:
                    self._journal.forget_keys(up_to)

    def _extend(self) -> None:
        deadline_s = self._options.ack_deadline_s
        due = self._inbox.to_extend(time.monotonic(), deadline_s / 3)
        for subscription, ack_ids in due.items():
            self._service.extend(subscription, ack_ids, deadline_s)

    def _acknowledge(self) -> None:
        # One at a time: when the stream stops, the thread that keeps leases may be at it, too.
        if not self._acknowledging.acquire(timeout=_STOP_TIMEOUT_S):
            return
        try:
            segments, ids = self._inbox.to_acknowledge()
            if not segments:
                return
            for subscription, ack_ids in ids.items():
                self._service.acknowledge(subscription, ack_ids)
            if self._is_ordered:
                # What comes next of a key may have waited for this.
                self._quiet_since.clear()
            keys = self._inbox.acknowledged(segments, time.monotonic())
            with self._journal_lock:
                self._journal.keep_keys(segments[-1], keys)
        finally:
            self._acknowledging.release()


class _Trouble:
    """Of one thread: how long to wait after a failure, and what to say of it."""

    def __init__(self) -> None:
        self._failures = 0
        self._refused_since: float | None = None

    def over(self) -> None:
        """An answer has come."""
        if self._failures:
            _log.warning("Pub/Sub answers again")
        self._failures, self._refused_since = 0, None

    def pause_s(self, error: StreamError) -> float:
        """Raises a refusal that has lasted too long; one that is away is waited for."""
        if not self._failures:
            _log.warning("%s; it is asked again and again", error)
        self._failures += 1
        if isinstance(error, RefusedError):
            now = time.monotonic()
            self._refused_since = self._refused_since or now
            if now - self._refused_since > _PATIENCE_S:
                raise error
        else:
            self._refused_since = None
        return _PAUSES_S[min(self._failures, len(_PAUSES_S)) - 1]
