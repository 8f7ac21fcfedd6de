"""A process in a session of its own: all that it starts, a job's JVM among it, ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from local_services.process import DIE_WITH_PARENT


@contextmanager
def in_own_session(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` until the block ends; then nothing of it is left, even by tests that were killed.

    What it prints is added to ``log``.
    """
    with (
        log.open("ab") as file,
        subprocess.Popen(
            [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            kill_session(process)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to it and to what it has started, its JVM among it; workers end with their JVM."""
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
