"""The parts that run: watched together, ended together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pyspark_vision.clients.local_services import proc
from pyspark_vision.clients.local_services.process import Daemon, ServiceError, wait_until

# Each is asked at once. The job finishes the batch in hand, for which it has ten seconds.
STOP_TIMEOUT_S = 15.0
# A part's log, of which the job writes a line for each batch, is cut when it is larger.
LOG_BYTES = 10 * 1024 * 1024


class PartEndedError(Exception):
    """A part has ended by itself; its name, what it said last, and where the rest stands."""


class Parts:
    """Processes, each in a session of its own that a terminal's signals do not reach.

    Linux kills them with the process that started them; other systems do not.
    """

    def __init__(self) -> None:
        self._started: list[Daemon] = []
        self._others: list[Daemon] = []

    def start(
        self, name: str, command: list[str], folder: Path, environment: Mapping[str, str]
    ) -> Daemon:
        """Start one; its log is ``folder/NAME.log``."""
        part = Daemon(name, command, folder, lambda: True, environment)
        self._started.append(part)
        part.launch()
        return part

    def watch(self, part: Daemon) -> None:
        """One that is started and stopped elsewhere."""
        self._others.append(part)

    def check(self) -> None:
        """Raise :class:`PartEndedError` if one has ended; cut logs that have become large."""
        for part in (*self._others, *self._started):
            if part.has_exited():
                said = _last_lines(part.log)
                raise PartEndedError(f"{part.name} has ended by itself. {part.log} ends:\n{said}")
            cut(part.log)

    def stop(self) -> None:
        """Ask those that were started here to end, all at once, and end what is left of them."""
        running = [part for part in self._started if _runs(part)]
        for part in running:
            part.ask_to_stop()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for part in running:
            wait_until(part.has_exited, max(0.0, deadline - time.monotonic()))
            # The group goes with the one that led it, and here all of the session.
            _kill_session(part.pid)
            part.kill()

    def kill_all(self) -> None:
        """End all that runs, at once; a signal's handler calls it, too."""
        for part in (*self._started, *self._others):
            if _runs(part):
                _kill_session(part.pid)


def _runs(part: Daemon) -> bool:
    """Whether it was started and not ended from here."""
    try:
        return part.pid > 0
    except ServiceError:
        return False


def cut(log: Path, limit_bytes: int = LOG_BYTES) -> None:
    """Move what a large log holds to ``NAME.log.1``; who writes it goes on at its new beginning."""
    try:
        if log.stat().st_size > limit_bytes:
            older = log.with_name(f"{log.name}.1")
            older.write_bytes(log.read_bytes())
            os.truncate(log, 0)
    except OSError:  # a full disk will end a part, and that is said
        pass


def _kill_session(session: int) -> None:
    if sys.platform == "linux":
        proc.signal_all(session, signal.SIGKILL)
        return
    try:
        os.killpg(session, signal.SIGKILL)
    except ProcessLookupError:  # it ended meanwhile
        pass


def _last_lines(log: Path, count: int = 10) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line[:300]}" for line in lines[-count:] if line.strip()) or "  nothing"
