"""The library as its jobs call it: one function over a Parquet folder, written to nowhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.library import our_session, spec_of
from benchmarks.contenders.protocol import Contender, Job, Outcome, serve

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def make(job: Job) -> Contender:
    spark = our_session(job)
    whole = with_results(job, spark.read.parquet(job.dataset))
    some = with_results(job, spark.read.parquet(job.check)).select(
        "id", best_column(job.task).alias("best")
    )
    return Contender(
        check=lambda: {row.id: row.best for row in some.collect()},
        run=partial(run, whole, best_column(job.task)),
        close=spark.stop,
    )


def with_results(job: Job, frame: DataFrame) -> DataFrame:
    """``id`` and ``r``, the result of the job's function with its default options."""
    from pyspark_vision.functions import classify_image, detect_objects, embed_image, fetch_object

    functions: dict[str, Any] = {
        "classify": classify_image,
        "detect": detect_objects,
        "embed": embed_image,
    }
    source: Column | str = "content"
    if job.uri_prefix:
        source = fetch_object("uri", prefixes=[job.uri_prefix])
    result = functions[job.task](source, spec_of(job), exact=job.exact)
    return frame.select("id", result.alias("r"))


def run(frame: DataFrame, best: Column) -> Outcome:
    """Every row made, none kept; counted on their way."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    seen = Observation()
    counted = frame.observe(
        seen, F.count_if(F.col("r.error").isNull()).alias("n"), F.sum(best).alias("sum")
    )
    counted.write.format("noop").mode("overwrite").save()
    return Outcome(seen.get["n"], seen.get["sum"] or 0)


def best_column(task: str) -> Column:
    """As :func:`library.best_class`, of the column ``r``."""
    from pyspark.sql import functions as F

    if task == "embed":
        vector = F.col("r.embedding")
        return F.array_position(vector, F.array_max(vector)) - 1
    found = F.col("r.predictions" if task == "classify" else "r.detections")
    return F.coalesce(F.get(found, F.lit(0)).getField("class_id"), F.lit(-1))


if __name__ == "__main__":
    serve(make)
