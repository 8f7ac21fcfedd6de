"""Peak memory of a Python worker, over the rows of one partition."""

from __future__ import annotations

import os
import threading
from typing import Any

from local_services.proc import command_line, members, memory_mb

from benchmarks.contenders.library import our_session
from benchmarks.contenders.ours import with_results
from benchmarks.contenders.protocol import Job, serve_section

_SAMPLE_S = 0.1


def measure(job: Job) -> dict[str, Any]:
    """The largest ``VmHWM`` of any Python worker while the whole dataset is one partition."""
    spark = our_session(job)
    frame = with_results(job, spark.read.parquet(job.dataset).coalesce(1))
    peaks_mb = [0.0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_S):
            # The daemon forks the workers, which keep its command line.
            workers = [
                pid for pid in members(os.getsid(0)) if "pyspark.daemon" in command_line(pid)
            ]
            peaks_mb.extend(memory_mb(pid, "VmHWM") for pid in workers)

    sampler = threading.Thread(target=sample)
    sampler.start()
    frame.write.format("noop").mode("overwrite").save()
    done.set()
    sampler.join()
    spark.stop()
    return {"rows": job.options["rows"], "peak_mb": max(peaks_mb)}


if __name__ == "__main__":
    serve_section(measure)
