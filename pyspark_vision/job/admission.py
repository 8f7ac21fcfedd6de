"""Whether a model fits the memory of the executors, asked before a job begins.

Each task of an executor loads the model in a Python worker of its own. Where that cannot work the
job is refused with the numbers, before anything is written; where it may not, it is warned. All
numbers are estimates that rather say too little (:mod:`~pyspark_vision.bundles.memory`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.bundles.memory import WorkerMemory, worker_memory
from pyspark_vision.errors import InvalidModelError, WorkerKilledError
from pyspark_vision.executor.models.machine_memory import oom_kills
from pyspark_vision.spark.error_texts import killed_for_memory
from pyspark_vision.spark.executor_memory import ExecutorMemory, executor_memory

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.bundles import ModelSpec

FITS, TIGHT, TOO_LITTLE, UNKNOWN = "fits", "is tight", "is too little", "is not known"

# A JVM of Spark's holds no less, whatever its heap may grow to.
_LEAST_JVM_BYTES = 300_000_000

# Of the total: what the sum of all workers must pass to be refused, for they may not come together.
_PLAINLY_OVER = 1.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Admission:
    """What a model needs beside what there is.

    ``state``: ``FITS``, ``TIGHT``, ``TOO_LITTLE`` or ``UNKNOWN``; ``numbers``: both; ``advice``:
    what to change, or nothing. Each is one line.
    """

    state: str
    numbers: str
    advice: str

    def __str__(self) -> str:
        """The line of ``--dry-run``."""
        return f"memory {self.state}: {self.numbers}"


def admit(session: SparkSession, spec: ModelSpec) -> Admission:
    """Refuse a model that does not fit, warn of one that may not, for a job on this session.

    Raises :class:`InvalidModelError` with the numbers and the settings. Nothing is said where the
    memory is not known.
    """
    admission = of_session(session, spec)
    if admission.state == TOO_LITTLE:
        raise InvalidModelError(
            f"model {spec.name!r} does not fit in memory: {admission.numbers}. {admission.advice}"
        )
    if admission.state == TIGHT:
        _log.warning(
            "model %r may not fit in memory: %s. %s", spec.name, admission.numbers, admission.advice
        )
    return admission


def of_session(session: SparkSession, spec: ModelSpec) -> Admission:
    """What :func:`admit` finds, without a word of it."""
    return compared(worker_memory(spec), executor_memory(session))


def compared(need: WorkerMemory, have: ExecutorMemory | None) -> Admission:
    """What workers with a model need beside what they have.

    >>> from pyspark_vision.spark.executor_memory import of_settings
    >>> need = WorkerMemory("tensorflow", 553_000_000, 1_000_000_000, 1_700_000_000, 0)
    >>> yarn = of_settings("yarn", {"spark.executor.cores": "4"}.get)
    >>> compared(need, yarn).state
    'is too little'
    >>> print(compared(need, yarn).numbers)
    a worker on tensorflow holds about 1.0 GB (1.7 GB while it loads 553 MB of weights), 4 at a \
time 4.0 GB; an executor's container has 1.5 GB, of which the JVM's heap may take 1.1 GB
    """
    numbers = _need(need, have.workers if have else 1)
    if have is None:
        return Admission(UNKNOWN, f"{numbers}; executors' memory is not known here", "")
    numbers += f"; {_room(have)}"
    advice = f"What helps: {have.settings}{_engine(need)}"
    return Admission(_state(need, have), numbers, advice)


def _state(need: WorkerMemory, have: ExecutorMemory) -> str:
    # Mapped files count as a worker's addresses, too.
    if have.each_worker is not None and need.at_rest + need.shared > have.each_worker:
        return TOO_LITTLE
    if have.total is None:
        return UNKNOWN
    # Pages of files can be given back; of a heap only what is in use is taken.
    jvm = min(have.heap, _LEAST_JVM_BYTES)
    is_over = need.at_rest + jvm > have.total
    if is_over or have.workers * need.at_rest + jvm > _PLAINLY_OVER * have.total:
        return TOO_LITTLE if have.is_certain else TIGHT
    free = have.total - have.heap if have.available is None else have.available - have.heap
    if have.workers * need.peak + need.shared > free:
        return TIGHT
    return FITS


def _need(need: WorkerMemory, workers: int) -> str:
    shared = f" and {_size(need.shared)} together" if need.shared else ""
    return (
        f"a worker on {need.engine} holds about {_size(need.at_rest)} ({_size(need.peak)} while it "
        f"loads {_size(need.weights)} of weights){shared}, {workers} at a time "
        f"{_size(need.of(workers))}"
    )


def _room(have: ExecutorMemory) -> str:
    limits = ""
    if have.each_worker is not None:
        limits = f"; spark.executor.pyspark.memory gives a worker {_size(have.each_worker)}"
    if have.total is None:
        return f"the memory of {have.place} is not known here{limits}"
    free = "" if have.available is None else f" ({_size(have.available)} free)"
    return (
        f"{have.place} has {_size(have.total)}{free}, of which the JVM's heap may take "
        f"{_size(have.heap)}{limits}"
    )


def _engine(need: WorkerMemory) -> str:
    if need.engine == "tensorflow":
        return ", or a LiteRT twin (`pyspark-vision bundle build`), whose weights workers share"
    return ""


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@contextmanager
def deaths_explained(session: SparkSession, spec: ModelSpec) -> Iterator[None]:
    """Raise :class:`WorkerKilledError` for a job that failed because a worker was killed.

    Spark says no more than that a worker "exited unexpectedly"; most often it is the kernel that
    ended it, for want of memory.
    """
    kills = oom_kills()
    try:
        yield
    except Exception as error:
        if not killed_for_memory(str(error)):
            raise
        after = oom_kills()
        is_confirmed = kills is not None and after is not None and after > kills
        raise WorkerKilledError(_why(of_session(session, spec), is_confirmed)) from error


def _why(admission: Admission, is_confirmed: bool) -> str:
    known = (
        "memory ran out: the kernel of this machine ended a process for want of it"
        if is_confirmed
        else "memory ran out, most likely: a Python worker was ended from outside (signal 9)"
    )
    fits = " By these numbers it fits: another process may have taken the memory, or ended it."
    is_odd = admission.state == FITS and not is_confirmed
    return f"{known}; {admission.numbers}.{fits if is_odd else ''} {admission.advice}".rstrip(" .")
