"""Classify images of a stream, with the flags and formats of the Dataproc classifier ("week 9").

spark-submit --py-files dist/pyspark_vision.zip jobs/stream_classify.py --help
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec, by_name
from pyspark_vision.bundles.watched import WatchedBundle, load_before_spark
from pyspark_vision.executor.messages.form import Field, Kind
from pyspark_vision.functions import DecodeKeywords, classify_image
from pyspark_vision.job import (
    admission,
    bigquery,
    command_line,
    decode_flags,
    flags,
    image_source,
    message_flags,
    outputs,
    start,
)
from pyspark_vision.job.outputs import StreamPlaces
from pyspark_vision.job.places import Place
from pyspark_vision.messages import image_stream, pictures
from pyspark_vision.messages.planned_time import PLANNED
from pyspark_vision.messages.record_headers import with_header_columns
from pyspark_vision.messages.topics import IMAGE_RESULT_TOPIC, IMAGE_TOPIC
from pyspark_vision.sinks import Sink, lake_tables
from pyspark_vision.sinks.bigquery.sink import largest_row_bytes, with_refusal
from pyspark_vision.sinks.bigquery.table import Table, Wanted
from pyspark_vision.sinks.console import console_sink
from pyspark_vision.sinks.dead_letters import with_payload_if_failed
from pyspark_vision.sinks.json import json_sink
from pyspark_vision.sinks.kafka import kafka_sink, largest_value_bytes
from pyspark_vision.sinks.through import through
from pyspark_vision.streaming import runner
from pyspark_vision.transformations import flatten_result

# Where week 9's messages have them.
FIELDS = (
    Field("image_id", Kind.TEXT, ("image_id",), required=False),
    Field("image_data", Kind.PICTURE, ("image_data",)),
    Field("timestamp", Kind.TIMESTAMP, ("timestamp",), required=False),
    Field("metadata", Kind.MAP, ("metadata",), required=False),
)
# As `stream_detect` calls it.
ALIASES = {"image": "image_data"}


def parser() -> command_line.JobParser:
    job = command_line.JobParser(prog="stream_classify", description=__doc__)
    source = job.add_argument_group("source")
    image_source.add_pubsub(source)
    flags.add_kafka_source(source, IMAGE_TOPIC)
    source.add_argument(
        "--payload",
        choices=[pictures.BASE64, pictures.IMAGE],
        default=pictures.BASE64,
        help="what a Kafka message holds: JSON with the picture as base64 or data URI, or the "
        "picture's bytes (the record's key is the image's id)",
    )
    source.add_argument(
        "--project-id", metavar="ID", help="the Google Cloud project of Pub/Sub and BigQuery"
    )
    message_flags.add_message_form(
        job.add_argument_group("messages"), [field.name for field in FIELDS]
    )
    model = job.add_argument_group("model")
    model.add_argument(
        "--model-type",
        default="mobilenet_v2",
        metavar="NAME",
        help="mobilenet_v2 (or mobilenet), resnet50, vgg16 or another of keras.applications, or "
        "custom. The name also says how pixels are prepared",
    )
    model.add_argument(
        "--model-gcs-path",
        metavar="URI",
        help=flags.MODEL,
    )
    flags.add_labels(model)
    model.add_argument(
        "--confidence-threshold",
        type=command_line.unit_interval,
        default=0.1,
        metavar="SCORE",
        help="a label below it is kept and marked below_threshold",
    )
    model.add_argument(
        "--top-k",
        type=command_line.positive,
        default=1,
        metavar="K",
        help="above 1, results have a field `predictions` besides: the K best classes with their "
        "scores. A BigQuery table has the best one alone",
    )
    decode_flags.add_decode(model)
    sink = job.add_argument_group("sink")
    sink.add_argument(
        "--output-kafka-topic",
        metavar="TOPIC",
        help="the topic of results as JSON, keyed by prediction_id. Usually it is "
        f"{IMAGE_RESULT_TOPIC}",
    )
    sink.add_argument(
        "--output-gcs-path", metavar="URI", help="the folder of results as JSON lines"
    )
    bigquery.add_bigquery(sink)
    sink.add_argument(
        "--sink",
        choices=[flags.DELTA, flags.ICEBERG],
        help="what --table is. Without it that is a Delta table",
    )
    flags.add_table(sink)
    sink.add_argument(
        "--console",
        action="store_true",
        help="print a few results of each batch. This is the default sink",
    )
    sink.add_argument(
        "--failures",
        choices=["keep", "drop"],
        default="keep",
        help="whether failed images are results, too, with their error_message. `drop` counts "
        "them, and gives them to --dead-letters alone: the old system's results were without them",
    )
    flags.add_dead_letters(sink)
    stream = job.add_argument_group("stream")
    stream.add_argument(
        "--trigger-seconds",
        type=flags.trigger_of_seconds,
        default="5",
        metavar="N",
        help="the seconds between micro-batches, or "
        f"`{runner.AVAILABLE_NOW}`: read what is there, then stop",
    )
    flags.add_checkpoint(stream)
    flags.add_stream_operation(stream)
    return job


def classify(
    images: DataFrame,
    model: ModelSpec,
    *,
    confidence_threshold: float,
    top_k: int = 1,
    table: Table | None = None,
    decode: DecodeKeywords | None = None,
) -> DataFrame:
    """Images (:func:`image_source.images`) in, one row of week 9's result columns each; no I/O.

    ``predictions``, which is there besides, has ``top_k`` classes. With a ``table`` the row also
    says whether that takes it. ``decode``: how pictures are read.
    """
    result = classify_image("picture", model, top_k=top_k, timings=True, **(decode or {}))
    sized = images.withColumn("image_size_bytes", F.length("picture.content"))
    flat = flatten_result(sized.withColumn("result", result))
    results = image_stream.results(flat, confidence_threshold)
    if table is not None:
        results = with_refusal(image_stream.with_object(results), table)
    return with_payload_if_failed(results, "value").drop("value", "picture", "sent_at", PLANNED)


def wanted_table(options: argparse.Namespace) -> Wanted:
    """What a table of predictions has."""
    return Wanted(
        image_stream.PREDICTION,
        image_stream.PREDICTION_OFFERED,
        partitioned_by="processed_at",
        largest_row_bytes=largest_row_bytes(options.bq_write),
        added=bigquery.added(options),
    )


def sinks(
    session: SparkSession, options: argparse.Namespace, table: Table | None = None
) -> dict[str, Sink]:
    named_sinks: dict[str, Sink] = {}
    kept = functools.partial(image_stream.kept, failures=options.failures)
    all_classes = options.top_k > 1
    if options.output_kafka_topic:
        target = flags.kafka_topic(
            session, options, "--output-kafka-topic", options.output_kafka_topic
        )
        limit = min(options.max_message_bytes, largest_value_bytes(target))
        named_sinks["kafka"] = kafka_sink(
            target,
            lambda results: image_stream.result_messages(
                kept(results), limit, all_classes=all_classes
            ),
        )
    if options.output_gcs_path:
        lines = json_sink(session, options.output_gcs_path)
        named_sinks["json"] = through(
            lambda results: image_stream.table(kept(results), all_classes=all_classes), lines
        )
    if table is not None:
        named_sinks["bigquery"] = through(
            kept, bigquery.sink(session, options, table, wanted_table(options))
        )
    if (lake := flags.lake_table(options)) is not None:
        named_sinks[flags.lake_sink_name(options)] = through(
            lambda results: image_stream.table(kept(results), all_classes=all_classes),
            lake_tables.lake_sink(session, lake, options.checkpoint),
        )
    if options.dead_letters:
        named_sinks["dead_letters"] = flags.dead_letters(session, options)
    if options.console or not named_sinks:
        named_sinks["console"] = console_sink()
    return named_sinks


def places(options: argparse.Namespace) -> StreamPlaces:
    """The folders that the job writes."""
    folders = {"json": ("--output-gcs-path", options.output_gcs_path)}
    return flags.stream_places("stream_classify", options, folders)


def all_places(options: argparse.Namespace) -> list[Place]:
    """What the job reads and writes."""
    read = flags.read_places(model_gcs_path=options.model_gcs_path, labels=options.labels)
    return [*read, *flags.written_places(places(options)), *bigquery.places(options)]


def run(options: argparse.Namespace) -> None:
    topics = flags.kafka_topics(options, IMAGE_TOPIC, options.output_kafka_topic)
    start.refuse_mixed(all_places(options), topics)
    form = message_flags.message_form(
        options, FIELDS, aliases=ALIASES, documents=options.payload != pictures.IMAGE
    )
    headers = message_flags.needs_headers(options, form)
    source = image_source.image_source(
        options,
        lambda: flags.kafka_source(options, IMAGE_TOPIC, headers=headers),
        options.trigger_seconds,
    )
    if not options.dry_run:
        bigquery.check(options, wanted_table(options))
    load = functools.partial(
        by_name.classifier, options.model_type, options.model_gcs_path, options.labels
    )
    first = load_before_spark(options.model_gcs_path, load)
    written = places(options)
    session = start.session_for(
        written.job,
        all_places(options),
        lambda session: outputs.check(session, written),
        writes_delta=flags.DELTA in options.sink,
    )
    model = WatchedBundle(session, options.model_gcs_path, load, first)
    memory = admission.admit(session, model.newest())

    def read(records: DataFrame) -> DataFrame:
        with_headers = with_header_columns(records, options.header_columns)
        return image_stream.read_images(
            with_headers, options.max_message_bytes, form, options.payload
        )

    own = [place.uri for place in flags.written_places(written)]
    images = image_source.images(session, source, options.checkpoint, read, own)
    table = None
    if not options.dry_run:
        table = bigquery.ready(options, wanted_table(options), options.trigger_seconds)
    results = functools.partial(
        classify,
        confidence_threshold=options.confidence_threshold,
        top_k=options.top_k,
        table=table,
        decode=decode_flags.decode_keywords(options),
    )
    if (lake := flags.lake_table(options)) is not None:
        rows = image_stream.table(results(images, model.newest()), all_classes=options.top_k > 1)
        lake_tables.check(session, lake, rows.schema, options.checkpoint)
    if options.dry_run:
        outputs.beyond(session, written)
        shown = f"{model.newest()}\nwith\n{command_line.describe(options)}\n{memory}"
        print(f"stream_classify would run {shown}\nas the plan")
        results(images, model.newest()).explain()
        return
    named_sinks = sinks(session, options, table)
    if source.kafka is not None:
        flags.check_read(session, source.kafka, options)
    with admission.deaths_explained(session, model.newest()):
        runner.run(
            images,
            lambda read, newest: runner.Steps(results(read, newest)),
            model.newest,
            named_sinks,
            flags.stream_options(options, options.trigger_seconds),
            value="predictions",
            name=written.job,
            words=("images", "classified"),
            hold=lambda lost: outputs.held(
                session, written, lost, image_source.agreed(session, source, options.checkpoint)
            ),
        )


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together; the sinks become a list."""
    bigquery.table_name(options)
    default = [flags.DELTA] if options.table else []
    options.sink = [options.sink] if options.sink else default
    flags.check_table_flags(options)
    image_source.check_flags(options)
    flags.refuse_taken_port(options)


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    return command_line.run_job(job.prog, run, job.parse_job(argv, check))


if __name__ == "__main__":
    sys.exit(main())
