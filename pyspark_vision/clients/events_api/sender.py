"""The journal's events to Kafka, in order, by a thread that goes on when the brokers are back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from pyspark_vision.clients.brokers import BrokersError
from pyspark_vision.clients.events_api.journal import Journal
from pyspark_vision.clients.events_api.segments import JournalError
from pyspark_vision.clients.events_api.transactions import Session, Target
from pyspark_vision.sinks import terminal

# A transaction costs some ten milliseconds: under load, many events share one.
_MAX_RECORDS = 1000

# Between two tries while Kafka is away.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0

_MARK_EVERY_S = 1.0


class Sender:
    """``on_sent(number)``: events below it are in the topic. ``on_away()``: Kafka takes none.

    Both are called in the sender's thread.
    """

    def __init__(
        self,
        target: Target,
        journal: Journal,
        on_sent: Callable[[int], None],
        on_away: Callable[[], None],
    ) -> None:
        self._target, self._journal = target, journal
        self._on_sent, self._on_away = on_sent, on_away
        self._news, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="events-api-sender", daemon=True)
        self.is_away = False
        self.sent = 0
        # Unknown until the topic was asked.
        self.max_message_bytes: int | None = None

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something in the journal."""
        self._news.set()

    def stop(self, timeout_s: float) -> None:
        """End the thread when all is sent, or Kafka is away, or so many seconds have gone."""
        deadline = time.monotonic() + timeout_s
        while (
            self._journal.sent < self._journal.end
            and not self.is_away
            and self._thread.is_alive()
            and time.monotonic() < deadline
        ):
            time.sleep(0.02)
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                with Session(self._target) as session:
                    self._take_up(session)
                    pause_s = _FIRST_PAUSE_S
                    self._send_all(session)
            except (BrokersError, JournalError, OSError) as error:
                if self._stopping.is_set():
                    break
                self._say_away(str(error))
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _take_up(self, session: Session) -> None:
        self.max_message_bytes = session.max_message_bytes
        if session.next_sequence is not None:
            self._journal.mark_sent(session.next_sequence)
            self._on_sent(self._journal.sent)

    def _send_all(self, session: Session) -> None:
        marked_at = time.monotonic()
        while not self._stopping.is_set():
            self._news.clear()
            records = self._journal.unsent(_MAX_RECORDS)
            if not records:
                # An idle session is looked at when the next event comes.
                self._say_back()
                self._journal.save_mark()
                self._news.wait(_MARK_EVERY_S)
                continue
            following = session.send(records)
            self.sent += len(records)
            self._journal.mark_sent(following)
            self._on_sent(following)
            self._say_back()
            if time.monotonic() - marked_at > _MARK_EVERY_S:
                self._journal.save_mark()
                marked_at = time.monotonic()

    def _say_away(self, reason: str) -> None:
        if not self.is_away:
            self.is_away = True
            said = " ".join(reason.split())
            terminal.say(f"events-api: {said}. Events are kept in {self._folder}", sys.stderr)
        self._on_away()

    def _say_back(self) -> None:
        if self.is_away:
            self.is_away = False
            terminal.say("events-api: Kafka takes events again", sys.stderr)

    @property
    def _folder(self) -> str:
        return str(self._journal.folder)
