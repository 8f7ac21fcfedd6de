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
from pyspark_vision.errors import InvalidOptionError, PysparkVisionError
from pyspark_vision.functions import classify_image
from pyspark_vision.job import admission, arguments, command_line, flags, outputs, start
from pyspark_vision.job.outputs import StreamPlaces
from pyspark_vision.job.places import Place
from pyspark_vision.messages import image_stream
from pyspark_vision.messages.planned_time import PLANNED, with_planned_time
from pyspark_vision.messages.topics import IMAGE_RESULT_TOPIC, IMAGE_TOPIC
from pyspark_vision.sinks import Sink
from pyspark_vision.sinks.console import console_sink
from pyspark_vision.sinks.dead_letters import with_payload_if_failed
from pyspark_vision.sinks.json import json_sink
from pyspark_vision.sinks.kafka import kafka_sink, largest_value_bytes
from pyspark_vision.sinks.through import through
from pyspark_vision.sources import kafka_record
from pyspark_vision.sources.kafka import stream_kafka
from pyspark_vision.streaming import runner
from pyspark_vision.transformations import flatten_result


def parser() -> command_line.JobParser:
    job = command_line.JobParser(prog="stream_classify", description=__doc__)
    source = job.add_argument_group("source")
    source.add_argument(
        "--input-source",
        choices=["kafka", "pubsub", "both"],
        default="kafka",
        help="where images come from. Pub/Sub is not built yet",
    )
    flags.add_kafka_source(source, IMAGE_TOPIC)
    source.add_argument("--project-id", metavar="ID", help="the Google Cloud project of Pub/Sub")
    source.add_argument("--pubsub-subscription", metavar="NAME", help="the subscription of Pub/Sub")
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
    sink.add_argument(
        "--output-bq-table", metavar="TABLE", help="the table in BigQuery, which is not built yet"
    )
    sink.add_argument(
        "--console",
        action="store_true",
        help="print a few results of each batch. This is the default sink",
    )
    flags.add_dead_letters(sink)
    stream = job.add_argument_group("stream")
    stream.add_argument(
        "--trigger-seconds",
        type=flags.trigger_of_seconds,
        default="10",
        metavar="N",
        help="the seconds between micro-batches, or "
        f"`{runner.AVAILABLE_NOW}`: read what is there, then stop",
    )
    flags.add_checkpoint(stream)
    flags.add_stream_operation(stream)
    return job


def classify(
    records: DataFrame, model: ModelSpec, *, max_message_bytes: int, confidence_threshold: float
) -> DataFrame:
    """Records (:func:`with_planned_time`) in, one row of week 9's result columns each; no I/O."""
    images = image_stream.read_images(records, max_message_bytes)
    found = classify_image("picture", model, top_k=1, timings=True)
    sized = images.withColumn("image_size_bytes", F.length("picture.content"))
    flat = flatten_result(sized.withColumn("result", found))
    results = image_stream.results(flat, confidence_threshold)
    return with_payload_if_failed(results, "value").drop("value", "picture", "sent_at", PLANNED)


def sinks(session: SparkSession, options: argparse.Namespace) -> dict[str, Sink]:
    made: dict[str, Sink] = {}
    if options.output_kafka_topic:
        target = flags.kafka_topic(
            session, options, "--output-kafka-topic", options.output_kafka_topic
        )
        limit = min(options.max_message_bytes, largest_value_bytes(target))
        made["kafka"] = kafka_sink(
            target, lambda results: image_stream.result_messages(results, limit)
        )
    if options.output_gcs_path:
        lines = json_sink(session, options.output_gcs_path)
        made["json"] = through(image_stream.table, lines)
    if options.dead_letters:
        made["dead_letters"] = flags.dead_letters(session, options)
    if options.console or not made:
        made["console"] = console_sink()
    return made


def places(options: argparse.Namespace) -> StreamPlaces:
    """The folders that the job writes."""
    folders = {"json": ("--output-gcs-path", options.output_gcs_path)}
    return flags.stream_places("stream_classify", options, folders)


def all_places(options: argparse.Namespace) -> list[Place]:
    """What the job reads and writes."""
    read = flags.read_places(model_gcs_path=options.model_gcs_path, labels=options.labels)
    return [*read, *flags.written_places(places(options))]


def run(options: argparse.Namespace) -> None:
    topics = flags.kafka_topics(options, IMAGE_TOPIC, options.output_kafka_topic)
    start.refuse_mixed(all_places(options), topics)
    source = flags.kafka_source(options, IMAGE_TOPIC)
    load = functools.partial(
        by_name.classifier, options.model_type, options.model_gcs_path, options.labels
    )
    first = load_before_spark(options.model_gcs_path, load)
    written = places(options)
    session = start.session_for(
        written.job,
        all_places(options),
        lambda session: outputs.check(session, written),
    )
    model = WatchedBundle(session, options.model_gcs_path, load, first)
    memory = admission.admit(session, model.newest())
    records = with_planned_time(stream_kafka(session, source))
    results = functools.partial(
        classify,
        max_message_bytes=options.max_message_bytes,
        confidence_threshold=options.confidence_threshold,
    )
    if options.dry_run:
        outputs.beyond(session, written)
        shown = f"{model.newest()}\nwith\n{command_line.describe(options)}\n{memory}"
        print(f"stream_classify would run {shown}\nas the plan")
        results(records, model.newest()).explain()
        return
    made = sinks(session, options)
    flags.check_read(session, source, options)
    with admission.deaths_explained(session, model.newest()):
        runner.run(
            records,
            lambda images, newest: runner.Steps(results(images, newest)),
            model.newest,
            made,
            flags.stream_options(options, options.trigger_seconds),
            value="predictions",
            name=written.job,
            words=("images", "classified"),
            hold=lambda lost: outputs.held(
                session, written, lost, kafka_record.agreed(session, source, options.checkpoint)
            ),
        )


def refuse_what_is_not_built(options: argparse.Namespace) -> None:
    """Google Cloud's parts: the flags are week 9's, what they name is not built yet."""
    if options.input_source != "kafka":
        raise InvalidOptionError(
            f"--input-source {options.input_source}: reading Pub/Sub is not built yet; "
            "choose --input-source kafka"
        )
    if options.output_bq_table:
        raise InvalidOptionError(
            "--output-bq-table: writing to BigQuery is not built yet; choose --output-kafka-topic "
            "or --output-gcs-path"
        )


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    options = job.parse_job(argv)
    try:
        refuse_what_is_not_built(options)
        flags.refuse_taken_port(options)
    except PysparkVisionError as error:
        job.error(arguments.with_flags(str(error), options))
    return command_line.run_job(job.prog, run, options)


if __name__ == "__main__":
    sys.exit(main())
