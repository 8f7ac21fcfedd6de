"""Where a process's start goes: time and calls to the JVM, phase by phase.

Each moment of the first thread belongs to the innermost phase, and so does each call to the JVM,
of whatever thread. Nothing is imported here that a job does not import anyway.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass
class Phase:
    """Seconds of the clock, and calls from Python to the JVM."""

    seconds: float = 0.0
    calls: int = 0


@dataclass
class Phases:
    """The phases of this process, which ``began_at`` (``time.monotonic``, one for the machine)."""

    began_at: float
    file: Path
    phases: dict[str, Phase] = field(default_factory=dict)
    _stack: list[str] = field(default_factory=list)
    _since: float = 0.0

    @classmethod
    def from_argv(cls, first: str) -> Phases:
        """Takes two arguments off the command line: when the process began, and where to write."""
        began_at, file = sys.argv[1:3]
        del sys.argv[1:3]
        return cls(float(began_at), Path(file), _stack=[first], _since=float(began_at))

    def next(self, name: str) -> None:
        """What this thread does outside of every other phase is another phase from now on."""
        self._note()
        self._stack[0] = name

    def timed(self, name: str, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """``function``, whose calls by the first thread are a phase."""

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self._note()
            self._stack.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._note()
                self._stack.pop()

        return call

    def count_calls(self) -> None:
        """From now on; py4j sends each call by one method."""
        from py4j.java_gateway import GatewayClient

        client: Any = GatewayClient
        send = client.send_command

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._now().calls += 1
            return send(*args, **kwargs)

        client.send_command = counted

    def write(self) -> None:
        """The phases so far, for who has started this process."""
        self._note()
        found = {name: asdict(phase) for name, phase in self.phases.items()}
        self.file.write_text(json.dumps(found), encoding="utf-8")

    def _now(self) -> Phase:
        return self.phases.setdefault(self._stack[-1], Phase())

    def _note(self) -> None:
        now = time.monotonic()
        self._now().seconds += now - self._since
        self._since = now
