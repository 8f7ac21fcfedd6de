"""The memory that Spark's settings give to an executor and its Python workers, as far as they say.

Defaults are those of Spark's documentation (configuration.html, running-on-kubernetes.html).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark_vision.executor.models import machine_memory
from pyspark_vision.spark.internals import executor_count
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MIB = 1024 * 1024

# spark.executor.memory and spark.driver.memory.
_HEAP = "1g"
# spark.executor.minMemoryOverhead; spark.executor.memoryOverheadFactor, and the one that
# Kubernetes takes for jobs in Python.
_LEAST_OVERHEAD = "384m"
_OVERHEAD_FACTOR = 0.1
_KUBERNETES_OVERHEAD_FACTOR = 0.4

_UNITS = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024**2, "p": 1024**3}
_SIZE = re.compile(r"(\d+)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)

_LOCAL = re.compile(r"local(?:\[(\*|\d+)(?:\s*,\s*\d+)?\])?")
_LOCAL_CLUSTER = re.compile(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]")

# Setting -> its value, None where it is not set.
Settings = Callable[[str], str | None]


@dataclass(frozen=True)
class ExecutorMemory:
    """What Python workers share with a JVM, in bytes; sizes that are not known are ``None``.

    - ``workers``: how many tasks, and so workers, there are at a time.
    - ``total``: what all may take together; ``available``: what is free of it now, where that is
      known before the job runs.
    - ``heap``: what JVMs may grow to within it.
    - ``each_worker``: the limit of a worker's addresses (``spark.executor.pyspark.memory``).
    - ``place``: what has the total, in words; ``settings``: what changes it, for people.
    - ``is_certain``: it is there that the workers will run.
    """

    workers: int
    total: int | None
    available: int | None
    heap: int
    each_worker: int | None
    place: str
    settings: str
    is_certain: bool = True


def executor_memory(session: SparkSession) -> ExecutorMemory | None:
    """Of the session's executors; ``None`` under Connect, whose settings are the server's own."""
    if is_connect(session):
        return None
    context = session.sparkContext
    conf = context.getConf()
    return of_settings(context.master or "", lambda key: conf.get(key, None))


def asked_of_executors(session: SparkSession) -> ExecutorMemory | None:
    """As :func:`executor_memory`, with the machines' own word: tasks look where they run.

    Of several executors the least counts; one that had no task is not known.
    """
    have = executor_memory(session)
    context = session.sparkContext
    if have is None or (context.master or "").startswith("local"):
        return have
    tasks = 2 * context.defaultParallelism

    def look(_: Iterable[int]) -> Iterator[tuple[int, int, bool, str]]:
        import socket
        import time

        from pyspark_vision.executor.models import machine_memory

        time.sleep(0.1)  # so that one quick executor does not take the tasks of all
        memory = machine_memory.memory()
        if memory is not None:
            yield memory.total, memory.available, memory.is_container, socket.gethostname()

    answers = context.parallelize(range(tasks), tasks).mapPartitions(look).collect()
    if not answers:
        return have
    total, available, is_container, host = min(answers)
    if have.total is None or total < have.total or not have.is_certain:
        kind = "the container of an executor" if is_container else "the machine of an executor"
        have = replace(have, total=total, available=available, place=f"{kind}, {host},")
    conf = context.getConf()
    if conf.get("spark.executor.cores", None) is None:
        slots = context.defaultParallelism // max(1, executor_count(session))
        cpus = max(1, int(conf.get("spark.task.cpus", None) or 1))
        have = replace(have, workers=max(1, slots // cpus))
    return replace(have, is_certain=True)


def of_settings(
    master: str,
    setting: Settings,
    here: Callable[[], machine_memory.Memory | None] | None = None,
    cores_here: int | None = None,
) -> ExecutorMemory | None:
    """As :func:`executor_memory`; ``here``: this machine's memory. ``None``: an unknown master."""
    here = here or machine_memory.memory
    cores_here = cores_here or len(os.sched_getaffinity(0))
    cpus = max(1, int(setting("spark.task.cpus") or 1))
    if local := _LOCAL.fullmatch(master):
        cores = cores_here if local.group(1) == "*" else int(local.group(1) or 1)
        heap = _bytes(setting("spark.driver.memory") or _HEAP)
        fewer = "fewer tasks at a time (--master local[N], spark.task.cpus)"
        return _here(here(), max(1, cores // cpus), heap, _each(setting, cores), fewer)
    if cluster := _LOCAL_CLUSTER.fullmatch(master):
        executors, cores, heap_mib = map(int, cluster.groups())
        heap = executors * heap_mib * _MIB + _bytes(setting("spark.driver.memory") or _HEAP)
        workers = executors * max(1, cores // cpus)
        return _here(here(), workers, heap, _each(setting, cores), "fewer executors or cores")
    if master == "yarn" or master.startswith("k8s://"):
        return _container(master, setting, cpus)
    if master.startswith("spark://"):
        return _standalone(master, setting, cpus, here, cores_here)
    return None


def _here(
    memory: machine_memory.Memory | None,
    workers: int,
    heap: int,
    each_worker: int | None,
    fewer: str,
) -> ExecutorMemory:
    in_container = memory is not None and memory.is_container
    more = "a larger limit of its container" if in_container else "a machine with more memory"
    return ExecutorMemory(
        workers=workers,
        total=memory.total if memory else None,
        available=memory.available if memory else None,
        heap=heap,
        each_worker=each_worker,
        place="this container" if in_container else "this machine",
        settings=f"{fewer}, {more}",
    )


def _container(master: str, setting: Settings, cpus: int) -> ExecutorMemory:
    on_kubernetes = master.startswith("k8s://")
    heap = _bytes(setting("spark.executor.memory") or _HEAP)
    overhead = setting("spark.executor.memoryOverhead")
    if overhead is None:
        factor = setting("spark.executor.memoryOverheadFactor")
        if factor is None and on_kubernetes:
            factor = setting("spark.kubernetes.memoryOverheadFactor")
        usual = _KUBERNETES_OVERHEAD_FACTOR if on_kubernetes else _OVERHEAD_FACTOR
        least = _bytes(setting("spark.executor.minMemoryOverhead") or _LEAST_OVERHEAD)
        beside = max(least, int(heap * (float(factor) if factor else usual)))
    else:
        beside = _bytes(overhead)
    for more in ("spark.executor.pyspark.memory", "spark.memory.offHeap.size"):
        if more != "spark.memory.offHeap.size" or setting("spark.memory.offHeap.enabled") == "true":
            beside += _bytes(setting(more) or "0")
    cores = int(setting("spark.executor.cores") or 1)
    return ExecutorMemory(
        workers=max(1, cores // cpus),
        total=heap + beside,
        available=None,
        heap=heap,
        each_worker=_each(setting, cores),
        place="an executor's container",
        settings="--conf spark.executor.memoryOverhead=…, fewer tasks at a time in an executor "
        "(spark.executor.cores, spark.task.cpus)",
    )


def _standalone(
    master: str,
    setting: Settings,
    cpus: int,
    here: Callable[[], machine_memory.Memory | None],
    cores_here: int,
) -> ExecutorMemory:
    """Nothing limits workers there but the memory of their machine.

    It is this one, most likely, where the master is; another's is not known before a task runs.
    """
    hosts = {address.rpartition(":")[0] for address in master.removeprefix("spark://").split(",")}
    memory = here() if hosts <= {"localhost", "127.0.0.1", "::1", socket.gethostname()} else None
    asked = setting("spark.executor.cores") or setting("spark.cores.max")
    cores = min(int(asked), cores_here) if asked and memory else int(asked or cores_here)
    return ExecutorMemory(
        workers=max(1, cores // cpus),
        total=memory.total if memory else None,
        available=memory.available if memory else None,
        heap=_bytes(setting("spark.executor.memory") or _HEAP),
        each_worker=_each(setting, cores),
        place="this machine" if memory else "an executor's machine",
        settings="fewer tasks at a time on a machine (--conf spark.executor.cores=…, "
        "spark.cores.max, spark.task.cpus)",
        is_certain=False,
    )


def _each(setting: Settings, cores: int) -> int | None:
    """Spark divides it among an executor's cores, not its tasks (PythonRunner)."""
    together = setting("spark.executor.pyspark.memory")
    return _bytes(together) // max(1, cores) if together else None


def _bytes(size: str) -> int:
    """A size as Spark reads those of executors: MiB without a unit.

    >>> _bytes("2g"), _bytes("512"), _bytes("1536 MB")
    (2147483648, 536870912, 1610612736)
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None:  # Spark has refused it before it came here
        return 0
    return int(int(match[1]) * _UNITS[(match[2] or "m").lower()] * _MIB)
