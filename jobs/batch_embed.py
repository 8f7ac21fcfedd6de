"""Images of a folder tree -> fixed-size vectors, as Parquet or wide CSV; label = parent folder.

spark-submit --py-files dist/pyspark_vision.zip jobs/batch_embed.py --help
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pyspark_vision import config
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import embedding_length
from pyspark_vision.counts import observe_results, observed_counts
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.functions import embed_image
from pyspark_vision.session import job_session
from pyspark_vision.sources.files import FilesSource, read_files


def parser() -> config.JobParser:
    job = config.JobParser(prog="batch_embed", description=__doc__)
    source = job.add_argument_group("source")
    source.add_argument("--images", required=True, metavar="URI", help="folder tree of images")
    source.add_argument("--glob", default="*", help="names of the files to read")
    model = job.add_argument_group("model")
    model.add_argument("--model", required=True, metavar="URI", help="bundle of an embedding model")
    model.add_argument("--normalize", action="store_true", help="divide by the L2 norm")
    model.add_argument("--exact", action="store_true", help="decode JPEG at full scale")
    sink = job.add_argument_group("sink")
    sink.add_argument("--output", required=True, metavar="URI", help="folder to write")
    sink.add_argument("--format", choices=["parquet", "csv"], default="parquet", help="of --output")
    sink.add_argument("--overwrite", action="store_true", help="replace what is at --output")
    return job


def embed(images: DataFrame, model: ModelSpec, options: argparse.Namespace) -> DataFrame:
    """``origin, label, embedding, model, error``: one row per image, failed ones too."""
    result = embed_image("content", model, normalize=options.normalize, exact=options.exact)
    label = F.element_at(F.split("origin", "/"), -2)
    return images.select("origin", label.alias("label"), result.alias("result")).select(
        "origin", "label", "result.embedding", "result.model", "result.error"
    )


def wide(vectors: DataFrame, length: int) -> DataFrame:
    """``origin, label, x0, x1, …``; a failed image has no numbers."""
    numbers = [F.col("embedding")[i].alias(f"x{i}") for i in range(length)]
    return vectors.select("origin", "label", *numbers)


def run(options: argparse.Namespace) -> None:
    session = job_session("batch_embed")
    model = ModelSpec.load(options.model)
    vectors = embed(read_files(session, FilesSource(options.images, options.glob)), model, options)
    if options.dry_run:
        print(f"batch_embed would run {model}\nwith\n{config.describe(options)}\nas the plan")
        vectors.explain()
        return
    vectors, observation = observe_results(vectors, "embedding")
    mode = "overwrite" if options.overwrite else "errorifexists"
    try:
        if options.format == "csv":
            table = wide(vectors, embedding_length(model))
            table.write.mode(mode).option("header", True).csv(options.output)
        else:
            vectors.write.mode(mode).parquet(options.output)
    except AnalysisException as error:
        if error.getCondition() != "PATH_ALREADY_EXISTS":
            raise
        raise InvalidOptionError(
            f"--output {options.output} exists; choose another, or --overwrite"
        ) from None
    counts = observed_counts(observation)
    print(f"batch_embed: {counts.summary('images', 'embedded')}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    return config.run_job(job.prog, run, job.parse_job(argv))


if __name__ == "__main__":
    sys.exit(main())
