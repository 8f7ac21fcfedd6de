"""Detect objects in the frames of a stream: PyctureStream's topics, or a folder of pictures.

By the model that is given they are objects, masks of objects or classes, points of persons, hands
and faces, or lines of text.

spark-submit --py-files dist/pyspark_vision.zip jobs/stream_detect.py --help
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.bundles import ModelSpec, by_name
from pyspark_vision.bundles.watched import WatchedBundle, load_before_spark
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.messages.form import Field, Kind, MessageForm
from pyspark_vision.job import (
    admission,
    command_line,
    decode_flags,
    flags,
    message_flags,
    outputs,
    start,
)
from pyspark_vision.job.detection import TASKS, Detection, detect, steps
from pyspark_vision.job.outputs import StreamPlaces
from pyspark_vision.job.places import Place, Topic
from pyspark_vision.messages import pictures, pycturestream
from pyspark_vision.messages.json_fields import refuse_zone_unknown_to_spark
from pyspark_vision.messages.planned_time import PLANNED, with_planned_time
from pyspark_vision.messages.pycturestream import FrameFormat
from pyspark_vision.messages.record_headers import HEADERS, with_header_columns
from pyspark_vision.messages.time_zones import local_time_zone, time_zone
from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC
from pyspark_vision.sinks import Sink, lake_tables
from pyspark_vision.sinks.console import console_sink
from pyspark_vision.sinks.json import json_sink
from pyspark_vision.sinks.kafka import kafka_sink, largest_value_bytes
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sinks.through import through
from pyspark_vision.sources import folders, kafka_record
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.folder_stream import (
    DEFAULT_MAX_FILES,
    FILE_LIST,
    FILE_SIZE,
    FolderOptions,
    FolderStream,
    listing_interval_s,
)
from pyspark_vision.sources.kafka import KafkaSource, stream_kafka
from pyspark_vision.sources.source_check import SourceCheck
from pyspark_vision.streaming import dedupe, runner
from pyspark_vision.streaming.dedupe import SeenFrames
from pyspark_vision.streaming.micro_batch import PAYLOAD_BYTES

# Of PyctureStream's frames, two of its triggers and a bit.
MAX_AGE_S = 5.0
# PyctureStream's, which detections in messages are above.
DETECTION_SCORE = 0.5
# Of a frame; and where PyctureStream's messages have its picture.
FIELDS, IMAGE_FIELD = ("image", "camera_id", "timestamp"), "image"

SINKS = ("parquet", "json", "kafka", "events", "delta", "iceberg", "console")


def parser() -> command_line.JobParser:
    job = command_line.JobParser(prog="stream_detect", description=__doc__)
    source = job.add_argument_group("source")
    source.add_argument(
        "--source",
        choices=["kafka", "files"],
        help="where frames come from (default: files with --input, else kafka)",
    )
    source.add_argument(
        "--input", metavar="URI", help="the folder to read. A file's own folder is its camera"
    )
    source.add_argument(
        "--glob", default="*", metavar="PATTERN", help="read only files of these names"
    )
    source.add_argument(
        "--max-files-per-trigger",
        type=command_line.positive,
        default=DEFAULT_MAX_FILES,
        metavar="N",
        help="a micro-batch has at most so many files, and at most 256 MB",
    )
    flags.add_settle(source)
    flags.add_kafka_source(source, FRAME_TOPIC)
    source.add_argument(
        "--payload",
        choices=pictures.PAYLOADS,
        default=pictures.BASE64,
        help="what a Kafka message holds: JSON with the picture as base64 or data URI, JSON with "
        "the URI of an object, or the picture's bytes (the record's key is the camera)",
    )
    source.add_argument(
        "--image-field",
        default=None,
        metavar="NAME",
        help="the field of the JSON that has the picture or URI (default: image)",
    )
    source.add_argument(
        "--uri-prefix",
        nargs="+",
        default=[],
        metavar="URI",
        help="the folders whose objects messages may name. --payload uri needs it",
    )
    source.add_argument(
        "--cameras", nargs="+", default=[], metavar="ID", help="read only frames of these cameras"
    )
    source.add_argument(
        "--time-zone",
        type=time_zone,
        default=None,
        metavar="ZONE",
        help="the zone of timestamps without an offset and of events' times, as Europe/Zurich, UTC "
        "or +02:00 (default: this machine's)",
    )
    source.add_argument(
        "--max-age",
        type=command_line.above_zero,
        default=None,
        metavar="SECONDS",
        help="a frame from Kafka that is older when its batch is planned is dropped and counted "
        f"(default: {MAX_AGE_S:g}, with --keep-all none)",
    )
    source.add_argument(
        "--keep-all",
        action="store_true",
        help="detect in every frame, not only in the newest of each camera and trigger. With "
        "--max-age, in every one that is not older",
    )
    source.add_argument(
        "--dedupe",
        type=command_line.above_zero,
        default=None,
        metavar="SECONDS",
        help="a frame is dropped and counted if its picture, byte for byte, is one that the same "
        "camera sent less than this before",
    )
    message_flags.add_message_form(job.add_argument_group("messages"), FIELDS)
    model = job.add_argument_group("model")
    flags.add_model(model, "a detector, a segmenter, a finder of keypoints or a text reader")
    flags.add_labels(model)
    model.add_argument(
        "--score-threshold",
        type=command_line.unit_interval,
        default=None,
        metavar="SCORE",
        help="an object needs a score above it (default: 0.5; of maps of classes none, of poses "
        "whose score is the mean of their points' 0.2)",
    )
    model.add_argument(
        "--max-detections",
        type=command_line.positive,
        default=None,
        metavar="N",
        help="a frame has at most so many objects, segments or poses: the best ones (default: 100)",
    )
    decode_flags.add_decode(model, exact=True, warnings=True)
    sink = job.add_argument_group("sink")
    sink.add_argument(
        "--sink",
        nargs="+",
        choices=SINKS,
        default=None,
        metavar="SINK",
        help=f"where results go: one or more of {', '.join(SINKS)} (default: kafka from Kafka, "
        "parquet from files)",
    )
    sink.add_argument("--output", metavar="URI", help="the folder of the parquet sink")
    sink.add_argument("--output-json", metavar="URI", help="the folder of the json sink")
    sink.add_argument("--output-events", metavar="URI", help="the folder of the events sink")
    flags.add_table(sink)
    sink.add_argument(
        "--output-kafka-topic",
        default=RESULT_TOPIC,
        metavar="TOPIC",
        help="the topic of the kafka sink, on the same brokers",
    )
    sink.add_argument(
        "--annotate",
        action="store_true",
        help="add a column `image`: a JPEG with what was found drawn. The kafka sink always has it",
    )
    flags.add_dead_letters(sink)
    flags.add_stream(job.add_argument_group("stream"), "3 seconds")
    return job


def message_form(options: argparse.Namespace) -> MessageForm | None:
    """How messages are read that are not PyctureStream's; ``None`` for those that are."""
    kind = Kind.URI if options.payload == pictures.URI else Kind.PICTURE
    fields = (
        Field("image", kind, (options.image_field or IMAGE_FIELD,)),
        Field("camera_id", Kind.TEXT, ("camera_id",)),
        Field("timestamp", Kind.TIMESTAMP, ("timestamp",)),
    )
    return message_flags.message_form(options, fields, documents=options.payload != pictures.IMAGE)


def frame_format(options: argparse.Namespace, form: MessageForm | None) -> FrameFormat:
    """How a frame's message is read; a file is its picture's bytes."""
    files = options.source == "files"
    return FrameFormat(
        time_zone=options.time_zone,
        payload=pictures.IMAGE if files else options.payload,
        image_field=options.image_field or IMAGE_FIELD,
        cameras=tuple(options.cameras),
        max_message_bytes=sys.maxsize if files else options.max_message_bytes,
        form=form,
    )


def detection(options: argparse.Namespace, form: MessageForm | None) -> Detection:
    """How frames become results."""
    is_newest_only = options.source == "kafka" and not options.keep_all
    max_age_s = options.max_age or (MAX_AGE_S if is_newest_only else None)
    return Detection(
        frame_format(options, form),
        max_age_s=max_age_s if options.source == "kafka" else None,
        is_newest_only=is_newest_only,
        uri_prefixes=tuple(options.uri_prefix),
        score_threshold=options.score_threshold,
        max_detections=options.max_detections,
        decode=decode_flags.decode_keywords(options),
        draws=options.annotate or "kafka" in options.sink,
    )


def table(results: DataFrame, *, with_image: bool) -> DataFrame:
    """The columns of parquet, json and tables: typed, without what is for messages only."""
    hidden = ["key", "payload", "timestamp_text", "decode_ms", "model_ms", "attempts"]
    hidden += [dedupe.KEY, PLANNED, FILE_SIZE, FILE_LIST, HEADERS]
    return results.drop(*hidden, *([] if with_image else ["image"]))


def sinks(session: SparkSession, options: argparse.Namespace) -> dict[str, Sink]:
    threshold = DETECTION_SCORE if options.score_threshold is None else options.score_threshold
    named_sinks: dict[str, Sink] = {}
    # First: somebody waits for messages.
    if "kafka" in options.sink:
        topic = options.output_kafka_topic
        target = flags.kafka_topic(session, options, "--output-kafka-topic", topic)
        limit = min(options.max_message_bytes, largest_value_bytes(target))
        named_sinks["kafka"] = kafka_sink(
            target, lambda results: pycturestream.result_messages(results, threshold, limit)
        )
    if "parquet" in options.sink:
        parquet = parquet_sink(session, options.output)
        named_sinks["parquet"] = through(
            lambda results: table(results, with_image=options.annotate), parquet
        )
    if "json" in options.sink:
        lines = json_sink(session, options.output_json)
        named_sinks["json"] = through(
            lambda results: table(results, with_image=options.annotate), lines
        )
    if (into := flags.lake_table(options)) is not None:
        named_sinks[flags.lake_sink_name(options)] = through(
            lambda results: table(results, with_image=options.annotate),
            lake_tables.lake_sink(session, into, options.checkpoint),
        )
    if "events" in options.sink:
        named_sinks["events"] = through(
            lambda results: pycturestream.events(results, threshold, options.time_zone),
            json_sink(session, options.output_events),
        )
    if options.dead_letters:
        named_sinks["dead_letters"] = flags.dead_letters(session, options)
    if "console" in options.sink:
        named_sinks["console"] = console_sink()
    return named_sinks


def places(options: argparse.Namespace) -> StreamPlaces:
    """The folders that the job writes."""
    by_sink = {
        "parquet": ("--output", options.output),
        "json": ("--output-json", options.output_json),
        "events": ("--output-events", options.output_events),
    }
    chosen = {name: folder for name, folder in by_sink.items() if name in options.sink}
    return flags.stream_places("stream_detect", options, chosen)


def all_places(options: argparse.Namespace) -> list[Place]:
    """What the job reads and writes."""
    images = options.input if options.source == "files" else None
    read = flags.read_places(input=images, model=options.model, labels=options.labels)
    objects = [Place("--uri-prefix", prefix, is_prefix=True) for prefix in options.uri_prefix]
    return [*read, *objects, *flags.written_places(places(options))]


def all_topics(options: argparse.Namespace) -> list[Topic]:
    """The topics that the job reads and writes; of a job that reads files they cannot meet."""
    if options.source == "files":
        return []
    results = options.output_kafka_topic if "kafka" in options.sink else None
    return flags.kafka_topics(options, FRAME_TOPIC, results)


def kafka_source(options: argparse.Namespace, form: MessageForm | None) -> KafkaSource | None:
    """The topics that are read; ``None`` from a folder."""
    if options.source == "files":
        return None
    headers = message_flags.needs_headers(options, form)
    return flags.kafka_source(options, FRAME_TOPIC, headers=headers)


def folder_stream(session: SparkSession, options: argparse.Namespace) -> FolderStream | None:
    """The stream of ``--input``; ``None`` from Kafka."""
    if options.source == "kafka":
        return None
    own = [place.uri for place in flags.written_places(places(options))]
    place = folders.folder(session, options.input, own)
    every_s = listing_interval_s(options.trigger)
    how = FolderOptions(Names(options.glob), options.max_files_per_trigger, options.settle, every_s)
    return FolderStream(session, place, options.checkpoint, how)


def read(
    session: SparkSession, source: KafkaSource | None, folder: FolderStream | None
) -> DataFrame:
    """The records of the one of both that there is."""
    if source is not None:
        return stream_kafka(session, source)
    assert folder is not None
    return folder.records()


def loaded(options: argparse.Namespace) -> ModelSpec:
    """The model of ``--model``, which is for one of the :data:`TASKS`."""
    model = by_name.model(options.model, tuple(TASKS), options.labels)
    if options.max_detections is not None and TASKS[model.task].most is None:
        raise InvalidOptionError(
            f"--max-detections {options.max_detections}: model {model.name!r} reads text, of which "
            "all lines are kept. Leave the flag out; --score-threshold says which lines count"
        )
    return model


def run(options: argparse.Namespace) -> None:
    start.refuse_mixed(all_places(options), all_topics(options))
    form = message_form(options)
    source = kafka_source(options, form)
    if source is None:
        folders.check_before_spark(options.input)
    load = functools.partial(loaded, options)
    first = load_before_spark(options.model, load)
    written = places(options)
    session = start.session_for(
        written.job,
        all_places(options),
        lambda session: outputs.check(session, written),
        writes_delta=flags.DELTA in options.sink,
    )
    refuse_zone_unknown_to_spark(session, options.time_zone)
    model = WatchedBundle(session, options.model, load, first)
    memory = admission.admit(session, model.newest())
    folder = folder_stream(session, options)
    seen_frames: SeenFrames | None = None
    if options.dedupe is not None:
        seen_frames = SeenFrames(session, options.checkpoint, options.dedupe)
    if options.dry_run or options.table:
        records = folder.sample() if folder is not None else read(session, source, folder)
        records = with_header_columns(records, options.header_columns)
        how = detection(options, form)
        frames = pycturestream.read_frames(with_planned_time(records), how.frames)
        planned = detect(frames, model.newest(), how, seen_frames)
        if (into := flags.lake_table(options)) is not None:
            rows = table(planned.drop("dropped", PAYLOAD_BYTES), with_image=options.annotate)
            lake_tables.check(session, into, rows.schema, options.checkpoint)
    if options.dry_run:
        outputs.beyond(session, written)
        shown = f"{model.newest()}\nwith\n{command_line.describe(options)}\n{memory}"
        print(f"stream_detect would run {shown}\nas the plan")
        planned.explain()
        return
    if not options.dead_letters and not {"parquet", "json", "delta", "iceberg"} & set(options.sink):
        print(
            "stream_detect: frames that fail are counted, not kept; --dead-letters keeps them",
            file=sys.stderr,
            flush=True,
        )
    named_sinks = sinks(session, options)
    if source is not None:
        flags.check_read(session, source, options)
    if seen_frames is not None:
        named_sinks["seen_frames"] = seen_frames.remember
    if folder is not None:
        named_sinks["failed_files"] = folder.note
    records = with_planned_time(read(session, source, folder))
    records = with_header_columns(records, options.header_columns)
    with admission.deaths_explained(session, model.newest()):
        runner.run(
            records,
            lambda records, newest: steps(
                records, newest, detection(options, form), seen_frames, folder
            ),
            model.newest,
            named_sinks,
            flags.stream_options(options, options.trigger),
            value=TASKS[model.newest().task].value,
            name=written.job,
            words=("frames", "detected"),
            hold=lambda lost: held(session, source, folder, written, lost),
        )
    if folder is not None:
        if left_out := folder.left_out():
            print(f"stream_detect: left out {left_out}", flush=True)
        folder.check()


@contextmanager
def held(
    session: SparkSession,
    source: KafkaSource | None,
    folder: FolderStream | None,
    written: StreamPlaces,
    lost: Callable[[str], None],
) -> Iterator[SourceCheck]:
    """The places are this job's, and then its folder is listed."""
    same_source = agreed(session, source, written.checkpoint)
    with outputs.held(session, written, lost, same_source) as check, folder or nullcontext():
        yield check


@contextmanager
def agreed(
    session: SparkSession, source: KafkaSource | None, checkpoint: str
) -> Iterator[SourceCheck]:
    """The source is the one of the checkpoint."""
    if source is not None:
        with kafka_record.agreed(session, source, checkpoint) as check:
            yield check
    else:
        kafka_record.refuse_kafka(session, checkpoint)
        yield SourceCheck()


def completed(options: argparse.Namespace) -> argparse.Namespace:
    """Fill in what depends on other options, and refuse what does not go together."""
    options.source = options.source or ("files" if options.input else "kafka")
    options.sink = options.sink or (["kafka"] if options.source == "kafka" else ["parquet"])
    if options.source == "files" and not options.input:
        raise InvalidOptionError("--source files needs --input")
    if options.source == "files":
        message_flags.refuse_for_files(options)
    Names(options.glob)
    if options.image_field and any(text.startswith("image=") for text in options.field):
        raise InvalidOptionError("choose --image-field NAME or --field image=PATH, not both")
    if options.payload == pictures.URI and not options.uri_prefix:
        raise InvalidOptionError(
            "--payload uri needs --uri-prefix: the folders of objects that messages may name"
        )
    for name, flag in (("parquet", "output"), ("json", "output_json"), ("events", "output_events")):
        if name in options.sink and not getattr(options, flag):
            raise InvalidOptionError(f"--sink {name} needs --{flag.replace('_', '-')}")
    flags.check_table_flags(options)
    flags.refuse_taken_port(options)
    if options.time_zone is None:
        local = local_time_zone()
        options.time_zone = local.name
        if local.not_understood:
            print(
                f"stream_detect: cannot tell this machine's time zone from {local.not_understood}; "
                f"{local.name} is taken. --time-zone says which one it is",
                file=sys.stderr,
                flush=True,
            )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    return command_line.run_job(job.prog, run, job.parse_job(argv, completed))


if __name__ == "__main__":
    sys.exit(main())
