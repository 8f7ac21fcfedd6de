"""How a contender, a process of its own, talks with the race: one line in, one line of JSON out.

It prints ``{"ready": true, "top1": {id: class}}`` once everything is warm: processes started, model
loaded, the check pictures done twice, with what it says of them. After that, each line ``run`` on
its stdin is one counted round, and the end of stdin is the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """What one contender does: pictures, model, and how.

    ``dataset`` and ``check`` are Parquet folders of ``id, content``, or of ``id, uri`` with a
    ``uri_prefix``; ``start`` is a dataset for those who start anew for each query. ``model`` is a
    bundle or a .tflite file of the library's, ``weights`` the file that others load. ``options``
    are a section's own.
    """

    dataset: str = ""
    check: str = ""
    start: str = ""
    model: str = ""
    weights: str = ""
    task: str = "classify"
    engine: str = "auto"
    precision: str = "float32"
    cores: int = 2
    exact: bool = False
    uri_prefix: str = ""
    spark_conf: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """The one argument of a contender's process."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Outcome:
    """What a round gave: pictures with a result, and the sum of their best classes."""

    images: int
    checksum: float


@dataclass(frozen=True)
class Contender:
    """``check`` tells the best class of each check picture, by id; ``run`` does the whole dataset.

    ``run_start``: for a system that starts its workers and loads its model anew for each query, a
    query over a few pictures. Its time and pictures are taken off each round's, so that what is
    compared is warm.
    """

    check: Callable[[], dict[int, int]]
    run: Callable[[], Outcome]
    close: Callable[[], None] = lambda: None
    run_start: Callable[[], Outcome] | None = None


def serve(make: Callable[[Job], Contender]) -> None:
    """The main program of every contender."""
    answers = _private_stdout()
    contender = make(Job(**json.loads(sys.argv[1])))
    contender.check()
    top1 = contender.check()
    _answer(answers, {"ready": True, "top1": top1})
    for _ in sys.stdin:
        _answer(answers, _round(contender))
    contender.close()


def serve_section(measure: Callable[[Job], dict[str, Any]]) -> None:
    """The main program of a section that is no race: it measures once and answers."""
    answers = _private_stdout()
    _answer(answers, measure(Job(**json.loads(sys.argv[1]))))


def _round(contender: Contender) -> dict[str, Any]:
    start, start_seconds = Outcome(0, 0.0), 0.0
    if contender.run_start is not None:
        start, start_seconds = _timed(contender.run_start)
    whole, seconds = _timed(contender.run)
    return {
        "images": whole.images - start.images,
        "seconds": seconds - start_seconds,
        "checksum": whole.checksum,
        "all_images": whole.images,
        "start_seconds": start_seconds,
    }


def _timed(run: Callable[[], Outcome]) -> tuple[Outcome, float]:
    started = time.perf_counter()
    outcome = run()
    return outcome, time.perf_counter() - started


def _private_stdout() -> int:
    """The pipe to the race; what libraries print goes to stderr, which is a log file."""
    answers = os.dup(1)
    os.dup2(2, 1)
    os.set_inheritable(answers, False)
    return answers


def _answer(answers: int, value: dict[str, Any]) -> None:
    os.write(answers, (json.dumps(value) + "\n").encode())
