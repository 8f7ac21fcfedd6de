"""Rows that kill their worker: on a task's retry each row is worked on in a child process.

A decoder or an engine can crash, be killed for memory, or hang in native code on one picture of a
million. Spark then loses the Python worker and tries the task again, to the same end, until the job
fails. So a retry does its work in a child, one row at a time: if the child hangs, or dies twice,
that row gets an error, a new child takes over, and the other rows are as they would have been.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.executor.worker.parent import child_environment, end_with_parent

# Loading a model takes seconds, a large one from a cold disk a minute or more.
START_TIMEOUT_S = 300.0

_LENGTH = struct.Struct("!Q")

_SIGKILL = 9

# A row as plain values: value, width, height, error code, error message, decode_ms, model_ms and
# warnings.
_Plain = tuple[Any, ...]


class IsolatedRows:
    """A predictor's ``predict`` and ``stream``, each source in a child that may die of it.

    ``arguments``: what :func:`isolated_child.predictor` makes the child's predictor of.
    """

    batch_rows = 1

    def __init__(self, arguments: object, row_timeout_s: float) -> None:
        self._arguments = arguments
        self._row_timeout_s = row_timeout_s
        self._child: _Child | None = None

    def predict(self, sources: Iterable[Any]) -> list[Row]:
        """One row per source, in order."""
        return [rows[0] for rows in self.stream(sources)]

    def stream(self, sources: Iterable[Any]) -> Iterator[list[Row]]:
        """The rows of each source's pictures, in order."""
        for source in sources:
            yield self._rows(source)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _rows(self, source: Any) -> list[Row]:
        if isinstance(source, RowError):
            return [Row(error=source)]
        try:
            return self._answer(source)
        # The task may have been lost for another reason, and the child to whoever kills processes
        # when memory is short: one death does not say that it was this row.
        except _ChildDied:
            self.close()
        except _ChildLost as lost:
            return self._crashed(lost)
        try:
            return self._answer(source)
        except _ChildLost as lost:
            return self._crashed(lost)

    def _answer(self, source: Any) -> list[Row]:
        if self._child is None:
            self._child = _Child(self._arguments)
        return [_row_of(plain) for plain in self._child.ask(source, self._row_timeout_s)]

    def _crashed(self, lost: _ChildLost) -> list[Row]:
        self.close()
        return [Row(error=RowError(ErrorCode.CRASHED, str(lost)))]


class _ChildLost(Exception):
    """The child died or hung on this row; says how."""


class _ChildDied(_ChildLost):
    """The child ended by itself, or was ended."""


class _Child:
    def __init__(self, arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pyspark_vision.executor.worker.isolated_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        try:
            self.ask(arguments, START_TIMEOUT_S)
        except _ChildLost as lost:
            # Not the row's fault: the task fails as it would have, with the child's own words
            # in the executor's log.
            raise RuntimeError(f"a process of its own could not be started: {lost}") from None

    def ask(self, question: object, timeout_s: float) -> Any:
        try:
            _write(self._stdin, question)
        except BrokenPipeError:
            raise _ChildDied(self._ended()) from None
        deadline = time.monotonic() + timeout_s
        ready, _, _ = select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            self.kill()
            raise _ChildLost(f"its process did not answer within {timeout_s:g} s, more than once")
        answer = _read(self._stdout)
        if answer is None:
            raise _ChildDied(self._ended())
        return pickle.loads(answer)  # from our own child, never from a file or a message

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        try:
            self._stdin.close()
        except BrokenPipeError:  # what it had not read yet goes with it
            pass
        self._stdout.close()

    def _ended(self) -> str:
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        # The kernel's way to find memory; few others send it.
        why = "memory ran out, most likely: " if code == -_SIGKILL else ""
        return f"{why}its process {how}, more than once"


def serve(make_rows: Callable[[Any], Callable[[Any], list[Row]]]) -> None:
    """The child's program: arguments first, then a source each, and its rows back for each."""
    end_with_parent()  # where the kernel does not, the closed pipe ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not stand between the answers
    questions = _questions(sys.stdin.buffer)
    rows_of = make_rows(next(questions))
    _write(answers, "ready")
    for source in questions:
        _write(answers, [_plain(row) for row in rows_of(source)])


def _questions(stream: IO[bytes]) -> Iterator[Any]:
    while (question := _read(stream)) is not None:
        yield pickle.loads(question)  # from the worker that started this process


def _write(stream: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    """``None`` at the end, also in the middle of a value."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None


def _plain(row: Row) -> _Plain:
    error = (None, None) if row.error is None else (row.error.code, row.error.message)
    return (row.value, row.width, row.height, *error, row.decode_ms, row.model_ms, row.warnings)


def _row_of(plain: _Plain) -> Row:
    value, width, height, code, message, decode_ms, model_ms, warnings = plain
    error = None if code is None else RowError(code, message)
    return Row(value, width, height, error, decode_ms, model_ms, warnings)
