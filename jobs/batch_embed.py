"""Embed images: one vector per image, as Parquet or wide CSV. The parent folder is the label.

The job reads a folder tree (--images) or keys of an object store (--keys). The next run goes on
where this one stopped. It adds images that came later, and tries those again that could not be
fetched.

spark-submit --py-files dist/pyspark_vision.zip jobs/batch_embed.py --help
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec, by_name
from pyspark_vision.bundles.fit import embedding_length
from pyspark_vision.bundles.watched import load_before_spark
from pyspark_vision.columns.options import DEFAULT_FETCH_CONCURRENCY, fetch_options
from pyspark_vision.errors import ErrorCode, InvalidOptionError, StreamError
from pyspark_vision.functions import embed_image, fetch_object
from pyspark_vision.job import (
    admission,
    batch_output,
    batch_rows,
    command_line,
    decode_flags,
    file_batches,
    flags,
    start,
)
from pyspark_vision.job.file_batches import FileBatches, Report
from pyspark_vision.job.places import Place
from pyspark_vision.messages.pictures import parent_folder
from pyspark_vision.sinks import Sink, delta
from pyspark_vision.sinks.csv import csv_sink, wide
from pyspark_vision.sinks.dead_letters import parquet_dead_letters
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sinks.table_columns import FLAG
from pyspark_vision.sinks.through import through
from pyspark_vision.sources import folders, linked_folders, object_keys
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.files import FilesSource, read_files
from pyspark_vision.sources.folders import Folder, Way
from pyspark_vision.sources.linked_folders import LinkedFolders
from pyspark_vision.sources.settling import settled
from pyspark_vision.spark.session import is_connect
from pyspark_vision.streaming import lease, runner

if TYPE_CHECKING:
    from pyspark.sql import Column

    from pyspark_vision.sources.listed_files import ListedFile

# About what a row takes beside its vector: origin, label, model.
_ROW_BYTES = 200
_BYTES_PER_NUMBER = {"parquet": 4, "csv": 12, batch_rows.DELTA: 4}


def parser() -> command_line.JobParser:
    job = command_line.JobParser(prog="batch_embed", description=__doc__)
    source = job.add_argument_group("source")
    source.add_argument(
        "--images", metavar="URI", help="the folder tree to read: s3a://, hdfs://, gs:// or local"
    )
    source.add_argument(
        "--glob",
        metavar="PATTERN",
        help="read only files of these names. By default --images reads all, and a prefix of "
        "--keys those with an image's suffix",
    )
    source.add_argument(
        "--all",
        action="store_true",
        help="read all objects below a prefix of --keys, whatever their names",
    )
    flags.add_settle(source)
    source.add_argument(
        "--keys",
        metavar="URI",
        help="a prefix that the job lists (s3://… or gs://…), or a file that lists keys (.txt, "
        ".csv or .parquet)",
    )
    source.add_argument(
        "--keys-column", metavar="NAME", help="the column of a .csv or .parquet list that has keys"
    )
    source.add_argument(
        "--keys-base",
        metavar="URI",
        help="the prefix of keys that are no URIs, as s3://bucket/",
    )
    source.add_argument(
        "--fetch-concurrency",
        type=command_line.positive,
        default=DEFAULT_FETCH_CONCURRENCY,
        metavar="N",
        help="how many objects a worker fetches at a time",
    )
    source.add_argument(
        "--images-per-batch",
        type=command_line.positive,
        default=32_000,
        metavar="N",
        help="results are written after at most so many images, the first ones earlier. A "
        "restart repeats at most these",
    )
    source.add_argument(
        "--retry-failed",
        nargs="*",
        choices=[code.value for code in ErrorCode],
        metavar="CODE",
        help="make failed rows anew: all of them, or those of these codes, too. By default, the "
        f"job makes rows anew that failed with {', '.join(sorted(batch_rows.TRANSIENT))}, and "
        "those of files that have changed since",
    )
    model = job.add_argument_group("model")
    flags.add_model(model, "an embedding model")
    model.add_argument("--normalize", action="store_true", help="divide each vector by its L2 norm")
    decode_flags.add_decode(model, exact=True)
    sink = job.add_argument_group("sink")
    sink.add_argument("--output", metavar="URI", help="the folder to write")
    sink.add_argument(
        "--sink",
        choices=["files", batch_rows.DELTA],
        default="files",
        help="where vectors go: files in --output, or the Delta table --table, which knows by its "
        "rows what is done (default: files)",
    )
    flags.add_table(sink, [flags.DELTA])
    sink.add_argument(
        "--format", choices=["parquet", "csv"], default="parquet", help="the format of --output"
    )
    sink.add_argument(
        "--overwrite",
        action="store_true",
        help="remove what this job wrote at --output, and begin anew",
    )
    sink.add_argument(
        "--dead-letters",
        metavar="URI",
        help="folder that lists what failed, with its reason, as Parquet; the pictures stay where "
        "they are",
    )
    flags.add_adopt(sink)
    return job


def embed(
    images: DataFrame, picture: Column, model: ModelSpec, options: argparse.Namespace
) -> DataFrame:
    """``origin`` and its picture -> one row of results each."""
    keywords = decode_flags.decode_keywords(options)
    result = embed_image(picture, model, normalize=options.normalize, **keywords)
    return images.select("origin", parent_folder().alias("label"), result.alias("result")).select(
        "origin",
        "label",
        "result.embedding",
        "result.model",
        "result.model_sha256",
        "result.model_digest",
        "result.error",
    )


def table_rows(vectors: DataFrame, batch_id: int) -> DataFrame:
    """The columns of the Delta table: those that readers of the Parquet files see."""
    return vectors.drop("model_sha256").withColumn("batch_id", F.lit(batch_id))


def sink(session: SparkSession, model: ModelSpec, options: argparse.Namespace) -> Sink:
    if (table := flags.delta_table(options)) is not None:
        return lambda vectors, batch_id: delta.append(
            session, table, table_rows(vectors, batch_id), f"batch {batch_id}"
        )
    if options.format == "parquet":
        parquet = parquet_sink(session, options.output)
        return through(lambda vectors: vectors.drop("model_sha256"), parquet)
    length = embedding_length(model)
    return through(lambda vectors: wide(vectors, length), csv_sink(session, options.output))


def listed_keys(
    session: SparkSession, options: argparse.Namespace, report: Report
) -> Iterator[ListedFile]:
    if object_keys.is_prefix(options.keys):
        names = Names("*" if options.all else options.glob)
        return object_keys.list_keys(options.keys, fetch_options(session), names, report.tally)
    return object_keys.read_keys(
        session, options.keys, report.tally, options.keys_column, options.keys_base
    )


def listed_images(
    session: SparkSession, place: Folder, options: argparse.Namespace, report: Report
) -> Iterator[ListedFile]:
    linked = LinkedFolders()
    if place.way is Way.LOCAL and not is_connect(session):
        linked = linked_folders.kept(session, f"{options.output}/_links")
    files = folders.files(session, place, Names(options.glob or "*"), report.tally, linked)
    if place.way is Way.STORE:
        return files  # an object is there when it is whole
    return settled(
        files, options.settle, lambda file: folders.look(session, place, file), report.tally
    )


def retried_codes(
    session: SparkSession, options: argparse.Namespace
) -> frozenset[ErrorCode] | None:
    """Codes of failed rows that are made anew; ``None``: failed rows stay."""
    asked = options.retry_failed
    if not is_connect(session):
        more = batch_rows.ALL_CODES if asked == [] else frozenset(map(ErrorCode, asked or []))
        return batch_rows.TRANSIENT | more
    if asked is not None:
        raise InvalidOptionError(
            "--retry-failed replaces files at --output, which a Connect session cannot: run the "
            "job in a classic session, or choose another --output"
        )
    return None


def run_files(
    session: SparkSession,
    model: ModelSpec,
    options: argparse.Namespace,
    place: Folder | None,
    report: Report,
) -> None:
    """Batch after batch of files or keys, as they are found, without those at the output."""
    if place is None:
        files = listed_keys(session, options, report)
        # Files of this machine's disks are read only where the user has said so.
        prefixes = [options.keys_base] if (options.keys_base or "").startswith("file:") else []
    else:
        files = listed_images(session, place, options, report)
        prefixes = place.prefixes
    batches = FileBatches(
        lambda images, picture: embed(images, picture, model, options),
        sink(session, model, options),
        options.output,
        options.format,
        _ROW_BYTES + _BYTES_PER_NUMBER[options.format] * embedding_length(model),
        options.images_per_batch,
        options.fetch_concurrency,
        prefixes=prefixes,
        by_executors=place is None or place.fetched,
        retried=retried_codes(session, options),
        letters=parquet_dead_letters(session, options.dead_letters)
        if options.dead_letters
        else None,
    )
    file_batches.run(session, files, batches, report)
    report.check(options.images or options.keys)


def run_whole(
    session: SparkSession, model: ModelSpec, options: argparse.Namespace, report: Report
) -> None:
    """All images that Spark itself lists, in one batch: Connect's way to HDFS and such."""
    images = read_files(session, FilesSource(options.images, options.glob or "*"))
    rows = batch_rows.read_rows(session, options.output, options.format)
    if rows.table is not None:
        done = rows.table.select(F.col("key").alias("origin"))
        images = images.join(done, "origin", "left_anti")
        report.were_there = rows.table.count()
    sinks = {options.format: sink(session, model, options)}
    results = embed(images, F.col("content"), model, options)
    report.counts.add(runner.run_batch(results, rows.next_batch, sinks, value="embedding"))
    report.line()
    # All that Spark has seen.
    report.tally.seen = report.counts.rows + report.were_there
    report.check(options.images)


def output_flag(options: argparse.Namespace) -> str:
    """By which flag the user knows what the job writes."""
    return FLAG if options.table else "--output"


def all_places(options: argparse.Namespace) -> list[Place]:
    """What the job reads and writes."""
    places = flags.read_places(images=options.images, model=options.model)
    if options.keys:
        is_prefix = object_keys.is_prefix(options.keys)
        places.append(Place("--keys", options.keys, is_prefix=is_prefix))
    places.append(Place(output_flag(options), options.output, is_written=True))
    if options.dead_letters:
        places.append(Place("--dead-letters", options.dead_letters, is_written=True))
    return places


def run(options: argparse.Namespace) -> None:
    start.refuse_mixed(all_places(options))
    if options.images:
        folders.check_before_spark(options.images)
    else:
        object_keys.check_before_spark(options.keys)
    load = functools.partial(by_name.model, options.model, "embed")
    known = load_before_spark(options.model, load)
    session = start.session_for(
        "batch_embed",
        all_places(options),
        lambda session: check_output(session, options),
        writes_delta=bool(options.table),
    )
    model = known.spec if known is not None else load()
    memory = admission.admit(session, model)
    place: Folder | None = None
    if options.images:
        written = [options.output, *([options.dead_letters] if options.dead_letters else [])]
        own = [] if is_connect(session) else written
        place = folders.folder(session, options.images, own)
    if (table := flags.delta_table(options)) is not None:
        if is_connect(session):
            raise InvalidOptionError(
                "--sink delta needs a session of its own, not one of Connect: leave --remote out"
            )
        rows = embed(
            session.createDataFrame([], "origin string, picture binary"),
            F.col("picture"),
            model,
            options,
        )
        delta.check(session, table, table_rows(rows, 0).schema)
    if options.dry_run:
        shown = f"{model}\nwith\n{command_line.describe(options)}\n{memory}"
        print(f"batch_embed would run {shown}\nas the plan")
        images = session.createDataFrame([], "origin string, uri string")
        embed(images, fetch_object("uri"), model, options).explain()
        return
    with (
        admission.deaths_explained(session, model),
        alone_at(session, options.output, output_flag(options)) as refuse_if_lost,
    ):
        embed_all(session, model, options, place, refuse_if_lost)


def check_output(session: SparkSession | None, options: argparse.Namespace) -> None:
    batch_output.check(
        session,
        options.output,
        adopts=options.adopt or bool(options.table),
        removes=options.overwrite,
        flag=output_flag(options),
    )
    if options.dead_letters:
        if session is not None and is_connect(session):
            raise InvalidOptionError(
                "--dead-letters needs a file system, which a Connect session does not have: leave "
                "it out; failed rows stand at --output, with their error"
            )
        batch_output.check_letters(
            session, options.dead_letters, options.output, adopts=options.adopt
        )


@contextmanager
def alone_at(session: SparkSession, output: str, flag: str) -> Iterator[Callable[[], None]]:
    """No other run writes to the output meanwhile; gives what raises if one does all the same."""
    reasons: list[str] = []

    def refuse_if_lost() -> None:
        if reasons:
            raise StreamError(reasons[0])

    if is_connect(session):
        yield refuse_if_lost
        return
    folder = lease.output_lease(output)
    shown = f"{flag} {output}"
    with lease.held(session, folder, "batch_embed", reasons.append, shown):
        yield refuse_if_lost


def embed_all(
    session: SparkSession,
    model: ModelSpec,
    options: argparse.Namespace,
    place: Folder | None,
    refuse_if_lost: Callable[[], None],
) -> None:
    if options.overwrite:
        batch_output.remove(session, options.output)
        if options.dead_letters:
            batch_output.remove_letters(session, options.dead_letters, options.output)
    # A table may have rows of several sources: they are known by their origin.
    source = "keys" if place is None else folders.full_name(session, place)
    settings = {
        **({} if options.table else {"source": source}),
        **batch_output.model_settings(model),
        "format": options.format,
        "normalize": str(options.normalize),
        "exact": decode_flags.described(decode_flags.decode_keywords(options)),
    }
    # What is left after --overwrite is the user's own, in a folder that was this job's.
    adopts = options.adopt or options.overwrite or bool(options.table)
    spelled = {} if place is None else {"source": options.images}
    batch_output.claim(
        session,
        options.output,
        settings,
        adopts=adopts,
        spelled=spelled,
        flag=output_flag(options),
    )
    if options.dead_letters:
        batch_output.claim_letters(
            session, options.dead_letters, options.output, adopts=options.adopt
        )
    report = Report("batch_embed", refuse_if_lost)
    try:
        if place is not None and place.way is Way.SPARK:
            run_whole(session, model, options, report)
        else:
            run_files(session, model, options, place, report)
    finally:
        print(report.summary(), flush=True)


def completed(options: argparse.Namespace) -> argparse.Namespace:
    """Refuse what does not go together."""
    flags.check_table_flags(argparse.Namespace(**{**vars(options), "sink": [options.sink]}))
    if options.table:
        if options.output or options.overwrite or options.format != "parquet":
            given = {"--output": options.output, "--overwrite": options.overwrite}
            flag = next((flag for flag, value in given.items() if value), "--format")
            raise InvalidOptionError(f"{flag} is for --sink files; leave it out with --sink delta")
        options.output, options.format = options.table.rstrip("/"), batch_rows.DELTA
    elif not options.output:
        raise InvalidOptionError(
            "--output is missing: the folder to write (or --sink delta --table)"
        )
    if bool(options.images) == bool(options.keys):
        raise InvalidOptionError("choose --images or --keys")
    Names(options.glob)
    is_list = options.keys and not object_keys.is_prefix(options.keys)
    if is_list and (options.glob or options.all):
        raise InvalidOptionError(
            f"--keys {options.keys} is a list, whose keys are all read: --glob and --all are for a "
            "prefix"
        )
    if options.glob and options.all:
        raise InvalidOptionError("choose --glob or --all")
    if flags.letters_topic(options) is not None:
        raise InvalidOptionError(
            f"--dead-letters {options.dead_letters}: this job keeps its letters in a folder; name "
            "one"
        )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    return command_line.run_job(job.prog, run, job.parse_job(argv, completed))


if __name__ == "__main__":
    sys.exit(main())
