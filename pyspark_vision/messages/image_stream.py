"""The Dataproc classifier's messages ("week 9"): images in, labels out.

Image, under the key ``image_id``: ``{"image_id", "image_data": <base64>, "timestamp",
"metadata": map<string,string>}``. Result, under the key ``prediction_id``: the columns of
:data:`RESULT`, all of them always, null where there is nothing to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DoubleType,
    IntegerType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pyspark_vision.errors import ErrorCode
from pyspark_vision.executor.messages.form import MessageForm
from pyspark_vision.messages import json_fields, message_forms, pictures, record_headers
from pyspark_vision.messages.local_times import local_text
from pyspark_vision.messages.planned_time import planned_at
from pyspark_vision.messages.result_key import result_key
from pyspark_vision.messages.time_zones import UTC
from pyspark_vision.messages.utf8 import text_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

RESULT = StructType(
    [
        StructField("image_id", StringType()),
        StructField("timestamp", StringType()),
        StructField("metadata", MapType(StringType(), StringType())),
        StructField("prediction_id", StringType()),
        StructField("label", StringType()),
        StructField("confidence", DoubleType()),
        StructField("model_name", StringType()),
        StructField("processing_time_ms", IntegerType()),
        StructField("error_message", StringType()),
        StructField("image_size_bytes", IntegerType()),
        StructField("processed_at", TimestampType()),
        # Ours: the others were there before.
        StructField("below_threshold", BooleanType()),
    ]
)
"""``timestamp`` as it was sent; ``processing_time_ms``: decoding and the model, not the waiting;
``processed_at``: when the batch was planned, the same when it is replayed;
``error_message``: ``code: message`` of a failed image, whose label and confidence are null."""

PREDICTION = StructType(
    [
        StructField("prediction_id", StringType()),
        StructField("label", StringType()),
        StructField("confidence", DoubleType()),
        StructField("model_name", StringType()),
        StructField("processing_time_ms", IntegerType()),
        StructField("image_size_bytes", IntegerType()),
        StructField("bucket", StringType()),
        StructField("object_name", StringType()),
        StructField("processed_at", TimestampType()),
    ]
)
"""The table of predictions; a failed image is a row without ``label`` and ``confidence``."""

OBJECT = ("bucket", "object_name")
"""Besides, of a stream that reads objects; null in a row that came from Kafka."""

PREDICTION_OFFERED = StructType(
    [*PREDICTION, *(field for field in RESULT if field.name not in PREDICTION.names)]
)
"""What a table of predictions may have besides: the other columns of :data:`RESULT`."""


def read_images(
    records: DataFrame,
    max_message_bytes: int,
    form: MessageForm | None = None,
    payload: str = pictures.BASE64,
) -> DataFrame:
    """Kafka records -> ``image_id, sent_at, metadata, picture`` added.

    ``picture`` is ``struct<content, error>``; a message without ``image_id`` has its key instead.
    ``form``: of messages that are not week 9's, with fields of the names ``image_id``,
    ``image_data``, ``timestamp`` and ``metadata``; a moment becomes ISO-8601 text in UTC. Without
    the field ``image_id`` it is the key, without ``timestamp`` the record's own time.
    ``payload``: ``image`` where the value is the picture, and only headers have fields.
    """
    if payload == pictures.IMAGE:
        return _read_pictures(records, max_message_bytes, form)
    if form is not None:
        return _read_in_form(records, form)
    typed = {"image_id": "string", "timestamp": "string", "metadata": "map<string,string>"}
    message = json_fields.with_message(
        records,
        F.col("value"),
        (),
        typed,
        max_bytes=max_message_bytes,
        encoded=("image_data",),
        hinted=True,
    )
    fields = F.col("_message.fields")
    image_id = F.coalesce(fields["image_id"], text_of(F.col("key")))
    whole = F.col("value").cast("string")
    problem = F.coalesce(F.col("_message.error"), json_fields.missing(image_id, "image_id", whole))
    images = message.select(
        *records.columns,
        image_id.alias("image_id"),
        fields["timestamp"].alias("sent_at"),
        fields["metadata"].alias("metadata"),
        fields["image_data"].alias("_image"),
        problem.alias("_refused"),
    )
    image = F.col("_image")
    there = json_fields.there_is(whole, "image_data")
    return pictures.with_base64(
        images, image["content"], image["text"], F.col("_refused"), there
    ).drop("_image", "_refused")


def _read_in_form(records: DataFrame, form: MessageForm) -> DataFrame:
    image_id, sent_at = _of_form_or_record(form)
    fields = F.col(message_forms.READ)
    problem = F.coalesce(fields["error"], json_fields.missing(image_id, "image_id"))
    return message_forms.with_read(records, form).select(
        *records.columns,
        image_id.alias("image_id"),
        sent_at.alias("sent_at"),
        F.map_from_entries(fields["metadata"]).alias("metadata"),
        pictures.encoded(fields["image_data"], problem).alias("picture"),
    )


def _read_pictures(
    records: DataFrame, max_message_bytes: int, form: MessageForm | None
) -> DataFrame:
    image_id, sent_at = _of_form_or_record(form)
    unnamed = F.when(
        image_id.isNull(), json_fields.error(ErrorCode.BAD_MESSAGE, "the record has no key")
    )
    refused = [] if form is None else [F.col(message_forms.READ)["error"]]
    problem = F.coalesce(*refused, unnamed)
    given = pictures.from_bytes(F.col("value"), max_message_bytes)
    picture = F.when(problem.isNull(), given).otherwise(pictures.encoded(F.lit(None), problem))
    read = records if form is None else message_forms.with_read(records, form)
    return read.select(
        *records.columns,
        image_id.alias("image_id"),
        sent_at.alias("sent_at"),
        F.lit(None).cast(RESULT["metadata"].dataType).alias("metadata"),
        picture.alias("picture"),
    )


def _of_form_or_record(form: MessageForm | None) -> tuple[Column, Column]:
    """An image's id and its time as text; what a form does not have is the record's own."""
    there = {field.name for field in form.fields} if form is not None else set()
    fields = F.col(message_forms.READ)
    given = [fields["image_id"]] if "image_id" in there else []
    image_id = F.coalesce(*given, text_of(F.col("key")))
    text, moment = F.lit(None).cast("string"), F.col("received")
    if "timestamp" in there:
        text, moment = message_forms.timestamp(fields, "timestamp")
    return image_id, F.coalesce(text, F.concat(local_text(moment, UTC), F.lit("Z")))


def results(flat: DataFrame, confidence_threshold: float) -> DataFrame:
    """Flat classified rows -> :data:`RESULT` beside the columns that are there.

    A label below the threshold is kept, and marked by ``below_threshold``.
    """
    best = F.get("predictions", F.lit(0))
    confidence = best["score"].cast("double")
    label = F.coalesce(best["label"], F.concat(F.lit("#"), best["class_id"].cast("string")))
    took_ms = F.col("decode_ms") + F.coalesce("model_ms", F.lit(0.0))
    values = {
        "timestamp": F.col("sent_at"),
        "prediction_id": _uuid(result_key(flat)),
        "label": label,
        "confidence": confidence,
        "model_name": F.col("model"),
        "processing_time_ms": F.round(took_ms),
        "error_message": F.concat_ws(": ", "error.code", "error.message"),
        "processed_at": planned_at(),
        "below_threshold": confidence < confidence_threshold,
    }
    values["error_message"] = F.when(F.col("error").isNotNull(), values["error_message"])
    columns = [
        values.get(field.name, F.col(field.name)).cast(field.dataType).alias(field.name)
        for field in RESULT
    ]
    others = [name for name in flat.columns if name not in RESULT.names]
    return flat.select(*columns, *others)


def with_object(results: DataFrame) -> DataFrame:
    """Add ``bucket`` and ``object_name`` where the source has none: null, as of Kafka."""
    lacking = [name for name in ("bucket", "object_name") if name not in results.columns]
    return results.select("*", *(F.lit(None).cast("string").alias(name) for name in lacking))


def table(results: DataFrame, *, all_classes: bool = False) -> DataFrame:
    """The columns of :data:`RESULT`, of :data:`OBJECT` where objects were read, and headers.

    ``all_classes``: and ``predictions``, the best classes with their scores.
    """
    names = _names(results, all_classes)
    return results.select(*names, *record_headers.columns_in(results))


def kept(results: DataFrame, failures: str) -> DataFrame:
    """Without the failed images if ``failures`` is ``"drop"``, as the old system had them."""
    return results.where(F.col("error").isNull()) if failures == "drop" else results


def _names(results: DataFrame, all_classes: bool) -> list[str]:
    objects = [name for name in OBJECT if name in results.columns]
    return [*RESULT.names, *objects, *(["predictions"] if all_classes else [])]


def result_messages(results: DataFrame, max_bytes: int, *, all_classes: bool = False) -> DataFrame:
    """Results -> ``key, value`` of the result topic; failed images too, with their reason.

    ``all_classes`` as of :func:`table`. A message above ``max_bytes`` is sent without its metadata,
    which may be of any size.
    """

    names = _names(results, all_classes)

    def value(metadata: Column) -> Column:
        fields = [metadata if name == "metadata" else F.col(name) for name in names]
        return F.to_json(F.struct(*fields), {"ignoreNullFields": "false"})

    whole = value(F.col("metadata"))
    none = F.lit(None).cast(RESULT["metadata"].dataType).alias("metadata")
    sent = F.when(F.octet_length(whole) <= max_bytes, whole).otherwise(value(none))
    return results.select(F.col("prediction_id").alias("key"), sent.alias("value"))


def _uuid(text: Column) -> Column:
    """The same UUID for the same text: version 8 of RFC 9562, of its sha256."""
    digest = F.sha2(text, 256)
    return F.concat_ws(
        "-",
        F.substring(digest, 1, 8),
        F.substring(digest, 9, 4),
        F.concat(F.lit("8"), F.substring(digest, 14, 3)),
        F.concat(F.lit("a"), F.substring(digest, 18, 3)),
        F.substring(digest, 21, 12),
    )
