"""Jobs on topics whose messages are not the seeds': read by an option, or a dead letter."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import guides
import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from local_services.kafka import Kafka
from pictures import scene_jpeg
from pyspark.sql import SparkSession
from schema_registries import Registry, avro, framed, running_registry

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.executor.messages.schema_registry import UNKNOWN_FOR_S
from pyspark_vision.job import message_flags

# All that Kafka has beside none.
CODECS = ("gzip", "snappy", "lz4", "zstd")

OLD = {
    "type": "record",
    "name": "Image",
    "namespace": "org.example",
    "fields": [
        {"name": "id", "type": "long"},
        {
            "name": "frame",
            "type": {
                "type": "record",
                "name": "Frame",
                "fields": [{"name": "data", "type": ["null", "bytes"]}],
            },
        },
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
NEW = {**OLD, "fields": [{"name": "site", "type": "string"}, *OLD["fields"]]}
WHEN = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=dt.UTC)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running_registry() as running:
        yield running


def image(number: int, content: bytes | None) -> dict[str, Any]:
    return {"site": "north", "id": number, "frame": {"data": content}, "ts": WHEN}


@pytest.fixture
def classify(
    spark: SparkSession,
    kafka: Kafka,
    topic: str,
    registry: Registry,
    new_topic: Callable[..., str],
    tmp_path: Path,
) -> Callable[..., int]:
    """Runs the job on what is in the topic; results and letters go to ``classify.results`` and
    ``.letters``."""

    def run() -> int:
        return jobs.run(
            "stream_classify",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--trigger-seconds", "available-now"),
            *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
            *("--checkpoint", tmp_path / "checkpoint", "--output-kafka-topic", run.results),  # type: ignore[attr-defined]
            *("--dead-letters", f"kafka:{run.letters}"),  # type: ignore[attr-defined]
            *("--schema-registry", registry.url, "--coerce"),
            *("--field", "image_id=id", "image=frame.data", "timestamp=ts"),
        )

    run.results, run.letters = new_topic(), new_topic()  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
def test_avro_of_several_schemas_is_classified_and_a_letter_of_it_put_back_is_read_again(
    classify: Any,
    registry: Registry,
    kafka: Kafka,
    topic: str,
    producer: Producer,
    consumer: Consumer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    registry.add(1, OLD)
    registry.add(2, NEW)
    good = scene_jpeg(3)
    sent = [framed(1, avro(OLD, image(1, good))), framed(2, avro(NEW, image(2, good)))]
    sent += [framed(3, avro(NEW, image(3, good))), framed(1, avro(OLD, image(4, None)))]
    jobs.produce(producer, topic, *[(b"k%d" % at, value) for at, value in enumerate(sent)])

    first = classify()
    registry.add(3, NEW)
    time.sleep(UNKNOWN_FOR_S)  # a worker asks for an id that it was refused only after that time
    put_back = pyspark_vision(
        [
            *("replay", f"kafka:{classify.letters}", "--checkpoint", str(tmp_path / "replay")),
            *("--kafka-servers", kafka.bootstrap_servers),
        ]
    )
    second = classify()

    assert (first, put_back, second) == (0, 0, 0)
    results = [json.loads(m.value()) for m in jobs.consume(consumer, classify.results, 6)]
    read = {r["image_id"]: r for r in results if r["error_message"] is None}
    assert set(read) == {"1", "2", "3"}
    assert {r["timestamp"] for r in read.values()} == {"2026-11-21T08:00:00.250000Z"}
    assert {r["image_size_bytes"] for r in read.values()} == {len(good)}
    failed = [r["error_message"] for r in results if r["error_message"] is not None]
    assert sorted(failed) == [
        "bad_message: the message has no image_data: image_data (frame.data) is null",
        "bad_message: the message has no image_data: image_data (frame.data) is null",
        "bad_message: the schema registry has no schema 3",
    ]
    said = capsys.readouterr().out
    assert "images in 4, classified 2, failed 2 (bad_message 2)" in said
    assert "replay: 2 letters put back (bad_message 2)" in said
    assert "images in 2, classified 1, failed 1 (bad_message 1)" in said


def test_pictures_with_the_headers_of_cloud_events_are_classified(
    spark: SparkSession,
    kafka: Kafka,
    topic: str,
    producer: Producer,
    consumer: Consumer,
    new_topic: Callable[..., str],
    tmp_path: Path,
    capsys: Any,
) -> None:
    picture, results = scene_jpeg(3), new_topic(1)
    sent: list[tuple[bytes | None, bytes | None, list[Any]]] = [
        (b"key", picture, [("ce_id", b"seven"), ("ce_time", b"2026-11-21T08:00Z")]),
        (b"key", picture, []),
        (None, picture, []),
        (b"gone", None, []),
    ]
    for key, value, headers in sent:
        producer.produce(topic, value, key, 0, headers=headers)
    assert producer.flush(30) == 0

    code = jobs.run(
        "stream_classify",
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--starting-offsets", "earliest", "--trigger-seconds", "available-now"),
        *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
        *("--checkpoint", tmp_path / "checkpoint", "--output-kafka-topic", results),
        *("--payload", "image"),
        *("--field", "image_id=header:ce_id", "timestamp=header:ce_time"),
    )

    assert code == 0
    said = [json.loads(message.value()) for message in jobs.consume(consumer, results, 4)]
    read = {(one["image_id"], one["timestamp"], one["error_message"]) for one in said}
    assert read == {
        ("seven", "2026-11-21T08:00Z", None),
        ("key", None, None),
        (None, None, "bad_message: the record has no key"),
        ("gone", None, "null_input: the image is null"),
    }
    assert {one["label"] for one in said if one["error_message"] is None} == {"car"}
    counted = "images in 4, classified 2, failed 2 (bad_message 1, null_input 1)"
    assert counted in capsys.readouterr().out


def test_while_the_registry_is_away_no_message_is_a_letter_and_the_next_start_reads_them(
    classify: Any,
    registry: Registry,
    topic: str,
    producer: Producer,
    consumer: Consumer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr(message_flags, "REGISTRY_PATIENCE_S", 0.5)
    registry.add(1, OLD)
    registry.failures = [200] + [503] * 1000  # it answers when the job starts
    jobs.produce(producer, topic, framed(1, avro(OLD, image(1, scene_jpeg(3)))))

    away = classify()
    said = capsys.readouterr()
    registry.failures = []
    back = classify()

    assert (away, back) == (1, 0)
    [line] = [one for one in said.err.splitlines() if one.startswith("stream_classify: ")]
    assert f"the schema registry at {registry.url} answers HTTP 503" in line
    assert "the next start reads it again" in line
    assert "images in 1, classified 1, failed 0" in capsys.readouterr().out
    [message] = jobs.consume(consumer, classify.results, 1)
    assert json.loads(message.value())["error_message"] is None


def test_messages_md_frames_of_each_codec_are_found_by_paths_and_letters_keep_headers(
    spark: SparkSession,
    kafka: Kafka,
    topic: str,
    consumer: Consumer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    servers = kafka.bootstrap_servers
    for number, codec in enumerate(CODECS):
        client = Producer({"bootstrap.servers": servers, "compression.type": codec})
        message = {
            "payload": {"frame": {"data": base64.b64encode(scene_jpeg(number)).decode()}},
            "device": {"id": number},
            "ts": "now" if codec == "zstd" else 1763712000123,
        }
        headers: list[Any] = [("trace-id", codec.encode())]
        client.produce(topic, json.dumps(message).encode(), b"k", 0, headers=headers)
        assert client.flush(30) == 0

    words = {**guides.paths(tmp_path), "--kafka-topic frames": f"--kafka-topic {topic}"}
    [command] = guides.block("messages.md", "scripts/submit", words).commands
    command += f" --kafka-servers {servers} --starting-offsets earliest --trigger available-now"
    command += f" --keep-all --time-zone UTC --dead-letters {tmp_path / 'letters'}"

    code = guides.run(f"{command} --header-columns trace-id")
    put_back = pyspark_vision(
        [
            *("replay", str(tmp_path / "letters"), "--checkpoint", str(tmp_path / "replay")),
            *("--kafka-servers", servers),
        ]
    )

    assert (code, put_back) == (0, 0)
    rows = {row["offset"]: row for row in pq.read_table(tmp_path / "build" / "others").to_pylist()}
    assert [rows[at]["camera_id"] for at in range(3)] == ["0", "1", "2"]
    assert [rows[at]["header_trace_id"] for at in range(4)] == list(CODECS)
    assert {rows[at]["timestamp"].isoformat() for at in range(3)} == {"2025-11-21T08:00:00.123000"}
    assert all(rows[at]["detections"] for at in range(3))
    assert "headers" not in rows[0]
    assert rows[3]["error"]["message"] == "timestamp now is not ISO-8601"
    assert "detected 3, failed 1 (bad_message 1)" in capsys.readouterr().out
    again = jobs.consume(consumer, topic, 5)[-1]
    assert again.headers()[0] == ("trace-id", b"zstd")
    assert [name for name, _ in again.headers()] == ["trace-id", "pyspark_vision.replay_of"]
