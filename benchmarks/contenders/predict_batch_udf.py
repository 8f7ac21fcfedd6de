"""Spark's documented way: a pandas UDF that decodes to float arrays, then predict_batch_udf."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from benchmarks.contenders.keras_model import SIDE, load_keras, pixels_of
from benchmarks.contenders.library import session
from benchmarks.contenders.protocol import Contender, Job, Outcome, serve

_BATCH_SIZE = 32


def make(job: Job) -> Contender:
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, FloatType

    spark = session(job)
    decode_udf = F.pandas_udf(decode, ArrayType(FloatType()))  # type: ignore[attr-defined]
    predict = predict_batch_udf(
        partial(make_predict, job.weights),
        return_type=ArrayType(FloatType()),
        batch_size=_BATCH_SIZE,
        input_tensor_shapes=[[SIDE, SIDE, 3]],
    )

    def scored(folder: str) -> Any:
        frame = spark.read.parquet(folder)
        scores = predict(decode_udf("content"))
        best = F.array_position("scores", F.array_max("scores")) - 1
        return frame.select("id", scores.alias("scores")).select("id", best.alias("best"))

    def run() -> Outcome:
        row = scored(job.dataset).agg(F.count("best").alias("n"), F.sum("best").alias("sum"))
        [found] = row.collect()
        return Outcome(found.n, found.sum)

    return Contender(
        check=lambda: {row.id: row.best for row in scored(job.check).collect()},
        run=run,
        close=spark.stop,
    )


def decode(contents: pd.Series) -> pd.Series:
    """Encoded pictures -> flat float arrays."""
    return contents.map(lambda content: pixels_of(content).ravel())


def make_predict(path: str) -> Callable[[Any], Any]:
    """Called once for each worker; predict_batch_udf keeps what it returns."""
    model = load_keras(path)
    return lambda batch: model.predict(batch, verbose=0)


if __name__ == "__main__":
    serve(make)
