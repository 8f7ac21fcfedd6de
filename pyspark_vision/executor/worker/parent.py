"""A child process that ends when its parent does, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# Of prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies. Nothing happens where it cannot."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux
        pass


def child_environment() -> dict[str, str]:
    """For ``python -m`` of the package, which may come from a zip that only Spark knows of."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
