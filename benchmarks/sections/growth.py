"""How time grows with the number of pictures: fixed start + n x cost, and what is off it."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.contenders.library import our_session
from benchmarks.contenders.ours import with_results
from benchmarks.contenders.protocol import Job, serve_section
from benchmarks.figures import fit_line


def measure(job: Job) -> dict[str, Any]:
    """``options``: ``datasets`` is ``[[rows, folder], …]``, smallest first."""
    spark = our_session(job)

    def seconds(folder: str) -> float:
        frame = with_results(job, spark.read.parquet(folder))
        started = time.perf_counter()
        frame.write.format("noop").mode("overwrite").save()
        return time.perf_counter() - started

    datasets = [(int(rows), str(folder)) for rows, folder in job.options["datasets"]]
    for _ in range(3):  # processes, model, and the JVM's compiler
        seconds(datasets[0][1])
    # The short ones are repeated: a tenth of a second of noise is a tenth of their time.
    best = [min(seconds(folder) for _ in range(_repeats(rows))) for rows, folder in datasets]
    spark.stop()
    line = fit_line([rows for rows, _ in datasets], best)
    return {
        "images": [rows for rows, _ in datasets],
        "seconds": best,
        "start_s": line.start,
        "cost_ms": line.slope * 1000,
        "residuals_s": list(line.residuals),
        "r_squared": line.r_squared,
        "largest_relative_deviation": line.largest_relative_deviation,
    }


def _repeats(rows: int) -> int:
    return 5 if rows <= 1000 else 3 if rows <= 3000 else 1


if __name__ == "__main__":
    serve_section(measure)
