"""What the way of 75 KB from Parquet through the JVM to Python costs.

python -m benchmarks.transport: processor time per picture of a UDF that only looks at the length,
with Spark's defaults and with what the library's jobs set. Each in a process of its own.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa  # not only for the types: Spark looks up a UDF's annotations
from local_services import proc

from benchmarks.contenders.library import session
from benchmarks.contenders.protocol import Job, serve_section
from benchmarks.material import VGA_WH, dataset
from benchmarks.race import Entry, ask

_ROWS, _ROUNDS = 2000, 8

_ARROW = "spark.sql.execution.arrow"
_BOUNDED = {
    f"{_ARROW}.pythonUDF.columnarInput.enabled": "false",
    f"{_ARROW}.maxRecordsPerBatch": "128",
    f"{_ARROW}.maxBytesPerBatch": "4m",
}
_SMALL_READS = {"spark.sql.parquet.columnarReaderBatchSize": "64"}
_SOCKETS = {"spark.python.unix.domain.socket.enabled": "true"}
_SETTINGS: dict[str, dict[str, str]] = {
    "Spark's defaults": {},
    "Arrow batches of 128 rows": {f"{_ARROW}.maxRecordsPerBatch": "128"},
    "rows, in batches of 4 MB": _BOUNDED,
    "and Parquet in batches of 64": {**_BOUNDED, **_SMALL_READS},
    "and Unix sockets": {**_BOUNDED, **_SMALL_READS, **_SOCKETS},
}


def main() -> None:
    """Two passes over the settings, since machines drift."""
    folder = str(dataset(VGA_WH, _ROWS))
    for _ in range(2):
        for name, conf in _SETTINGS.items():
            job = Job(dataset=folder, spark_conf=conf)
            found = ask("transport", Entry("transport", job))
            print(
                f"{name:<30} JVM {found['jvm_ms']:.2f} ms, Python {found['python_ms']:.2f} ms per "
                "picture",
                flush=True,
            )


def measure(job: Job) -> dict[str, Any]:
    """One setting, in this process."""
    from pyspark.sql import functions as F

    spark = session(job)

    @F.arrow_udf("long")  # type: ignore[attr-defined] # not in PySpark's hints
    def length(arrays: Iterator[pa.Array]) -> Iterator[pa.Array]:
        import pyarrow.compute as pc

        for array in arrays:
            yield pc.binary_length(array).cast(pa.int64())

    frame = spark.read.parquet(job.dataset).select(length("content"))
    found: dict[str, list[float]] = {"jvm_ms": [], "python_ms": []}
    for _ in range(2 * _ROUNDS):  # the first half warms up
        before = _processor_s()
        frame.write.format("noop").mode("overwrite").save()
        after = _processor_s()
        for name, seconds in found.items():
            seconds.append((after[name] - before[name]) * 1000 / _ROWS)
    return {name: statistics.median(ms[_ROUNDS:]) for name, ms in found.items()}


def _processor_s() -> dict[str, float]:
    """Of this process's JVM and of its Python workers, so far."""
    tick = os.sysconf("SC_CLK_TCK")
    spent = {"jvm_ms": 0.0, "python_ms": 0.0}
    for pid, fields in proc.stats():
        if int(fields[3]) == os.getsid(0) and pid != os.getpid():
            name = "jvm_ms" if "java" in proc.command_line(pid).split(" ", 1)[0] else "python_ms"
            spent[name] += (int(fields[11]) + int(fields[12])) / tick
    return spent


if __name__ == "__main__":
    if len(sys.argv) > 1:  # one setting, asked for by main
        serve_section(measure)
    else:
        main()
