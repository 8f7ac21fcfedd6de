"""The parts of a job's cost that grow with the cluster, measured here: for docs/speed.md's plan.

python -m benchmarks.scale: what the driver spends on a task, what a Python worker adds to one, and
how long a model takes to the executors of local-cluster[4,1,1024].
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa  # Spark looks up a UDF's annotations

TASKS, PYTHON_TASKS, ROUNDS, EXECUTORS = 1000, 100, 3, 4
MODEL_MB = 14  # MobileNetV2 in float32


_UNIX_SOCKETS = {"spark.python.unix.domain.socket.enabled": "true"}

# How workers are reached and kept; the first is what most clusters have.
_WORKERS: dict[str, dict[str, str]] = {
    "TCP": {},
    "Unix sockets": _UNIX_SOCKETS,
    "Unix sockets, a new worker for each task": {
        **_UNIX_SOCKETS,
        "spark.python.worker.reuse": "false",
    },
}


def session(master: str, settings: Mapping[str, str]) -> Any:
    """A quiet session."""
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.master(master)
        .config(map=dict(settings))
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def median_s(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Of ``rounds`` after one that is not counted."""
    seconds = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def tasks() -> None:
    """ms for each task: empty, and with a Python worker that does nothing."""
    from pyspark.sql import functions as F

    def write(frame: Any) -> None:
        frame.write.format("noop").mode("overwrite").save()

    def same(values: pa.Array) -> pa.Array:
        return values

    for name, settings in _WORKERS.items():
        spark = session("local[2]", settings)
        empty_s = median_s(partial(write, spark.range(0, TASKS, 1, TASKS)))
        identity = F.arrow_udf(same, "long")  # type: ignore[attr-defined] # not in PySpark's hints
        frame = spark.range(0, PYTHON_TASKS, 1, PYTHON_TASKS).select(identity("id"))
        python_s = median_s(partial(write, frame))
        spark.stop()
        print(
            f"two at a time, {name}: an empty task {empty_s / TASKS * 1000:.1f} ms, one with a "
            f"Python worker {python_s / PYTHON_TASKS * 1000:.1f} ms"
        )


def distribution() -> None:
    """Seconds until every executor has a file of a model's size, fetched from the driver."""
    import tempfile

    spark = session(f"local-cluster[{EXECUTORS},1,1024]", {})
    context = spark.sparkContext

    def touch() -> None:
        context.parallelize(range(EXECUTORS), EXECUTORS).map(lambda _: time.sleep(0.2)).count()

    def ship() -> None:
        with tempfile.NamedTemporaryFile(suffix=".model", dir=folder, delete=False) as file:
            file.write(b"\0" * (MODEL_MB * 1024 * 1024))
        context.addFile(file.name)
        touch()

    with tempfile.TemporaryDirectory() as folder:
        touch()
        idle_s, ship_s = median_s(touch), median_s(ship)
        spark.stop()
    print(
        f"a model of {MODEL_MB} MB to {EXECUTORS} executors of one machine: "
        f"{ship_s - idle_s:.2f} s more than a job without it"
    )


if __name__ == "__main__":
    tasks()
    distribution()
