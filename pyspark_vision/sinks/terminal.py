"""Standard output and error that no letter and no closed pipe can break.

A terminal of another encoding than UTF-8 (``LC_ALL=C``, ``PYTHONIOENCODING=ascii``, cp1252) has not
every letter that a label or a file name has, ``job | head`` closes the pipe, a window is closed
with what runs in it, a log fills its disk, and ``>&-`` or a careless service starts a program with
no stream at all: none of them may end a stream.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO

# An escape says which letter it was, and is ASCII.
_ERRORS = "backslashreplace"


def make_tolerant() -> None:
    """Let ``sys.stdout`` and ``sys.stderr`` write escapes for letters that they lack.

    Where they are those that Python opened, what is written after their reader has gone goes
    nowhere, and of standard error also what its disk has no room for. Streams that somebody else
    has put there keep their own way with that. One that was closed at the start goes nowhere.
    """
    _fill_closed()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Unbreakable) or not isinstance(stream, io.TextIOWrapper):
            continue
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _unbreakable(stream))
        else:
            stream.reconfigure(errors=_ERRORS)


def say(text: str, stream: TextIO) -> bool:
    """Print a line to any stream, with escapes for what it lacks.

    ``False`` if nobody reads it, or it cannot be written: no more comes then.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, _ERRORS).decode(encoding), file=stream, flush=True)
    except OSError:
        leave(stream)
        return False
    return True


def is_read(stream: TextIO) -> bool:
    """Whether somebody may still read what is written; ``False`` once a pipe's reader has gone."""
    if isinstance(stream, _Unbreakable) and stream.is_left:
        return False
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # closed, or of no file
        return True
    watched = select.poll()
    watched.register(descriptor, 0)
    return not any(event & select.POLLERR for _, event in watched.poll(0))


def leave(stream: TextIO) -> None:
    """Let what is in a stream that cannot be written, and what comes, go nowhere.

    Else Python tries once more at its end, and says so in lines that nobody can use.
    """
    if isinstance(stream, _Unbreakable):
        stream.leave()


class _Unbreakable(io.TextIOWrapper):
    """A text stream that goes on without a reader."""

    is_left = False
    # A closed terminal gives the error of a broken disk (EIO).
    gone: tuple[type[OSError], ...] = (BrokenPipeError,)

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except self.gone:
            self.leave()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except self.gone:
            self.leave()
            super().flush()

    def leave(self) -> None:
        self.is_left = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def _unbreakable(stream: io.TextIOWrapper) -> TextIO:
    """Another stream on the same descriptor; ``stream`` stays usable for who holds it already."""
    try:
        stream.flush()
        stream.reconfigure(errors=_ERRORS)
        binary = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115 (as long as the process)
    except (OSError, ValueError):  # closed, or of no file: there is nothing to save
        return stream
    unbreakable = _Unbreakable(
        binary,
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    if stream.isatty() or stream is sys.__stderr__:
        unbreakable.gone = (OSError,)
    return unbreakable


def _fill_closed() -> None:
    """Put what goes nowhere in the place of standard streams that are closed.

    Else the next files that are opened get their numbers, and what a library tells standard error
    is written into a file of results.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free; those below are taken by now.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
