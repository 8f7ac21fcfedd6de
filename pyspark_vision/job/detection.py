"""Frames in, detected objects out: the transformation of ``jobs/stream_detect.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.functions import detect_objects, draw_detections, fetch_object
from pyspark_vision.messages import pictures, pycturestream
from pyspark_vision.messages.planned_time import planned_at
from pyspark_vision.messages.pycturestream import FrameFormat
from pyspark_vision.sinks.dead_letters import with_payload_if_failed
from pyspark_vision.spark.prepared import prepared
from pyspark_vision.streaming.runner import Steps
from pyspark_vision.transformations import flatten_result, mark_dropped

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.functions import DecodeKeywords
    from pyspark_vision.sources.folder_stream import FolderStream
    from pyspark_vision.streaming.dedupe import SeenFrames


@dataclass(frozen=True)
class Detection:
    """How frames become results.

    - ``frames``: how a frame's message is read.
    - ``max_age_s``: older frames are dropped; ``None``: none are.
    - ``is_newest_only``: of each camera in a batch all frames but the newest are dropped.
    - ``uri_prefixes``: the folders of objects that messages may name.
    - ``score_threshold``: least score, exclusive, in 0..1; ``max_detections``: of one frame.
    - ``decode``: how pictures are read, keywords of ``detect_objects``.
    - ``draws``: results have a column ``image``, a JPEG with the boxes drawn.
    """

    frames: FrameFormat
    max_age_s: float | None
    is_newest_only: bool
    uri_prefixes: tuple[str, ...]
    score_threshold: float
    max_detections: int
    decode: DecodeKeywords
    draws: bool


def detect(
    frames: DataFrame, model: ModelSpec, how: Detection, seen: SeenFrames | None = None
) -> DataFrame:
    """Frames (``pycturestream.read_frames``) in, a flat row each with its detections or its error.

    No I/O of its own. With ``seen`` duplicates are dropped, too.
    """
    fetch: Column | None = None
    if how.frames.payload == pictures.URI:
        fetch = fetch_object("uri", prefixes=how.uri_prefixes)
    frames = pycturestream.with_picture(_marked(frames, how), how.frames, fetch)
    if seen is not None:
        frames = seen.mark(frames)
    result = detect_objects(
        "picture",
        model,
        score_threshold=how.score_threshold,
        max_detections=how.max_detections,
        timings=True,
        **how.decode,
    )
    results = flatten_result(frames.withColumn("result", result))
    if how.draws:
        # Not those that failed: a picture that ends its decoder would end this one, too.
        good = F.when(F.col("error").isNull(), F.col("picture"))
        drawn = draw_detections(good, "detections", **how.decode)
        results = results.withColumn("image", drawn)
    results = with_payload_if_failed(results, "value")
    return results.drop("value", "picture", "problem", "uri")


def steps(
    records: DataFrame,
    model: ModelSpec,
    how: Detection,
    seen: SeenFrames | None,
    folder: FolderStream | None,
) -> Steps:
    """A frame is compared with those of its batch, or with earlier ones, or with none."""
    if folder is not None and folder.in_batch:

        def read_and_detect(batch: DataFrame) -> DataFrame:
            frames = pycturestream.read_frames(folder.with_content(batch), how.frames)
            return detect(frames, model, how, seen)

        return Steps(records, read_and_detect)
    frames = pycturestream.read_frames(records, how.frames)
    if seen is not None:  # what was seen is another frame for each batch: it cannot be prepared
        return Steps(frames, lambda batch: detect(batch, model, how, seen))
    if not how.is_newest_only:
        return Steps(detect(frames, model, how))
    return Steps(frames, prepared(lambda batch: detect(batch, model, how)))


def _marked(frames: DataFrame, how: Detection) -> DataFrame:
    """Frames with ``dropped``: stale or superseded ones, unless all are looked at."""
    if how.max_age_s is None and not how.is_newest_only:
        return frames.withColumn("dropped", F.lit(None).cast("string"))
    return mark_dropped(
        frames,
        key="camera_id" if how.is_newest_only else None,
        now=planned_at(),
        timestamp="timestamp",
        max_age_s=how.max_age_s,
        unless=F.col("problem").isNotNull(),
        payload="value",
    )
