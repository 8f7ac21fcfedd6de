"""Frames in, detected objects out: a folder watched as a stream (or read once) -> Parquet, console.

spark-submit --py-files dist/pyspark_vision.zip jobs/stream_detect.py --help
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession

from pyspark_vision import config, streaming
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.functions import detect_objects, draw_detections
from pyspark_vision.session import job_session
from pyspark_vision.sinks import Sink
from pyspark_vision.sinks.console import console_sink
from pyspark_vision.sinks.parquet import parquet_sink, refuse_other_output
from pyspark_vision.sources.files import FilesSource, stream_files
from pyspark_vision.transformations import flatten_result


def parser() -> config.JobParser:
    job = config.JobParser(prog="stream_detect", description=__doc__)
    source = job.add_argument_group("source")
    source.add_argument("--source", choices=["files"], default="files", help="where frames are")
    source.add_argument("--input", required=True, metavar="URI", help="folder of image files")
    source.add_argument("--glob", default="*", help="names of the files to read")
    source.add_argument(
        "--max-files-per-trigger",
        type=config.positive,
        default=64,
        metavar="N",
        help="most files in one micro-batch",
    )
    model = job.add_argument_group("model")
    model.add_argument("--model", required=True, metavar="URI", help="bundle of a detector")
    model.add_argument(
        "--score-threshold", type=config.unit_interval, default=0.5, help="least score, exclusive"
    )
    model.add_argument(
        "--max-detections", type=config.positive, default=100, help="most objects in one frame"
    )
    model.add_argument("--exact", action="store_true", help="decode JPEG at full scale")
    sink = job.add_argument_group("sink")
    sink.add_argument(
        "--sink", nargs="+", choices=["parquet", "console"], default=["parquet"], help="one or more"
    )
    sink.add_argument("--output", metavar="URI", help="folder of the parquet sink")
    sink.add_argument(
        "--annotate", action="store_true", help="add a column `image`: JPEG with the boxes drawn"
    )
    stream = job.add_argument_group("stream")
    stream.add_argument(
        "--trigger",
        default="3 seconds",
        help="interval between micro-batches, or `available-now`: read what is there once and stop",
    )
    stream.add_argument("--checkpoint", required=True, metavar="URI", help="progress of the stream")
    return job


def detect(frames: DataFrame, model: ModelSpec, options: argparse.Namespace) -> DataFrame:
    """One flat row per frame with its typed detections; no session, no I/O."""
    found = detect_objects(
        "content",
        model,
        score_threshold=options.score_threshold,
        max_detections=options.max_detections,
        exact=options.exact,
    )
    results = flatten_result(frames.withColumn("result", found))
    if options.annotate:
        results = results.withColumn("image", draw_detections("content", "detections"))
    return results.drop("content")


def sinks(session: SparkSession, options: argparse.Namespace) -> dict[str, Sink]:
    made: dict[str, Sink] = {}
    if "parquet" in options.sink:
        refuse_other_output(session, options.output, options.checkpoint)
        made["parquet"] = parquet_sink(session, options.output)
    if "console" in options.sink:
        made["console"] = console_sink()
    return made


def run(options: argparse.Namespace) -> None:
    session = job_session("stream_detect")
    model = ModelSpec.load(options.model)
    source = FilesSource(options.input, options.glob, options.max_files_per_trigger)
    frames = stream_files(session, source)
    if options.dry_run:
        print(f"stream_detect would run {model}\nwith\n{config.describe(options)}\nas the plan")
        detect(frames, model, options).explain()
        return
    query, counts = streaming.start(
        frames,
        lambda batch: detect(batch, model, options),
        sinks(session, options),
        value="detections",
        checkpoint=options.checkpoint,
        trigger=options.trigger,
        query_name="stream_detect",
    )
    try:
        query.awaitTermination()
    finally:
        print(f"stream_detect: {counts.summary('frames', 'detected')}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    options = job.parse_job(argv)
    if "parquet" in options.sink and not options.output:
        job.error("--sink parquet needs --output")
    return config.run_job(job.prog, run, options)


if __name__ == "__main__":
    sys.exit(main())
