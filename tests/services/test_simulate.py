"""`pyspark-vision simulate` with week 9's own command lines, and a real broker."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import client_runs as clients
import pytest
from local_services.gcs import Gcs
from local_services.kafka import Kafka

from pyspark_vision.clients.bucket import open_bucket


def test_both_gives_each_image_to_the_topic_and_to_the_bucket(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    done = clients.run(
        *("simulate", "--mode", "both", "--rate", "4.0", "--duration", 2),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--gcs-bucket", f"file://{tmp_path}/bucket", "--gcs-prefix", "input-images/"),
        *("--image-width", 96, "--image-height", 64),
    )

    assert (done.returncode, done.stderr) == (0, "")
    of_kafka, of_gcs = map(clients.counts, done.stdout.splitlines())
    assert of_kafka["captured"] == of_gcs["captured"] == 8
    assert clients.adds_up(of_kafka)
    assert clients.adds_up(of_gcs)
    objects = {
        path.stem: path.read_bytes()
        for path in (tmp_path / "bucket" / "input-images").glob("*.jpg")
    }
    assert len(objects) == of_gcs["sent"] > 0
    records = clients.in_topic(kafka.bootstrap_servers, topic)
    messages = {record.key().decode(): json.loads(record.value()) for record in records}
    assert len(messages) == of_kafka["sent"]
    for image_id, message in messages.items():
        assert list(message) == ["image_id", "image_data", "timestamp", "metadata"]
        assert message["image_id"] == image_id
        jpeg = base64.b64decode(message["image_data"])
        assert jpeg == objects[image_id]
        assert clients.size_wh(jpeg) == (96, 64)
        assert message["metadata"] == {
            "source": "simulator",
            "sequence": message["metadata"]["sequence"],
            "width": "96",
            "height": "64",
            "format": "JPEG",
        }
    assert len(set(objects.values())) == len(objects)


def test_a_bucket_of_googles_gets_each_image_as_an_object(
    gcs_server: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint_url)
    for place in (gcs_bucket.name, f"gs://{gcs_bucket.name}/"):
        done = clients.run(
            *("simulate", "--mode", "gcs", "--rate", "8.0", "--duration", 0.5),
            *("--gcs-bucket", place, "--gcs-prefix", "input #1/"),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "simulate: gcs: images 4, sent 4, dropped 0, failed 0\n"

    blobs = list(gcs_bucket.list_blobs())
    assert len({blob.name for blob in blobs}) == 8
    assert all(blob.name.startswith("input #1/") for blob in blobs)
    assert {blob.content_type for blob in blobs} == {"image/jpeg"}
    assert clients.size_wh(blobs[0].download_as_bytes()) == (224, 224)

    missing = clients.run("simulate", "--mode", "gcs", "--gcs-bucket", "no-such-bucket")
    assert missing.returncode == 2
    [said] = missing.stderr.splitlines()
    assert "--gcs-bucket no-such-bucket: there is no such bucket. Make it first" in said


def test_an_object_that_is_there_is_not_replaced(
    gcs_server: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint_url)
    bucket = open_bucket("--gcs-bucket", gcs_bucket.name, "")

    bucket.upload("a.jpg", b"first")
    bucket.upload("a.jpg", b"second")

    assert gcs_bucket.blob("a.jpg").download_as_bytes() == b"first"
    gcs_bucket.delete(force=True)
    with pytest.raises(OSError, match="404"):
        bucket.upload("b.jpg", b"third")


def test_kafka_alone_needs_no_bucket(kafka: Kafka, topic: str) -> None:
    done = clients.run(
        *("simulate", "--mode", "kafka", "--rate", "2.0", "--duration", 1),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "simulate: kafka: images 2, sent 2, dropped 0, failed 0\n"
    sizes = [
        clients.size_wh(base64.b64decode(json.loads(record.value())["image_data"]))
        for record in clients.in_topic(kafka.bootstrap_servers, topic)
    ]
    assert sizes == [(224, 224), (224, 224)]
