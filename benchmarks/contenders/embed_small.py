"""A small model on small pictures, where what is left is the way of rows through the UDF.

``options["arrow_native"]``: our Arrow-native UDF, or the same function as a pandas UDF, which is
what PySpark before 4.1 runs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders.library import our_session, spec_of
from benchmarks.contenders.ours import best_column, run
from benchmarks.contenders.protocol import Contender, Job, serve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def make(job: Job) -> Contender:
    from pyspark_vision import schemas
    from pyspark_vision.bundles.storage import publish
    from pyspark_vision.columns.udf import vision_udf
    from pyspark_vision.executor.decode.images import DecodeOptions
    from pyspark_vision.executor.outputs.heads import EmbedOptions
    from pyspark_vision.executor.pipeline import Inference

    spark = our_session(job)
    spec = spec_of(job)
    inference = Inference(spec, publish(spec, spark), DecodeOptions(), EmbedOptions(False))
    embed = vision_udf(
        "infer",
        inference,
        schemas.EMBEDDING,
        name="embed",
        arrow_native=job.options["arrow_native"],
    )
    best = best_column("embed")

    def embedded(folder: str) -> DataFrame:
        return spark.read.parquet(folder).select("id", embed("content").alias("r"))

    some = embedded(job.check).select("id", best.alias("best"))
    return Contender(
        check=lambda: {row.id: row.best for row in some.collect()},
        run=partial(run, embedded(job.dataset), best),
        close=spark.stop,
    )


if __name__ == "__main__":
    serve(make)
