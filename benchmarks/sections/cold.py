"""A process of its own: from a session that is ready to the first row of its first Python UDF."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.contenders.library import session
from benchmarks.contenders.ours import with_results
from benchmarks.contenders.protocol import Job, serve_section


def measure(job: Job) -> dict[str, Any]:
    """``options["udf"]``: ``classify``, or ``identity``, Spark's own with nothing in it."""
    from pyspark.sql import functions as F

    spark = session(job)
    spark.range(1).count()  # the session is ready when it has run something on the JVM
    started = time.perf_counter()
    frame = spark.read.parquet(job.dataset)
    if job.options["udf"] == "classify":
        first = with_results(job, frame).select("r.error").first()
    else:
        same = F.pandas_udf(lambda values: values, "long")  # type: ignore[attr-defined]
        first = frame.select(same("id")).first()
    seconds = time.perf_counter() - started
    if first is None or (job.options["udf"] == "classify" and first.error is not None):
        raise RuntimeError(f"the first row is {first}")
    spark.stop()
    return {"seconds": seconds}


if __name__ == "__main__":
    serve_section(measure)
