"""What it costs a folder stream to find many files.

python benchmarks/many_files.py [--files 10000 50000]: local files, no model; the time until all
are planned, and until their first and last rows can be read, and what the driver holds then.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sources import folders
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.folder_stream import FolderOptions, FolderStream

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
    """What the heap of the driver's JVM holds after a collection."""
    runtime: Any = session._jvm.java.lang.Runtime.getRuntime()  # type: ignore[union-attr]
    runtime.gc()
    return float(runtime.totalMemory() - runtime.freeMemory()) / 1e6


def python_mb() -> float:
    """What the driver's Python has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(session: SparkSession, folder: Path, count: int) -> dict[str, float]:
    """Seconds and megabytes of a stream over the folder, in batches of 10,000, to nowhere."""
    before, python_before = heap_mb(session), python_mb()
    started = time.perf_counter()
    first: list[float] = []
    heap: list[float] = []

    def nowhere(batch: DataFrame, batch_id: int) -> None:
        if not first:
            first.append(time.perf_counter() - started)
        batch.select("origin").write.format("noop").mode("overwrite").save()
        heap.append(heap_mb(session))

    place = folders.folder(session, str(folder / "in"))
    options = FolderOptions(Names("*"), 10_000, 0.0, None)
    with FolderStream(session, place, str(folder / "checkpoint"), options) as stream:
        planned = time.perf_counter() - started
        query = (
            stream.records()
            .writeStream.foreachBatch(nowhere)
            .option("checkpointLocation", str(folder / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        python = python_mb() - python_before
    total = time.perf_counter() - started
    jvm = max(heap) - before
    return {"planned": planned, "first": first[0], "all": total, "heap": jvm, "python": python}


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
    print("   files     planned  first rows    all read  heap added  Python added")
    for count in parser.parse_args().files:
        with tempfile.TemporaryDirectory() as name:
            make_files(Path(name), count)
            seen = measure(session, Path(name), count)
        print(
            f"{count:8,}  {seen['planned']:8.1f} s  {seen['first']:8.1f} s  {seen['all']:8.1f} s  "
            f"{seen['heap']:7.0f} MB  {seen['python']:9.0f} MB",
            flush=True,
        )
    session.stop()


if __name__ == "__main__":
    main()
