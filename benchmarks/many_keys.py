"""What many keys cost the driver: `batch_embed --keys` over lists of a hundred thousand and more.

python -m benchmarks.many_keys [--keys 100000 1000000]: the job itself, on keys of objects that are
not there (a row with its reason each), so that nothing but the way of the keys is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from local_services.proc import memory_mb

from benchmarks.many_files import heap_mb
from benchmarks.places import ROOT

IMAGES_PER_BATCH = 20_000
SAMPLE_S = 2.0


def write_list(path: Path, count: int) -> None:
    """A Parquet file of ``count`` keys."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = [f"photos/{number:012}.jpg" for number in range(count)]
    pq.write_table(pa.table({"key": keys}), path)


def load_job() -> Any:
    """jobs/batch_embed.py as a module."""
    spec = importlib.util.spec_from_file_location("batch_embed", ROOT / "jobs" / "batch_embed.py")
    assert spec is not None
    assert spec.loader is not None
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)
    return job


def measure(count: int) -> dict[str, float]:
    """Seconds of the job, and the most that the driver's heap and its Python held on the way."""
    from pyspark.sql import SparkSession

    heaps, resident = [0.0], [0.0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            session = SparkSession._instantiatedSession  # the active one is of another thread
            if session is not None:
                heaps.append(heap_mb(session))
            resident.append(memory_mb(os.getpid(), "VmRSS"))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_list(folder / "keys.parquet", count)
        sampler = threading.Thread(target=sample)
        sampler.start()
        started = time.perf_counter()
        code = load_job().main(
            [
                *("--keys", str(folder / "keys.parquet"), "--keys-base", f"file:{folder}/none"),
                *("--model", str(ROOT / "models" / "demo-embedder")),
                *("--images-per-batch", str(IMAGES_PER_BATCH)),
                *("--output", str(folder / "out")),
            ]
        )
        seconds = time.perf_counter() - started
        done.set()
        sampler.join()
    if code:
        raise SystemExit(f"batch_embed ended with {code}")
    return {"keys": count, "seconds": seconds, "heap": max(heaps), "python": max(resident)}


def main() -> None:
    """Print a line per number of keys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    seen = [measure(count) for count in parser.parse_args().keys]
    print("     keys  seconds  driver heap after GC  driver Python")
    for one in seen:
        print(
            f"{one['keys']:9,}  {one['seconds']:7.0f}  {one['heap']:17.0f} MB  "
            f"{one['python']:10.0f} MB"
        )


if __name__ == "__main__":
    main()
