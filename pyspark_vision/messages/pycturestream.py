"""PyctureStream's messages: frames in, results and events out.

Frame: ``{"image": <base64 JPEG>, "timestamp": <naive local ISO-8601>, "camera_id": <string>}``.
Result: ``{"timestamp", "camera_id", "objects": [{"label", "score", "sector": [v, h]}], "image":
<annotated base64 JPEG>}``; we add ``box`` and ``class_id`` to each object, and ``model_name``
(:mod:`result_objects` has the objects of masks, points and text).
Event: ``{"event_type", "timestamp": "YYYY-MM-DD HH:MM:SS.ffffff", "camera_id"}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import ErrorCode
from pyspark_vision.executor.messages import hints
from pyspark_vision.executor.messages.form import MessageForm
from pyspark_vision.messages import json_fields, message_forms, pictures, result_objects
from pyspark_vision.messages.local_times import local_text, with_all_digits
from pyspark_vision.messages.pictures import parent_folder
from pyspark_vision.messages.result_key import result_key
from pyspark_vision.messages.time_zones import UTC, check_time_zone
from pyspark_vision.messages.topics import NOTHING_DETECTED
from pyspark_vision.messages.utf8 import text_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class FrameFormat:
    """How a frame's message is read.

    ``payload``: one of :data:`pictures.PAYLOADS`; ``base64`` and ``uri`` are JSON with the picture
    or its URI in ``image_field``; with ``image`` the value is the picture, the record's key (or
    the topic) its camera and the record's time its time. ``time_zone`` reads timestamps without
    an offset; raises :class:`InvalidOptionError` if it is none. ``cameras``: if not empty, others
    are ``bad_message``. ``form``: of messages that are not PyctureStream's, with fields of the
    names ``image``, ``camera_id`` and ``timestamp``; with ``image`` of those that headers have.
    """

    time_zone: str
    payload: str = pictures.BASE64
    image_field: str = "image"
    cameras: Sequence[str] = ()
    max_message_bytes: int = 5 * 1024 * 1024
    form: MessageForm | None = None

    def __post_init__(self) -> None:
        check_time_zone(self.time_zone)


def read_frames(records: DataFrame, frames: FrameFormat) -> DataFrame:
    """Records -> ``camera_id, timestamp, timestamp_text`` (as sent) and ``problem`` added.

    ``problem`` is the error of a message that is no frame, or null. Pictures are not looked at
    yet: see :func:`with_picture`.
    """
    if frames.form is not None:
        return _read_in_form(records, frames, frames.form)
    if frames.payload == pictures.IMAGE:
        if "key" in records.columns:
            camera = F.coalesce(text_of(F.col("key")), "topic")
        else:  # a file: its folder is the camera
            camera = parent_folder()
        problem = _unknown_camera(camera, frames)
        if "fetch_error" in records.columns:
            problem = F.coalesce(F.col("fetch_error"), problem)
        read = records.select(
            "*",
            camera.alias("camera_id"),
            F.col("received").alias("timestamp"),
            local_text(F.col("received"), frames.time_zone).alias("timestamp_text"),
            problem.alias("problem"),
        )
        return read.drop("fetch_error")
    typed = {"timestamp": "string", "camera_id": "string"}
    message = json_fields.with_message(
        records, F.col("value"), (), typed, max_bytes=frames.max_message_bytes, hinted=True
    )
    camera, text = F.col("_message.fields.camera_id"), F.col("_message.fields.timestamp")
    timestamp = json_fields.local_timestamp(text, frames.time_zone)
    whole = F.col("value").cast("string")
    problem = F.coalesce(
        F.col("_message.error"),
        json_fields.missing(camera, "camera_id", whole),
        json_fields.missing(text, "timestamp", whole),
        _unreadable(text, timestamp),
        _unknown_camera(camera, frames),
    )
    return message.select(
        *records.columns,
        camera.alias("camera_id"),
        timestamp.alias("timestamp"),
        text.alias("timestamp_text"),
        problem.alias("problem"),
    )


def with_picture(frames: DataFrame, how: FrameFormat, fetch: Column | None = None) -> DataFrame:
    """Add ``picture`` (``struct<content, error>``) to read frames; null where ``dropped`` is set.

    ``fetch`` is ``fetch_object(F.col("uri"))`` for the payload ``uri``, whose column ``uri`` this
    function makes.
    """
    problem = F.col("problem")
    # Messages with a problem, and frames that are not looked at, are not parsed a second time.
    wanted = problem.isNull() & F.col("dropped").isNull()
    if how.payload == pictures.IMAGE:
        given = pictures.from_bytes(F.col("value"), how.max_message_bytes)
        picture = F.when(problem.isNull(), given).otherwise(pictures.encoded(F.lit(None), problem))
        return frames.withColumn("picture", F.when(F.col("dropped").isNull(), picture))
    if how.form is not None and how.payload != pictures.URI:
        # As it was read with the fields: a message goes through Python once.
        picture = F.when(F.col("dropped").isNull(), pictures.encoded(F.col("_content"), problem))
        return frames.withColumn("picture", picture).drop("_content")
    text = F.when(wanted, F.col("value").cast("string"))
    if how.payload == pictures.URI:
        uri = (
            F.when(wanted, F.col("uri"))
            if how.form is not None
            else F.from_json(text, f"{quoted(how.image_field)} STRING")[how.image_field]
        )
        without_uri = F.when(wanted, json_fields.missing(F.col("uri"), how.image_field)).otherwise(
            problem
        )
        picture = pictures.from_fetched(fetch, without_uri)  # type: ignore[arg-type]
        return frames.withColumn("uri", uri).withColumn("picture", picture)
    decoded = pictures.with_base64_field(frames, text, how.image_field, problem)
    kept = F.when(F.col("dropped").isNull(), F.col("picture"))
    return decoded.withColumn("picture", kept)


def _read_in_form(records: DataFrame, frames: FrameFormat, form: MessageForm) -> DataFrame:
    read, there = message_forms.with_read(records, form), {field.name for field in form.fields}
    fields = F.col(message_forms.READ)
    camera = F.coalesce(text_of(F.col("key")), "topic")
    if "camera_id" in there:
        camera = fields["camera_id"]
    problem = fields["error"]
    if "timestamp" in there:
        text, moment = message_forms.timestamp(fields, "timestamp")
        timestamp = F.coalesce(moment, json_fields.local_timestamp(text, frames.time_zone))
        problem = F.coalesce(problem, _unreadable(text, timestamp))
        text = F.coalesce(text, local_text(moment, frames.time_zone))
    else:
        timestamp = F.col("received")
        text = local_text(timestamp, frames.time_zone)
    picture: list[Column] = []
    if "image" in there:
        is_uri = frames.payload == pictures.URI
        picture = [fields["image"].alias("uri" if is_uri else "_content")]
    return read.select(
        *records.columns,
        camera.alias("camera_id"),
        timestamp.alias("timestamp"),
        text.alias("timestamp_text"),
        F.coalesce(problem, _unknown_camera(camera, frames)).alias("problem"),
        *picture,
    )


def _unreadable(text: Column, timestamp: Column) -> Column:
    """The error of text that is no timestamp, or null."""
    hint = F.when(text.rlike(json_fields.DIGITS), hints.DIGITS_AS_TIME).otherwise("")
    said = (F.lit("timestamp "), F.substring(text, 1, 40), F.lit(" is not ISO-8601"), hint)
    error = json_fields.error(ErrorCode.BAD_MESSAGE, F.concat(*said))
    return F.when(text.isNotNull() & timestamp.isNull(), error)


def result_messages(results: DataFrame, score_threshold: float, max_bytes: int) -> DataFrame:
    """Flat results -> ``key, value`` of the result topic; failed frames have none.

    Scores are rounded to two decimals and compared after that, as PyctureStream does. A message
    above ``max_bytes`` is sent without its picture, and one that still is without masks, points and
    corners.
    """
    succeeded = results.where(F.col("error").isNull())
    fields = [
        F.col("timestamp_text").alias("timestamp"),
        F.col("camera_id"),
        result_objects.objects(results, score_threshold).alias("objects"),
        F.col("model").alias("model_name"),
    ]
    # Spark breaks base64 into lines, which strict decoders refuse. (Not by `translate`, which looks
    # each letter up: of a small batch's time it took a seventh.)
    picture = F.replace(F.base64("image"), F.lit("\r\n"), F.lit("")).alias("image")
    whole = F.to_json(F.struct(*fields[:3], picture, fields[3]))
    bare = F.to_json(F.struct(*fields))
    value = F.when(F.octet_length(whole) <= max_bytes, whole)
    if result_objects.has_shapes(results):
        value = value.when(F.octet_length(bare) <= max_bytes, bare)
        fields[2] = result_objects.objects(results, score_threshold, shapes=False).alias("objects")
        bare = F.to_json(F.struct(*fields))
    value = value.otherwise(bare)
    return succeeded.select(result_key(succeeded).alias("key"), value.alias("value"))


def events(results: DataFrame, score_threshold: float, time_zone: str = UTC) -> DataFrame:
    """Flat results -> one row per object, or ``Nothing detected``; failed frames give none.

    Their times are local in ``time_zone``, as are those of frames that were sent without an offset.
    """
    labels = result_objects.labels(results, score_threshold)
    named = F.when(F.size(labels) > 0, labels).otherwise(F.array(F.lit(NOTHING_DETECTED)))
    return results.where(F.col("error").isNull()).select(
        F.explode(named).alias("event_type"), _event_time(time_zone).alias("timestamp"), "camera_id"
    )


def _event_time(time_zone: str) -> Column:
    """As sent, with a blank for the ``T`` and all six digits of the fraction; local in any case."""
    sent = F.col("timestamp_text")
    moved = local_text(json_fields.local_timestamp(sent, time_zone), time_zone)
    local = F.when(json_fields.has_offset(sent), moved).otherwise(with_all_digits(sent))
    return F.translate(local, "T", " ")


def _unknown_camera(camera: Column, frames: FrameFormat) -> Column:
    if not frames.cameras:
        return json_fields.no_error()
    message = F.concat(F.lit("camera_id "), F.substring(camera, 1, 40), F.lit(" is not expected"))
    return F.when(~camera.isin(*frames.cameras), json_fields.error(ErrorCode.BAD_MESSAGE, message))
