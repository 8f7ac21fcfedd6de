"""`pyspark-vision replay` in the background: the page's button that puts dead letters back."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SHOWN_LINES = 12
_MAX_LINE = 400
_STOP_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class ReplayStatus:
    """``ended_at``: ``None`` while it runs; times in seconds since 1970; ``lines``: the last that
    it printed."""

    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    lines: Sequence[str] = field(default=())


def default_checkpoint(servers: str, topic: str) -> str:
    """A folder of this user for the letters of this topic: the next page knows what went back."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    place = hashlib.sha256(f"{servers}\0{topic}".encode()).hexdigest()[:12]
    name = "".join(char if char.isalnum() or char in "-_." else "_" for char in topic)[:80]
    return str(Path(state) / "pyspark_vision" / "replay" / f"{name}-{place}")


def replay_command(
    topic: str, checkpoint: str, servers: str, settings: Sequence[str] = ()
) -> list[str]:
    """The words of the process; ``settings``: of Spark, as ``spark.jars=…``."""
    command = [sys.executable, "-m", "pyspark_vision.cli.main", "replay", f"kafka:{topic}"]
    command += ["--checkpoint", checkpoint, "--kafka-servers", servers]
    # Beside a job on this machine: one core is enough to put letters back.
    command += ["--master", "local[1]", "--conf", "spark.ui.enabled=false"]
    return command + [word for setting in settings for word in ("--conf", setting)]


class Replay:
    """One run at a time, in a process of its own."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._status: ReplayStatus | None = None

    @property
    def status(self) -> ReplayStatus | None:
        """The last run; ``None`` before the first."""
        with self._lock:
            return self._status

    def start(self) -> bool:
        """Start a run; ``False`` if one is on its way."""
        with self._lock:
            if self._process is not None:
                return False
            began_at = time.time()
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    # Ctrl-C reaches the page, which ends it.
                    start_new_session=True,
                )
            except OSError as error:
                self._status = ReplayStatus(began_at, time.time(), 1, (str(error),))
                return True
            self._status = ReplayStatus(began_at)
            threading.Thread(
                target=self._follow, args=(self._process, began_at), name="live-replay", daemon=True
            ).start()
            return True

    def stop(self) -> None:
        """End a run that is on its way, with all that it has started."""
        with self._lock:
            process = self._process
        if process is None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, how)
                process.wait(_STOP_TIMEOUT_S)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue
            return

    def _follow(self, process: subprocess.Popen[str], began_at: float) -> None:
        lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        assert process.stdout is not None
        with process.stdout as printed:
            for line in printed:
                if not line.strip():
                    continue
                lines.append(line.rstrip()[:_MAX_LINE])
                with self._lock:
                    self._status = ReplayStatus(began_at, lines=tuple(lines))
        code = process.wait()
        with self._lock:
            self._process = None
            self._status = ReplayStatus(began_at, time.time(), code, tuple(lines))
