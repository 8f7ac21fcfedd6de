"""The shape of the seeds: a row UDF, one `predict` for each image."""

from __future__ import annotations

from functools import cache
from typing import Any

from benchmarks.contenders.keras_model import load_keras, pixels_of
from benchmarks.contenders.library import session
from benchmarks.contenders.protocol import Contender, Job, Outcome, serve


def make(job: Job) -> Contender:
    from pyspark.sql import functions as F

    spark = session(job)
    path = job.weights

    # Pickled rows, as the seeds have them, whose Spark knew no other.
    @F.udf("int", useArrow=False)
    def best_class(content: bytes) -> int:
        from benchmarks.contenders import row_udf

        return row_udf.predict_one(path, content)

    def classified(folder: str) -> Any:
        return spark.read.parquet(folder).select("id", best_class("content").alias("best"))

    def run() -> Outcome:
        totals = F.count("best").alias("n"), F.sum("best").alias("sum")
        [found] = classified(job.dataset).agg(*totals).collect()
        return Outcome(found.n, found.sum)

    return Contender(
        check=lambda: {row.id: row.best for row in classified(job.check).collect()},
        run=run,
        close=spark.stop,
    )


def predict_one(path: str, content: bytes) -> int:
    """The best class of one picture."""
    return int(_model(path).predict(pixels_of(content)[None], verbose=0)[0].argmax())


@cache
def _model(path: str) -> Any:
    """Loaded by the first row of each worker: the seeds that keep it do so in a global."""
    return load_keras(path)


if __name__ == "__main__":
    serve(make)
