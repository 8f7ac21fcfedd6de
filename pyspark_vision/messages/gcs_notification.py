"""Notifications of Cloud Storage over Pub/Sub: which object there is, and that it is to be read.

``JSON_API_V1``: the payload is the object's resource, attributes say the event and the object
(https://cloud.google.com/storage/docs/pubsub-notifications). Without a payload (``NONE``) the
attributes alone count. Only ``OBJECT_FINALIZE`` announces an object that is there to be read; other
events are dropped, and counted as ``other_event``. So are the reader's own files (``own_file``): a
bucket that is announced whole may have its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.columns.compatibility import is_valid_utf8
from pyspark_vision.errors import DropReason, ErrorCode
from pyspark_vision.messages import json_fields, pictures

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FINALIZED = "OBJECT_FINALIZE"
# Notifications that agree in these are one: the service sends each at least once.
ID_ATTRIBUTES = ("eventType", "bucketId", "objectId", "objectGeneration")

_RESOURCE = (
    "kind string, bucket string, name string, generation string, contentType string, size string, "
    "timeCreated string, metadata map<string,string>"
)
# What a resource says of itself, should attributes have been lost on the way.
_KIND = "storage#object"
# Of the service they are microseconds, 16 digits; 0 stands for no object.
_GENERATION = r"^[1-9]\d{0,17}$"


def read_notifications(messages: DataFrame, own: Sequence[str] = ()) -> DataFrame:
    """Pub/Sub messages (``value``, ``attributes``) -> what they announce, added.

    ``own``: folders that the reader itself writes (``gs://BUCKET/PATH``; others have no effect).

    ``bucket``, ``object_name``, ``generation`` (bigint), ``content_type``, ``object_bytes``,
    ``time_created`` (text, as it was sent), ``object_metadata`` (the object's own, or null),
    ``event_type``, ``dropped`` (``other_event``, ``own_file``, or null), ``problem``
    (``bad_message`` where no object or no generation of it is named, else null). ``origin`` becomes
    ``gs://BUCKET/NAME#GENERATION``.
    """
    attributes = F.col("attributes")
    text = F.when(is_valid_utf8(F.col("value").cast("string")), F.col("value").cast("string"))
    read = messages.withColumn("_resource", F.from_json(text, _RESOURCE))
    resource = F.col("_resource")
    event = F.coalesce(attributes["eventType"], F.when(resource["kind"] == _KIND, F.lit(FINALIZED)))
    is_other = event.isNotNull() & (event != FINALIZED)
    bucket = F.coalesce(resource["bucket"], attributes["bucketId"])
    name = F.coalesce(resource["name"], attributes["objectId"])
    generation = F.coalesce(resource["generation"], attributes["objectGeneration"])
    is_named = (F.length(bucket) > 0) & (F.length(name) > 0) & event.isNotNull()
    # Without its generation any object of the name would be taken for the one that was announced.
    is_odd = generation.isNotNull() & ~generation.rlike(_GENERATION)
    said = F.concat(F.lit("generation "), F.substring(generation, 1, 40), F.lit(" is no number"))
    problem = F.when(
        ~is_other & ~F.coalesce(is_named, F.lit(False)),
        json_fields.error(
            ErrorCode.BAD_MESSAGE,
            "no notification of Cloud Storage: it names no bucket, object or event",
        ),
    ).otherwise(F.when(~is_other & is_odd, json_fields.error(ErrorCode.BAD_MESSAGE, said)))
    place = F.concat(F.lit("gs://"), bucket, F.lit("/"), name)
    folders = [f"{folder.rstrip('/')}/" for folder in own if folder.startswith("gs://")]
    is_own = F.lit(False)
    for folder in folders:
        is_own = is_own | F.coalesce(F.startswith(place, F.lit(folder)), F.lit(False))
    dropped = F.when(is_other, DropReason.OTHER_EVENT.value)
    dropped = dropped.when(is_own & problem.isNull(), DropReason.OWN_FILE.value)
    origin = F.concat(place, F.coalesce(F.concat(F.lit("#"), generation), F.lit("")))
    others = [column for column in messages.columns if column != "origin"]
    return read.select(
        F.coalesce(origin, F.col("origin")).alias("origin"),
        *others,
        bucket.alias("bucket"),
        name.alias("object_name"),
        _number(generation).alias("generation"),
        resource["contentType"].alias("content_type"),
        _number(resource["size"]).alias("object_bytes"),
        resource["timeCreated"].alias("time_created"),
        resource["metadata"].alias("object_metadata"),
        event.alias("event_type"),
        dropped.alias("dropped"),
        problem.alias("problem"),
    )


def with_uri(notifications: DataFrame) -> DataFrame:
    """Add ``uri``, to be fetched; null for what is dropped or names no object."""
    is_wanted = F.col("problem").isNull() & F.col("dropped").isNull()
    place = F.concat(F.lit("gs://"), F.col("bucket"), F.lit("/"), F.col("object_name"))
    return notifications.withColumn("uri", F.when(is_wanted, place))


def read_images(notifications: DataFrame, fetched: Column) -> DataFrame:
    """Notifications (:func:`with_uri`) -> ``image_id, sent_at, metadata, picture`` added.

    ``fetched``: ``fetch_object("uri", generation="generation")``. An object that is missing, was
    replaced or may not be read is that row's error.
    """
    return notifications.select(
        *(name for name in notifications.columns if name not in ("problem", "uri")),
        F.col("object_name").alias("image_id"),
        F.col("time_created").alias("sent_at"),
        F.col("object_metadata").alias("metadata"),
        pictures.from_fetched(fetched, F.col("problem")).alias("picture"),
    )


def _number(text: Column) -> Column:
    """Null for what is no whole number: a cast would end the batch under ANSI rules."""
    return F.when(text.rlike(r"^\d{1,18}$"), text).cast("bigint")
