"""What it costs to find many files: Spark's listing of a folder against keys of a store's listing.

python benchmarks/many_files.py [--files 10000 50000]: local files, no model; the time until
the first rows can be read, and what the driver's JVM holds when all are known.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sources.files import FilesSource, stream_files

FILES_PER_FOLDER = 1000


def make_files(folder: Path, count: int) -> None:
    """Hard links to one small file, a thousand to a folder."""
    first = folder / "first"
    first.write_bytes(b"x" * 100)
    for number in range(count):
        target = folder / "in" / f"{number // FILES_PER_FOLDER:05}"
        if number % FILES_PER_FOLDER == 0:
            target.mkdir(parents=True)
        os.link(first, target / f"{number}.jpg")


def heap_mb(session: SparkSession) -> float:
    """What the driver's heap holds after a collection."""
    runtime: Any = session._jvm.java.lang.Runtime.getRuntime()  # type: ignore[union-attr]
    runtime.gc()
    return float(runtime.totalMemory() - runtime.freeMemory()) / 1e6


def measure(session: SparkSession, folder: Path, count: int) -> dict[str, float]:
    """Seconds and megabytes of a stream over the folder, in batches of 10,000, to nowhere."""
    before = heap_mb(session)
    started = time.perf_counter()
    first: list[float] = []
    heap: list[float] = []

    def nowhere(batch: DataFrame, batch_id: int) -> None:
        if not first:
            first.append(time.perf_counter() - started)
        batch.select("origin").write.format("noop").mode("overwrite").save()
        heap.append(heap_mb(session))

    source = FilesSource(str(folder / "in"), max_files_per_trigger=10_000)
    query = (
        stream_files(session, source)
        .writeStream.foreachBatch(nowhere)
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    total = time.perf_counter() - started
    return {"files": count, "first": first[0], "all": total, "heap": max(heap) - before}


def main() -> None:
    """Print a line per number of files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 50_000])
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    print("   files  first rows  all listed  heap added")
    for count in parser.parse_args().files:
        with tempfile.TemporaryDirectory() as name:
            make_files(Path(name), count)
            seen = measure(session, Path(name), count)
        print(
            f"{count:8,}  {seen['first']:8.1f} s  {seen['all']:8.1f} s  {seen['heap']:7.0f} MB",
            flush=True,
        )
    session.stop()


if __name__ == "__main__":
    main()
