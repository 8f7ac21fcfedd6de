"""Processes that the benchmark starts, and ends by their ids, also where it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from local_services import proc
from local_services.process import DIE_WITH_PARENT, wait_until

from benchmarks.places import ROOT, WORK

# A batch in hand, and the end of Spark; what is left then is killed.
_STOP_TIMEOUT_S = 30.0


class StreamFailedError(RuntimeError):
    """A process that ended, or gave no results; the message ends with what it last logged."""


class Child:
    """A process in a session of its own, by which all that it starts is found."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.process = process
        self._cpu_s: dict[tuple[int, int], float] = {}

    def check(self) -> None:
        """Raise :class:`StreamFailedError` if it has ended with an error."""
        if self.process.poll():
            raise self.failure(f"ended with {self.process.returncode}")

    def failure(self, what: str) -> StreamFailedError:
        """What went wrong, and the end of the log."""
        last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return StreamFailedError(f"{self.name} {what}; {self.log} ends with:\n{last}")

    def resident_mb(self) -> dict[str, float]:
        """Memory of its JVM, and of its Python processes together."""
        found = {"jvm": 0.0, "python": 0.0}
        for pid in self._members():
            kind = "jvm" if "java" in proc.command_line(pid).split(" ", 1)[0] else "python"
            found[kind] += proc.memory_mb(pid, "VmRSS")
        return found

    def cpu_s(self) -> float:
        """Seconds of processor time that its processes have had, as far as this has seen them.

        With those that have ended: Spark's daemon ends workers that are idle for a minute, and
        ignores their signal, so that Linux adds what they had to nobody's.
        """
        self._cpu_s.update(proc.cpu_s_by_process(self.process.pid))
        return sum(self._cpu_s.values())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No processor time for any of them until the end of the block."""
        proc.signal_all(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            proc.signal_all(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM to the first process, and SIGKILL to all that is left of them."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            wait_until(self._is_gone, _STOP_TIMEOUT_S)
        finally:
            proc.signal_all(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _is_gone(self) -> bool:
        return self.process.poll() is not None and not self._members()

    def _members(self) -> list[int]:
        return proc.members(self.process.pid)


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    answers: bool = False,
) -> Iterator[Child]:
    """The process until the end of the block; what it prints is logged, or ``answers`` to read."""
    log = WORK / "logs" / f"latency-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # It ends with the benchmark, even with one that was killed.
    tied = [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid())]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*tied, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if answers else output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            text=True,
            start_new_session=True,
        ) as process,
    ):
        child = Child(name, process, log)
        try:
            yield child
        finally:
            child.stop()
