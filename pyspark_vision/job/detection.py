"""Frames in, what is in them out: the transformation of ``jobs/stream_detect.py``.

Objects, segments, poses or lines of text: what the model is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from pyspark_vision.functions import (
    detect_keypoints,
    detect_objects,
    draw_detections,
    draw_keypoints,
    draw_masks,
    draw_text_lines,
    fetch_object,
    read_text,
    segment_image,
)
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
class Task:
    """What a model is for: the column ``value`` of what is found, the function that finds it with
    its keyword ``most`` (how many at most; ``None``: all), and the one that draws it."""

    value: str
    find: Callable[..., Column]
    most: str | None
    draw: Callable[..., Column]


TASKS = {
    "detect": Task("detections", detect_objects, "max_detections", draw_detections),
    "segment": Task("segments", segment_image, "max_segments", draw_masks),
    "keypoints": Task("poses", detect_keypoints, "max_poses", draw_keypoints),
    "ocr": Task("lines", read_text, None, draw_text_lines),
}
"""By the task of a model's spec: all that the job runs."""


@dataclass(frozen=True)
class Detection:
    """How frames become results.

    - ``frames``: how a frame's message is read.
    - ``max_age_s``: older frames are dropped; ``None``: none are.
    - ``is_newest_only``: all frames of a camera in a batch but the newest are dropped.
    - ``uri_prefixes``: the folders of objects that messages may name.
    - ``score_threshold``: in 0..1; detections must be above it; ``max_detections``: the most of one
      frame; lines of text have no such limit. ``None``: the default of the model's function.
    - ``decode``: how pictures are read, keywords of ``detect_objects``.
    - ``draws``: results have a column ``image``, a JPEG with what was found drawn.
    """

    frames: FrameFormat
    max_age_s: float | None
    is_newest_only: bool
    uri_prefixes: tuple[str, ...]
    score_threshold: float | None
    max_detections: int | None
    decode: DecodeKeywords
    draws: bool


def detect(
    frames: DataFrame, model: ModelSpec, how: Detection, seen_frames: SeenFrames | None = None
) -> DataFrame:
    """Frames (``pycturestream.read_frames``) in, a flat row each with what was found or its error.

    No I/O of its own. With ``seen_frames`` duplicates are dropped, too.
    """
    fetch: Column | None = None
    if how.frames.payload == pictures.URI:
        fetch = fetch_object("uri", prefixes=how.uri_prefixes)
    frames = pycturestream.with_picture(_marked(frames, how), how.frames, fetch)
    if seen_frames is not None:
        frames = seen_frames.mark(frames)
    results = flatten_result(frames.withColumn("result", _result(model, how)))
    if how.draws:
        # Not those that failed: a picture that ends its decoder would end this one, too.
        good = F.when(F.col("error").isNull(), F.col("picture"))
        results = results.withColumn("image", _drawn(model, how, good))
    results = with_payload_if_failed(results, "value")
    return results.drop("value", "picture", "problem", "uri")


def _result(model: ModelSpec, how: Detection) -> Column:
    """The answer of the model's own function to ``picture``."""
    task = TASKS[model.task]
    limits: dict[str, Any] = {"score_threshold": how.score_threshold}
    if task.most is not None:
        limits[task.most] = how.max_detections
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return task.find("picture", model, **given, timings=True, **how.decode)


def _drawn(model: ModelSpec, how: Detection, picture: Column) -> Column:
    task = TASKS[model.task]
    # Faces with their points are drawn as poses.
    draw = draw_keypoints if model.keypoint_names else task.draw
    return draw(picture, task.value, **how.decode)


def steps(
    records: DataFrame,
    model: ModelSpec,
    how: Detection,
    seen_frames: SeenFrames | None,
    folder: FolderStream | None,
) -> Steps:
    """A frame is compared with those of its batch, or with earlier ones, or with none."""
    if folder is not None and folder.in_batch:

        def read_and_detect(batch: DataFrame) -> DataFrame:
            frames = pycturestream.read_frames(folder.with_content(batch), how.frames)
            return detect(frames, model, how, seen_frames)

        return Steps(records, read_and_detect)
    frames = pycturestream.read_frames(records, how.frames)
    if seen_frames is not None:  # its frame is another one for each batch: it cannot be prepared
        return Steps(frames, lambda batch: detect(batch, model, how, seen_frames))
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
