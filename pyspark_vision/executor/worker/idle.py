"""Between two tasks a Python worker waits for the next; Spark may close its socket meanwhile.

Spark does so after a minute, and when the session stops. Over TCP the worker then ends without a
word. Over Unix sockets, which our sessions choose in local mode, its last words to the JVM fail,
and it prints a traceback (``BrokenPipeError`` in ``pyspark/daemon.py``) that a reader takes for a
failure of the job. With the system's own answer to a write that nobody reads, SIGPIPE, it ends
without a word there, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

# Set by Spark for its workers; a process of another kind keeps its ways. Unknown: a worker that
# ends between two tasks may print a traceback.
_ON_UNIX_SOCKETS = "PYTHON_UNIX_DOMAIN_ENABLED"


def in_task(pieces: Iterable[Any]) -> Iterator[Any]:
    """``pieces``, which a task computes; before and after them the worker waits.

    While it works, a broken connection to a store is an error that code can handle.
    """
    _on_broken_pipe(signal.SIG_IGN)  # as Python starts
    try:
        yield from pieces
    finally:
        wait_quietly()


def wait_quietly() -> None:
    """From now on, end without a word where nobody reads any more."""
    _on_broken_pipe(signal.SIG_DFL)


def _on_broken_pipe(action: signal.Handlers) -> None:
    if os.environ.get(_ON_UNIX_SOCKETS, "").lower() != "true":
        return
    try:
        signal.signal(signal.SIGPIPE, action)
    except ValueError:  # not in the main thread, which alone may say so
        return
