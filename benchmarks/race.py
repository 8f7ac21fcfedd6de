"""Contenders in processes of their own, and races between them: rounds interleaved A B A B."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_services import proc
from local_services.process import DIE_WITH_PARENT

from benchmarks.contenders.protocol import Job
from benchmarks.figures import agreement
from benchmarks.places import ROOT, WORK

# Same pixels, same model: float32 engines decide otherwise only between classes that tie.
MIN_AGREEMENT = 0.98

WARM_UP_ROUNDS = 2

# A contender that is asked to end stops Spark or Ray first; one that hangs is killed after this.
STOP_TIMEOUT_S = 30.0

# Ray reports nothing to anyone.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class ContenderError(RuntimeError):
    """A contender that ended, or did less than it was asked to."""


@dataclass(frozen=True)
class Entry:
    """A contender: its module, what it does, the images of a round, and the core it is bound to.

    ``min_agreement``: on how many of the check pictures it must name the best class of the first.
    ``checkout``: the folder of this project whose code it runs, with the packages of its ``.venv``
    if it has one.
    """

    module: str
    job: Job
    images: int = 0
    pinned_to: int | None = None
    min_agreement: float = MIN_AGREEMENT
    checkout: Path = ROOT

    @property
    def python(self) -> str:
        """The interpreter that has the packages of its checkout."""
        own = self.checkout / ".venv" / "bin" / "python"
        return sys.executable if self.checkout == ROOT or not own.exists() else str(own)


class Process:
    """A running contender or section."""

    def __init__(self, name: str, entry: Entry) -> None:
        self.name = name
        self._images = entry.images
        log = WORK / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        pin = [] if entry.pinned_to is None else ["taskset", "-c", str(entry.pinned_to)]
        # Its Spark ends with it, and it with the benchmark, even with one that was killed.
        tied = [sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid())]
        module = f"benchmarks.{entry.module}"
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [*tied, *pin, entry.python, "-m", module, entry.job.as_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=entry.checkout,
                env=os.environ | _ENVIRONMENT | {"PYSPARK_PYTHON": entry.python},
                text=True,
                start_new_session=True,  # by which all that it starts is found, and ended
            )

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self.log.read_text(errors="replace").splitlines()[-15:]
            raise ContenderError(
                f"{self.name} ended with {self._process.wait()}; {self.log} ends with:\n"
                + "\n".join(last)
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self) -> dict[str, Any]:
        """One round; :class:`ContenderError` if it did not do all its images."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        found = self.answer()
        if found["all_images"] != self._images:
            raise ContenderError(f"{self.name} did {found['all_images']} of {self._images} images")
        return found

    def close(self) -> None:
        """End it, and whatever of it is left."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """At once, with all that it started; also for Ctrl-C."""
        proc.signal_all(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def members(self) -> list[int]:
        """Its processes; a group would not do, since Spark's Python daemon makes its own."""
        return proc.members(self._process.pid)


@contextmanager
def started(name: str, entry: Entry) -> Iterator[Process]:
    """The process until the end of the block; killed where the block failed."""
    process = Process(name, entry)
    try:
        yield process
    except BaseException:
        process.kill()
        raise
    process.close()


def ask(name: str, entry: Entry) -> dict[str, Any]:
    """The one answer of a section."""
    with started(name, entry) as process:
        return process.answer()


@dataclass(frozen=True)
class Race:
    """Images/s of each contender, round by round, and what was seen beside."""

    images_per_s: dict[str, list[float]]
    agreement: dict[str, float]
    checksums: dict[str, float]
    start_seconds: dict[str, float]


def race(
    name: str,
    entries: Mapping[str, Entry],
    rounds: int,
) -> Race:
    """The first of ``entries`` is the one whose answers the others' are held against.

    Two rounds more are run at first and not counted: the JVM compiles what it runs often, and was
    seen to get faster by a tenth until then. Who does fewer images than asked for in a round is an
    error, not fast.
    """
    with ExitStack() as stack:
        running = {}
        top1 = {}
        # One after the other: starting is heavy, and two at a time would disturb each other.
        for key, entry in entries.items():
            running[key] = stack.enter_context(started(_file_name(f"{name}-{key}"), entry))
            top1[key] = running[key].answer()["top1"]
        agreements = _agreements(top1, entries)
        rates: dict[str, list[float]] = {key: [] for key in entries}
        checksums, start_seconds = {}, {}
        for index in range(1 - WARM_UP_ROUNDS, 1 + rounds):
            for key, process in running.items():
                result = process.run()
                rates[key].append(result["images"] / result["seconds"])
                checksums[key] = result["checksum"]
                start_seconds[key] = result["start_seconds"]
            shown = ", ".join(f"{key} {rates[key][-1]:.1f}" for key in entries)
            print(
                f"  {f'round {index}' if index > 0 else 'warm-up'}, images/s: {shown}", flush=True
            )
        rates = {key: seen[WARM_UP_ROUNDS:] for key, seen in rates.items()}
    return Race(rates, agreements, checksums, start_seconds)


def _agreements(
    top1: Mapping[str, Mapping[str, int]], entries: Mapping[str, Entry]
) -> dict[str, float]:
    first, *others = top1
    found = {key: agreement(top1[first], top1[key]) for key in others if top1[key]}
    for key, share in found.items():
        if share < entries[key].min_agreement:
            raise ContenderError(
                f"{key} and {first} agree on {share:.1%} of the check pictures, not on "
                f"{entries[key].min_agreement:.0%}"
            )
    return found


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
