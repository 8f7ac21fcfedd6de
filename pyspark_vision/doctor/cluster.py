"""Spark itself: whether it starts, and what its executors run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark_vision.doctor import machine
from pyspark_vision.spark.internals import (
    FILE_NAME_CHARSET,
    executor_count,
    file_name_charset,
)
from pyspark_vision.spark.java_errors import Problem
from pyspark_vision.spark.network import refusal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START_TIMEOUT_S = 120.0
# A cluster with room for them starts executors within seconds; YARN takes the longest.
EXECUTORS_TIMEOUT_S = 90.0

_ONE_ENVIRONMENT = (
    "Rows would depend on which executor they meet: give all of them one environment "
    "(scripts/submit --ship-environment, or an image)"
)


@dataclass(frozen=True)
class Worker:
    """The Python that an executor's host runs."""

    host: str
    executable: str
    python: str
    versions: tuple[tuple[str, str | None], ...]


def start(master: str | None) -> SparkSession:
    """A session on ``master``, or on the one that spark-submit was given."""
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    from pyspark_vision.spark import own_jvm
    from pyspark_vision.spark.session import use_own_python_locally

    own_jvm.start({"spark.master": master} if master else {})
    conf = SparkConf()
    if master:
        conf.setMaster(master)
    _check_master(conf.get("spark.master") or "local[*]")
    for key, value in (
        ("spark.app.name", "pyspark-vision doctor"),
        ("spark.ui.enabled", "false"),
        ("spark.ui.showConsoleProgress", "false"),
        # What is wrong is said in one line; Spark's own words are hundreds.
        ("spark.log.level", "OFF"),
    ):
        conf.set(key, value)
    session = SparkSession.builder.config(conf=conf).getOrCreate()
    use_own_python_locally(session)
    return session


def _check_master(master: str) -> None:
    """Say at once what Spark would try for minutes."""
    if master.startswith("spark://"):
        for address in master.removeprefix("spark://").split(","):
            if why := refusal(address):
                raise Problem(
                    f"no master at {address}: {why}",
                    "Start it, or correct --master to what its page shows (spark://HOST:PORT)",
                )
    elif master == "yarn" and not {"HADOOP_CONF_DIR", "YARN_CONF_DIR"} & set(os.environ):
        raise Problem(
            "--master yarn, and neither HADOOP_CONF_DIR nor YARN_CONF_DIR is set",
            "Set HADOOP_CONF_DIR to the folder with the cluster's yarn-site.xml and core-site.xml",
        )


def executors(session: SparkSession) -> str:
    """Python and packages of every executor, compared with each other and with the driver."""
    from pyspark_vision.spark.session import check_workers

    _wait_for_executors(session)
    check_workers(session)
    workers, asked = _ask_workers(session)
    return f"{asked} on {compare(workers)}"


def file_names(session: SparkSession) -> str:
    """Driver and executors name files alike, in an encoding that has every letter."""
    from pyspark_vision.spark.file_names import same_charset

    # Evaluated by the executors' JVMs; in local mode the driver's is the one.
    charset = f"java_method('java.lang.System', 'getProperty', '{FILE_NAME_CHARSET}') AS charset"
    tasks = 2 * session.sparkContext.defaultParallelism
    rows = session.range(0, tasks, 1, tasks).selectExpr(charset).distinct().collect()
    on_driver = file_name_charset(session)
    charsets = [("the driver", on_driver), *(("executors", row["charset"]) for row in rows)]
    wrong = [f"{where}: {name}" for where, name in charsets if not same_charset(name, "utf-8")]
    if wrong:
        raise Problem(
            f"Java takes names of local files for another encoding than UTF-8 ({', '.join(wrong)}):"
            " those with letters beyond ASCII are misnamed or not found",
            "Set LC_ALL=C.UTF-8 before spark-submit, and on a cluster --conf "
            "spark.executorEnv.LC_ALL=C.UTF-8",
        )
    return f"{on_driver}, driver and executors"


def compare(workers: Iterable[Worker]) -> str:
    """What executors run, and how the driver differs; raise if they differ from each other."""
    by_host = sorted(workers, key=lambda worker: worker.host)
    for worker in by_host:
        where = f"{worker.executable} on {worker.host}"
        machine.check_versions(dict(worker.versions), where, _ONE_ENVIRONMENT)
    if differing := list(_differences(by_host)):
        raise Problem(f"executors differ: {'; '.join(differing)}", _ONE_ENVIRONMENT)
    first, versions = by_host[0], tuple(machine.versions().items())
    driver = Worker("driver", sys.executable, machine.python_version(), versions)
    remarks = "; ".join(_differences([driver, first]))
    hosts = ", ".join(sorted({worker.host for worker in by_host}))
    listed = ", ".join(f"{name} {version}" for name, version in first.versions if version)
    same = f"; the driver differs (driver / executors): {remarks}" if remarks else ", as here"
    return f"{hosts}: Python {first.python} ({first.executable}), {listed}{same}"


def _wait_for_executors(session: SparkSession) -> None:
    deadline = time.monotonic() + EXECUTORS_TIMEOUT_S
    while not executor_count(session):
        if time.monotonic() > deadline:
            conf = session.sparkContext.getConf()
            raise Problem(
                f"no executor came within {EXECUTORS_TIMEOUT_S:g} s",
                "Look at the cluster's page: free cores and memory "
                f"(spark.executor.memory={conf.get('spark.executor.memory', '1g')}), and whether "
                f"its nodes reach this driver at {conf.get('spark.driver.host')}",
            )
        time.sleep(0.5)


def _ask_workers(session: SparkSession) -> tuple[set[Worker], str]:
    """Let tasks say where they run until every executor had one; (what they said, how many)."""
    context = session.sparkContext
    tasks = 2 * context.defaultParallelism

    def ask(_: Iterable[int]) -> Iterator[tuple[tuple[str, int], tuple[Any, ...]]]:
        import os
        import socket
        import sys
        import time

        from pyspark_vision.doctor import machine

        time.sleep(0.2)  # so that one quick executor does not take the tasks of all
        versions = tuple(machine.versions().items())
        host = socket.gethostname()
        worker = host, sys.executable, machine.python_version(), versions
        # An executor forks its workers from one process.
        yield (host, os.getppid()), worker

    executors: set[tuple[str, int]] = set()
    workers: set[Worker] = set()
    for _ in range(5):
        rows = context.parallelize(range(tasks), tasks).mapPartitions(ask).collect()
        executors |= {executor for executor, _ in rows}
        workers |= {Worker(*worker) for _, worker in rows}
        count = executor_count(session)
        if len(executors) >= count:
            break
    return workers, f"{len(executors)} of {max(count, len(executors))} executors"


def _differences(workers: list[Worker]) -> Iterator[str]:
    """``numpy 2.4.6 / 2.3.1`` for what is not the same on all, in their order."""
    pythons = dict.fromkeys(worker.python for worker in workers)
    if len(pythons) > 1:
        yield f"Python {' / '.join(pythons)}"
    for name, _ in workers[0].versions:
        versions = dict.fromkeys(dict(worker.versions)[name] or "none" for worker in workers)
        if len(versions) > 1:
            yield f"{name} {' / '.join(versions)}"
