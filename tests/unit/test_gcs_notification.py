"""Notifications of Cloud Storage: which object is announced, and what is left out and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from pyspark_vision.messages import gcs_notification

RESOURCE = {
    "kind": "storage#object",
    "bucket": "b",
    "name": "in put/ä#1.jpg",
    "generation": "1700000000000001",
    "contentType": "image/jpeg",
    "size": "1234",
    "timeCreated": "2026-11-28T05:00:00.123Z",
    "metadata": {"camera": "hall"},
}
ATTRIBUTES = {
    "eventType": "OBJECT_FINALIZE",
    "payloadFormat": "JSON_API_V1",
    "bucketId": "b",
    "objectId": "in put/ä#1.jpg",
    "objectGeneration": "1700000000000001",
}


def read(
    spark: SparkSession,
    *given: tuple[bytes | None, dict[str, str] | None],
    own: Sequence[str] = (),
) -> list[Any]:
    schema = "origin string, value binary, attributes map<string,string>"
    rows = [(f"pubsub:s/{n}", value, attributes) for n, (value, attributes) in enumerate(given)]
    frame = gcs_notification.read_notifications(spark.createDataFrame(rows, schema), own)
    return gcs_notification.with_uri(frame).collect()


def test_a_new_object_is_named_by_its_resource(spark: SparkSession) -> None:
    [row] = read(spark, (json.dumps(RESOURCE).encode(), ATTRIBUTES))

    assert (row.bucket, row.object_name, row.generation) == (
        "b",
        "in put/ä#1.jpg",
        1700000000000001,
    )
    assert (row.content_type, row.object_bytes) == ("image/jpeg", 1234)
    assert row.time_created == "2026-11-28T05:00:00.123Z"
    assert row.object_metadata == {"camera": "hall"}
    assert row.uri == "gs://b/in put/ä#1.jpg"
    assert row.origin == "gs://b/in put/ä#1.jpg#1700000000000001"
    assert (row.dropped, row.problem) == (None, None)


def test_attributes_alone_and_the_resource_alone_name_it_too(spark: SparkSession) -> None:
    by_attributes, by_resource = read(spark, (b"", ATTRIBUTES), (json.dumps(RESOURCE).encode(), {}))

    assert by_attributes.uri == by_resource.uri == "gs://b/in put/ä#1.jpg"
    assert by_attributes.generation == by_resource.generation == 1700000000000001
    assert by_attributes.object_bytes is None


def test_other_events_are_dropped_and_not_fetched(spark: SparkSession) -> None:
    events = ["OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"]

    rows = read(
        spark, *((json.dumps(RESOURCE).encode(), {**ATTRIBUTES, "eventType": e}) for e in events)
    )

    assert [row.dropped for row in rows] == ["other_event"] * 3
    assert [(row.uri, row.problem) for row in rows] == [(None, None)] * 3


def test_files_that_the_job_writes_itself_are_dropped_and_not_fetched(spark: SparkSession) -> None:
    names = ("checkpoints/s/offsets/0", "checkpoints/s", "checkpoints/s2/1.jpg", "c.jpg")
    given = ((b"", {**ATTRIBUTES, "objectId": name}) for name in names)

    rows = read(spark, *given, own=["gs://b/checkpoints/s/", "gs://other", "build/out", "s3a://b"])

    assert [row.dropped for row in rows] == ["own_file", None, None, None]
    assert [row.uri is None for row in rows] == [True, False, False, False]


def test_what_names_no_object_is_a_bad_message(spark: SparkSession) -> None:
    rows = read(
        spark,
        (b"hello", None),
        (None, {}),
        (b"\xff\xfe", {"eventType": "OBJECT_FINALIZE"}),
        (b"{", {**ATTRIBUTES, "objectId": ""}),
        (json.dumps({"bucket": "b", "name": "n"}).encode(), {}),
    )

    assert [row.problem.code for row in rows] == ["bad_message"] * 5
    assert [row.uri for row in rows] == [None] * 5
    assert rows[0].origin == "pubsub:s/0"


def test_a_size_that_is_no_number_is_null(spark: SparkSession) -> None:
    [row] = read(spark, (json.dumps({**RESOURCE, "size": "many"}).encode(), ATTRIBUTES))

    assert (row.object_bytes, row.problem) == (None, None)
    assert row.uri is not None


def test_a_generation_that_is_none_is_a_bad_message_and_not_any_generation(
    spark: SparkSession,
) -> None:
    odd = ["x", "0", "-5", "9" * 20, ""]

    rows = read(spark, *((b"", {**ATTRIBUTES, "objectGeneration": text}) for text in odd))

    said = [f"generation {text} is no number" for text in odd]
    assert [row.problem.message for row in rows] == said
    assert [row.uri for row in rows] == [None] * len(odd)
