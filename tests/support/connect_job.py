"""A job as users write it, run against a Connect server: connect_job.py MODEL IMAGES OUTPUT."""

from __future__ import annotations

import sys

from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.functions import embed_image
from pyspark_vision.spark.session import check_workers, is_connect, job_session
from pyspark_vision.streaming.counts import measure_results
from pyspark_vision.transformations import flatten_result


def package_in_worker(_: int) -> str:
    import pyspark_vision

    return pyspark_vision.__file__


def main() -> None:
    model, images, output = sys.argv[1:]
    session = job_session("connect_job")
    check_workers(session)
    # Made here, when there is a session: before, it would be one for a classic session.
    udf = F.udf(package_in_worker, "string", useArrow=False)
    (worker,) = session.range(1).select(udf("id")).collect()
    spec = ModelSpec.load(model)
    files = session.read.format("binaryFile").load(images)
    embedded = files.select("path", embed_image("content", spec).alias("result"))
    results = embedded.transform(flatten_result)
    results.write.parquet(output)
    print(f"connect: {is_connect(session)}; package: {worker[0]}")
    print(measure_results(results, "embedding")[0].summary("images", "embedded"))


if __name__ == "__main__":
    main()
