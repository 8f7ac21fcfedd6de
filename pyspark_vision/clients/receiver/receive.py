"""Receive results until a signal comes: to the console, to each camera's picture, to the events."""

from __future__ import annotations

import errno
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Message

from pyspark_vision.clients import camera_pictures, stopping
from pyspark_vision.clients.brokers import Brokers, BrokersError
from pyspark_vision.clients.pycturestream import (
    BadMessageError,
    Result,
    events_of,
    local_time,
)
from pyspark_vision.clients.receiver.events_file import EventsFile, open_events
from pyspark_vision.clients.receiver.latest import LatestPictures
from pyspark_vision.clients.receiver.lines import printable, result_line
from pyspark_vision.clients.receiver.record import Owner
from pyspark_vision.clients.receiver.repeats import Window, digest
from pyspark_vision.clients.receiver.topic import Reader, Topic, find_topic, without_lost
from pyspark_vision.clients.stopping import Stop
from pyspark_vision.clients.stream_messages import read_result
from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.messages.topics import RESULT_TOPIC
from pyspark_vision.sinks import terminal

COMMITTED, EARLIEST, LATEST = "committed", "earliest", "latest"
STARTS = (COMMITTED, EARLIEST, LATEST)
DEFAULT_GROUP = "pyspark-vision-receive"

# Of messages that are no results, one is shown in this time; the others are counted.
_COMPLAINT_INTERVAL_S = 10.0
# What no other option would change: a disk that is full, or broken.
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@dataclass(frozen=True)
class Options:
    """``start``: one of :data:`STARTS`, for a new events file, or none. ``cameras``: none is all.

    ``events``: the array to add to. ``pictures``: the folder of each camera's ``output.jpg``.
    ``skip_lost``: go on where records were removed before they were read.
    """

    brokers: Brokers
    topic: str = RESULT_TOPIC
    cameras: tuple[str, ...] = ()
    events: Path | None = None
    pictures: Path | None = None
    start: str = COMMITTED
    group: str = DEFAULT_GROUP
    skip_lost: bool = False


@dataclass
class Counts:
    """What came in is ``results``, ``malformed``, ``repeats`` or ``other_cameras``."""

    results: int = 0
    events: int = 0
    malformed: int = 0
    repeats: int = 0
    other_cameras: int = 0
    lost: int = 0

    def __str__(self) -> str:
        came = self.results + self.malformed + self.repeats + self.other_cameras
        text = f"messages in {came}, results {self.results} ({self.events} events)"
        for name in ("malformed", "repeats", "other_cameras"):
            if count := getattr(self, name):
                text += f", {name.replace('_', ' ')} {count}"
        return text + (f"; lost {self.lost}" if self.lost else "")


def receive(options: Options, say: Callable[[str], None]) -> Counts:
    """Receive until a signal, or until nobody reads the console and nothing else is asked for; what
    came. ``say`` gets what a person should know beside the results, a line at a time.

    Raises :class:`BrokersError` and :class:`InvalidOptionError` before anything is received, and
    :class:`StreamError` for what ends it later: the events file is whole then, and the next start
    goes on where it ends.
    """
    if options.pictures is not None:
        camera_pictures.claim(options.pictures, "--keep-output")
    counts = Counts()
    may_skip = options.skip_lost or options.events is None
    # A second signal harms no file.
    listening = stopping.listening(second=stopping.die)
    with listening as stop, _deaf_to_leases(), ExitStack() as at_end:
        topic = find_topic(options.brokers, options.topic)
        reader = Reader(options.brokers, topic, options.group, say, may_skip=may_skip)
        at_end.callback(reader.close)
        events = _events(options, topic, reader)
        at_end.callback(lambda: say(str(counts)))
        if events is not None:
            at_end.callback(_close, events, reader)
        try:
            _start(options, reader, events, counts, say)
            _loop(options, reader, events, counts, say, stop)
        except BrokersError as error:
            raise StreamError(str(error)) from None
    return counts


def _events(options: Options, topic: Topic, reader: Reader) -> EventsFile | None:
    if options.events is None:
        return None
    owner = Owner(topic.cluster_id, topic.name, topic.topic_id, options.group, options.cameras)
    with _as_option_error(options.events):
        return open_events(options.events, owner, lambda: _begin(options, reader))


def _begin(options: Options, reader: Reader) -> dict[int, int]:
    """Where reading begins, of each partition."""
    is_first = options.start == EARLIEST
    return {
        partition: first if is_first else end for partition, (first, end) in reader.ends().items()
    }


def _start(
    options: Options,
    reader: Reader,
    events: EventsFile | None,
    counts: Counts,
    say: Callable[[str], None],
) -> None:
    if events is None:
        reader.start(_begin(options, reader))
        say(f"waiting for results in {options.topic}; Ctrl-C ends it")
        return
    kept = events.offsets
    offsets, counts.lost = without_lost(
        options.topic, kept, reader.ends(), may_skip=options.skip_lost
    )
    for partition, offset in offsets.items():
        events.advance(partition, offset)
    if counts.lost:
        say(f"{counts.lost} messages of {options.topic} were removed before they were read")
    reader.start(offsets)
    places = ", ".join(f"{partition}: {offset}" for partition, offset in sorted(offsets.items()))
    say(
        f"{events.path} has {events.events} events; it goes on with {options.topic} at offsets "
        f"{places}. Ctrl-C ends it"
    )


def _loop(
    options: Options,
    reader: Reader,
    events: EventsFile | None,
    counts: Counts,
    say: Callable[[str], None],
    stop: Stop,
) -> None:
    complaints = _Complaints(say)
    pictures = LatestPictures(options.pictures, say) if options.pictures is not None else None
    window = events.window if events is not None else Window()
    is_for_console_only = events is None and pictures is None
    while not stop.is_asked:
        shown = []
        for message in reader.read():
            partition, offset = _place(message)
            try:
                result = read_result(message.value())
                taken_at, entries = local_time(result), events_of(result)
            except BadMessageError as error:
                counts.malformed += 1
                complaints.add(f"{options.topic}-{partition} at offset {offset}: {error}")
            else:
                mark = digest(message.key(), result)
                if _is_wanted_result(result, mark, options, window, counts):
                    counts.events += len(entries)
                    if events is not None:
                        events.add(entries, mark)
                    elif mark is not None:
                        window.add(mark)
                    if pictures is not None:
                        pictures.offer(result, message.timestamp()[1])
                    shown.append(result_line(result, taken_at))
            if events is not None:
                events.advance(partition, offset + 1)
        _show(shown)
        if is_for_console_only and not terminal.is_read(sys.stdout):
            return
        if pictures is not None:
            assert options.pictures is not None
            with _as_stream_error(options.pictures):
                pictures.keep()
        complaints.show()
        if events is not None and events.is_due():
            _flush(events, reader)


def _is_wanted_result(
    result: Result, mark: str | None, options: Options, window: Window, counts: Counts
) -> bool:
    """Whether it is of the cameras that were asked for, and no repeat; counted in any case."""
    if options.cameras and result.camera_id not in options.cameras:
        counts.other_cameras += 1
    elif mark in window:
        counts.repeats += 1
    else:
        counts.results += 1
        return True
    return False


def _show(lines: Sequence[str]) -> None:
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as error:  # a pipe that nobody reads is none
        terminal.leave(sys.stdout)
        raise StreamError(f"standard output cannot be written: {error.strerror}") from None


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def _flush(events: EventsFile, reader: Reader) -> None:
    with _as_stream_error(events.path, f" (it is whole, with {events.events} events)"):
        events.flush()
    reader.commit(events.offsets)


def _close(events: EventsFile, reader: Reader) -> None:
    with _as_stream_error(events.path, f" (it is whole, with {events.events} events)"):
        events.close()
    reader.commit(events.offsets)


@contextmanager
def _as_stream_error(path: Path, state: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StreamError(
            f"{path} cannot be written: {error.strerror}{state}. Start again when it can; no event "
            "is lost"
        ) from None


@contextmanager
def _as_option_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _MAY_PASS:
            raise StreamError(
                f"{path} cannot be written: {error.strerror}. Start again when it can"
            ) from None
        raise InvalidOptionError(
            f"--events {path}: {error.strerror}. Choose a file that can be written"
        ) from None


class _Complaints:
    """Messages that are no results: the first at once, then one in a while."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last: str | None = None
        self._since_shown = 0
        self._next = 0.0

    def add(self, text: str) -> None:
        self._last = text
        self._since_shown += 1
        self.show()

    def show(self) -> None:
        if self._last is None or time.monotonic() < self._next:
            return
        more = self._since_shown - 1
        before = f" (and {more} others since the last that was shown)" if more else ""
        self._say(f"no result: {printable(self._last)}{before}")
        self._last, self._since_shown = None, 0
        self._next = time.monotonic() + _COMPLAINT_INTERVAL_S


@contextmanager
def _deaf_to_leases() -> Iterator[None]:
    """Linux says by SIGIO that somebody opens a file that has a lease; unheard, it kills."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, before)
