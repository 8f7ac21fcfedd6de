"""Images -> fixed-size vectors, as Parquet or wide CSV; label = parent folder.

Two ways in: a folder tree that Spark lists (--images), or keys that executors fetch (--keys). A job
that was stopped goes on where it was; images that came later are added.

spark-submit --py-files dist/pyspark_vision.zip jobs/batch_embed.py --help
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision import batch_output, checkpoint_lease, config, job_flags, streaming
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import embedding_length
from pyspark_vision.counts import Counts
from pyspark_vision.errors import StreamError
from pyspark_vision.functions import embed_image, fetch_object
from pyspark_vision.hadoop import qualified
from pyspark_vision.job.places import Place, refuse_overlaps
from pyspark_vision.options import DEFAULT_FETCH_CONCURRENCY, fetch_options
from pyspark_vision.session import is_connect, job_session, parallelism
from pyspark_vision.sinks import Sink, through
from pyspark_vision.sinks.csv import csv_sink, wide
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sources import object_keys
from pyspark_vision.sources.files import FilesSource, parent_folder, read_files, stream_files


def parser() -> config.JobParser:
    job = config.JobParser(prog="batch_embed", description=__doc__)
    source = job.add_argument_group("source")
    source.add_argument(
        "--images", metavar="URI", help="folder tree of images: s3a://, hdfs://, gs://, local"
    )
    source.add_argument("--glob", default="*", help="names of the files to read below --images")
    source.add_argument(
        "--keys",
        metavar="URI",
        help="a prefix to list (s3://bucket/prefix), or a list of keys: .txt, .csv or .parquet",
    )
    source.add_argument("--keys-column", metavar="NAME", help="of the .csv or .parquet list")
    source.add_argument(
        "--keys-base", metavar="URI", help="where keys lie that are no URIs: s3://bucket/"
    )
    source.add_argument(
        "--fetch-concurrency",
        type=config.positive,
        default=DEFAULT_FETCH_CONCURRENCY,
        metavar="N",
        help="objects under way at a time in one worker, for --keys",
    )
    source.add_argument(
        "--images-per-batch",
        type=config.positive,
        default=2000,
        metavar="N",
        help="images after which results are written; a restart repeats at most these",
    )
    model = job.add_argument_group("model")
    model.add_argument("--model", required=True, metavar="URI", help="bundle of an embedding model")
    model.add_argument("--normalize", action="store_true", help="divide by the L2 norm")
    model.add_argument("--exact", action="store_true", help="decode JPEG at full scale")
    sink = job.add_argument_group("sink")
    sink.add_argument("--output", required=True, metavar="URI", help="folder to write")
    sink.add_argument("--format", choices=["parquet", "csv"], default="parquet", help="of --output")
    sink.add_argument(
        "--overwrite",
        action="store_true",
        help="remove what this job wrote at --output and begin anew",
    )
    job_flags.add_adopt(sink)
    return job


def embed(images: DataFrame, model: ModelSpec, options: argparse.Namespace) -> DataFrame:
    """``origin`` (and ``content``, unless it is to be fetched) -> one row of results each."""
    picture = F.col("content")
    if options.keys:
        # Files of this machine's disks are read only where the user has said so.
        own = [options.keys_base] if (options.keys_base or "").startswith("file:") else []
        picture = fetch_object("origin", concurrency=options.fetch_concurrency, prefixes=own)
    result = embed_image(picture, model, normalize=options.normalize, exact=options.exact)
    return images.select("origin", parent_folder().alias("label"), result.alias("result")).select(
        "origin",
        "label",
        "result.embedding",
        "result.model",
        "result.model_digest",
        "result.error",
    )


def sink(session: SparkSession, model: ModelSpec, options: argparse.Namespace) -> Sink:
    if options.format == "parquet":
        return parquet_sink(session, options.output)
    length = embedding_length(model)
    return through(lambda vectors: wide(vectors, length), csv_sink(session, options.output))


def found_keys(session: SparkSession, options: argparse.Namespace) -> Iterator[str]:
    if object_keys.is_prefix(options.keys):
        return object_keys.list_keys(options.keys, fetch_options(session))
    return object_keys.read_keys(session, options.keys, options.keys_column, options.keys_base)


def run_keys(
    session: SparkSession, model: ModelSpec, options: argparse.Namespace, report: Reporter
) -> None:
    """Batch after batch of keys, as they are found, without those that are at the output."""
    done, batch_id = batch_output.done(session, options.output, options.format)
    sinks = {options.format: sink(session, model, options)}
    for uris in object_keys.in_batches(found_keys(session, options), options.images_per_batch):
        todo = batch_output.missing(session, uris, done)
        report.were_there += len(uris) - len(todo)
        if todo:
            images = object_keys.uri_frame(session, todo, parallelism(session))
            results = embed(images, model, options)
            report.counts.add(streaming.run_batch(results, batch_id, sinks, value="embedding"))
            batch_id += 1
        report.line()


def run_whole(
    session: SparkSession, model: ModelSpec, options: argparse.Namespace, report: Reporter
) -> None:
    """All images of the folder in one batch: a Connect session has no foreachBatch."""
    done, batch_id = batch_output.done(session, options.output, options.format)
    images = read_files(session, FilesSource(options.images, options.glob))
    if done is not None:
        images = images.join(done, "origin", "left_anti")
    sinks = {options.format: sink(session, model, options)}
    results = embed(images, model, options)
    report.add(streaming.run_batch(results, batch_id, sinks, value="embedding"))


def run_stream(
    session: SparkSession, model: ModelSpec, options: argparse.Namespace, report: Reporter
) -> None:
    """A stream over the folder that ends when all is read; its checkpoint knows what is done."""
    source = FilesSource(options.images, options.glob, options.images_per_batch)
    query, _ = streaming.start(
        stream_files(session, source),
        lambda images: embed(images, model, options),
        {options.format: sink(session, model, options)},
        value="embedding",
        checkpoint=f"{options.output}/_checkpoint",
        trigger=streaming.AVAILABLE_NOW,
        query_name="batch_embed",
        on_batch=report.add,
    )
    query.awaitTermination()


class Reporter:
    """Progress, a line per batch: images so far, and how fast."""

    def __init__(self, refuse_if_lost: Callable[[], None]) -> None:
        self._refuse_if_lost = refuse_if_lost
        self.counts = Counts()
        self.were_there = 0
        self._started = time.monotonic()

    def add(self, seen: Counts) -> None:
        self.counts.add(seen)
        self.line()

    def line(self) -> None:
        rate = self.counts.rows / (time.monotonic() - self._started)
        failed = sum(self.counts.failed.values())
        there = f", {self.were_there:,} were there" if self.were_there else ""
        done = f"{self.counts.rows:,} images, {failed:,} failed"
        print(f"batch_embed: {done}, {rate:.1f} images/s{there}", flush=True)
        self._refuse_if_lost()


def refuse_mixed_places(options: argparse.Namespace, qualify: Callable[[str], str] = str) -> None:
    """Refuse to write where the job reads."""
    places = job_flags.read_places(images=options.images, model=options.model)
    if options.keys:
        is_prefix = object_keys.is_prefix(options.keys)
        places.append(Place("--keys", options.keys, is_prefix=is_prefix))
    places.append(Place("--output", options.output, is_written=True))
    refuse_overlaps(places, qualify)


def run(options: argparse.Namespace) -> None:
    refuse_mixed_places(options)
    check_output(None, options)
    session = job_session("batch_embed")
    if not is_connect(session):
        refuse_mixed_places(options, functools.partial(qualified, session))
    check_output(session, options)
    model = ModelSpec.load(options.model)
    if options.dry_run:
        print(f"batch_embed would run {model}\nwith\n{config.describe(options)}\nas the plan")
        images = (
            read_files(session, FilesSource(options.images))
            if options.images
            else object_keys.uri_frame(session, ["s3://bucket/label/key"], 1)
        )
        embed(images, model, options).explain()
        return
    with alone_at(session, options.output) as refuse_if_lost:
        embed_all(session, model, options, refuse_if_lost)


def check_output(session: SparkSession | None, options: argparse.Namespace) -> None:
    batch_output.check(session, options.output, adopts=options.adopt, removes=options.overwrite)


@contextmanager
def alone_at(session: SparkSession, output: str) -> Iterator[Callable[[], None]]:
    """No other run writes to the output meanwhile; gives what raises if one does all the same."""
    reasons: list[str] = []

    def refuse_if_lost() -> None:
        if reasons:
            raise StreamError(f"--output {output}: {reasons[0]}")

    if is_connect(session):
        yield refuse_if_lost
        return
    lease = f"{output}/_lease"
    shown = f"--output {output}"
    with checkpoint_lease.held(session, lease, "batch_embed", reasons.append, shown):
        yield refuse_if_lost


def embed_all(
    session: SparkSession,
    model: ModelSpec,
    options: argparse.Namespace,
    refuse_if_lost: Callable[[], None],
) -> None:
    if options.overwrite:
        batch_output.remove(session, options.output)
    settings = {
        "source": options.images or "keys",
        **batch_output.model_settings(model),
        "format": options.format,
        "normalize": str(options.normalize),
        "exact": str(options.exact),
    }
    # What is left after --overwrite is the user's own, in a folder that was this job's.
    adopts = options.adopt or options.overwrite
    batch_output.claim(session, options.output, settings, adopts=adopts)
    report = Reporter(refuse_if_lost)
    work = run_keys if options.keys else run_whole if is_connect(session) else run_stream
    try:
        work(session, model, options, report)
    finally:
        print(f"batch_embed: {report.counts.summary('images', 'embedded')}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    options = job.parse_job(argv)
    if bool(options.images) == bool(options.keys):
        job.error("choose --images or --keys")
    return config.run_job(job.prog, run, options)


if __name__ == "__main__":
    sys.exit(main())
