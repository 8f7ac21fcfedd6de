"""A topic that lost records while the job was down: an error of one line, or a count."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services.kafka import Kafka
from pyspark.sql import SparkSession


@pytest.fixture
def admin(kafka: Kafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


@pytest.fixture
def extract(spark: SparkSession, kafka: Kafka, topic: str, tmp_path: Path) -> Callable[..., int]:
    """Runs ``extract_events`` over what is in the topic, then stops."""

    def run(*more: str) -> int:
        return jobs.run(
            "extract_events",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--stream", "--starting-offsets", "earliest"),
            *("--trigger", "available-now", "--checkpoint", tmp_path / "checkpoint"),
            *("--output", tmp_path / "out", *more),
        )

    return run


def offsets_out(tmp_path: Path) -> list[int]:
    table = pq.read_table(tmp_path / "out" / "extracted_events")
    return sorted(table.column("kafka_offset").to_pylist())


EVENT = b'{"event_type": "seen", "timestamp": "2026-11-21 08:00:00.000000", "camera_id": "c"}'


def test_lost_records_are_named_and_counted_when_they_may_be_skipped(
    extract: Callable[..., int],
    admin: AdminClient,
    topic: str,
    producer: Producer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    jobs.produce(producer, topic, *[EVENT] * 3)
    assert extract() == 0
    jobs.produce(producer, topic, *[EVENT] * 5)
    for deleted in admin.delete_records([TopicPartition(topic, 0, 6)]).values():
        deleted.result(timeout=30)
    capsys.readouterr()

    code = extract()

    said = capsys.readouterr().err
    assert code == 1, said
    [line] = [line for line in said.splitlines() if line.startswith("extract_events: ")][-1:]
    assert f"{topic}-0 has lost" in line
    assert re.search(r"at least of the offsets [35]\.\.[47]\.", line)
    assert "--skip-lost TOPIC" in line
    assert "Traceback" not in said

    assert extract("--skip-lost", topic) == 0

    assert "lost 3 (lost_by_retention 3)" in capsys.readouterr().out
    assert offsets_out(tmp_path) == [0, 1, 2, 6, 7]


def test_a_topic_that_was_made_anew_is_named(
    extract: Callable[..., int],
    admin: AdminClient,
    topic: str,
    producer: Producer,
    capsys: Any,
) -> None:
    jobs.produce(producer, topic, *[EVENT] * 3)
    assert extract() == 0
    for deleted in admin.delete_topics([topic]).values():
        deleted.result(timeout=30)
    time.sleep(2)
    for made in admin.create_topics([NewTopic(topic, 2, 1)]).values():
        made.result(timeout=30)
    time.sleep(1)
    jobs.produce(producer, topic, EVENT)
    capsys.readouterr()

    code = extract()

    said = capsys.readouterr().err
    assert code == 1, said
    assert f"{topic}-0 ends at offset 1 and was read up to 3: the topic was made anew" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "mode", [("--stream", "--starting-offsets", "earliest", "--trigger", "available-now"), ()]
)
def test_a_topic_that_does_not_exist_is_named(
    mode: tuple[str, ...], spark: SparkSession, kafka: Kafka, tmp_path: Path, capsys: Any
) -> None:
    checkpoint = ("--checkpoint", tmp_path / "checkpoint") if mode else ()

    code = jobs.run(
        "extract_events",
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", "no-such-topic"),
        *(*mode, *checkpoint, "--output", tmp_path / "out"),
    )

    said = capsys.readouterr().err
    assert code == 1, said
    [line] = [line for line in said.splitlines() if line.startswith("extract_events: ")][-1:]
    assert "--kafka-topic no-such-topic: no-such-topic does not exist on the brokers" in line
    assert "Traceback" not in said
