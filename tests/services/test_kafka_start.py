"""What a job needs of Kafka is looked at before it starts, and said in one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import job_runs as jobs
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_topics import make_topic
from local_services import kafka as local_kafka
from local_services.kafka import Kafka
from pyspark.sql import SparkSession


@pytest.fixture
def start(spark: SparkSession, kafka: Kafka, tmp_path: Path, capsys: Any) -> Callable[..., Any]:
    """Starts ``extract_events``; its exit code, its last line, and how long that took."""

    def run(*more: object, servers: str = kafka.bootstrap_servers) -> tuple[int, str, float]:
        began_at = time.monotonic()
        code = jobs.run(
            "extract_events",
            *("--kafka-servers", servers, "--output", tmp_path / "out", *more),
        )
        took_s = time.monotonic() - began_at
        said = capsys.readouterr().err
        # The log of a good start goes to the standard error of an earlier test, which is closed.
        assert code == 0 or "Traceback" not in said
        lines = [line for line in said.splitlines() if line.startswith("extract_events: ")]
        return code, lines[-1] if code else "", took_s

    return run


@pytest.fixture
def as_stream(tmp_path: Path) -> tuple[object, ...]:
    return ("--stream", "--trigger", "available-now", "--checkpoint", tmp_path / "checkpoint")


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """One that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        (("jobs/extract_events.py", "--output", "out"), 1),
        (("jobs/stream_classify.py", "--checkpoint", "c"), 1),
        (("jobs/stream_detect.py", "--checkpoint", "c", "--model", "m"), 1),
        (("-m", "pyspark_vision.cli.main", "replay", "letters", "--checkpoint", "c"), 2),
    ],
)
def test_brokers_that_cannot_be_reached_are_named_before_the_jvm_starts(
    command: tuple[str, ...], exit_code: int, root: Path, closed_port: int
) -> None:
    servers = f"127.0.0.1:{closed_port}"

    done = subprocess.run(
        [sys.executable, *command, "--kafka-servers", servers],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "JAVA_HOME": "/no/java"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == exit_code
    [line] = done.stderr.splitlines()
    assert f"no broker of --kafka-servers {servers} answers: connection refused. Start" in line


def test_a_listed_broker_that_is_down_beside_one_that_answers_is_no_error(
    start: Callable[..., Any], kafka: Kafka, topic: str, closed_port: int
) -> None:
    servers = f"127.0.0.1:{closed_port}, {kafka.bootstrap_servers}"

    assert start("--kafka-topic", topic, servers=servers)[0] == 0


@pytest.mark.slow
def test_a_port_that_takes_connections_and_is_silent_is_explained_in_seconds(
    start: Callable[..., Any], silent_port: int
) -> None:
    servers = f"127.0.0.1:{silent_port}"

    code, line, took_s = start("--kafka-topic", "any", servers=servers)

    assert code == 1
    assert servers in line
    assert "Does this listener want security.protocol" in line
    assert took_s < 40


def test_a_missing_topic_among_those_that_are_read_is_named_in_seconds(
    start: Callable[..., Any], topic: str, as_stream: tuple[object, ...]
) -> None:
    code, line, took_s = start("--kafka-topic", topic, "no-such-topic", *as_stream)

    assert code == 1
    assert "no-such-topic does not exist on the brokers. Create the topic" in line
    assert took_s < 30


def test_a_missing_dead_letter_topic_is_named_in_seconds(
    start: Callable[..., Any], topic: str, as_stream: tuple[object, ...], tmp_path: Path
) -> None:
    code, line, took_s = start(
        "--kafka-topic", topic, "--dead-letters", "kafka:no-such-topic", *as_stream
    )

    assert code == 2
    assert "--dead-letters no-such-topic: the brokers of --kafka-servers" in line
    assert "have no such topic" in line
    assert took_s < 30
    assert not (tmp_path / "checkpoint" / "offsets").exists()


@pytest.mark.slow
def test_a_missing_dead_letter_topic_is_no_error_where_brokers_make_topics(
    start: Callable[..., Any], as_stream: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "kafka").mkdir()
    with local_kafka.running(tmp_path / "kafka", auto_create_topics=True) as broker:
        topic = make_topic(broker.bootstrap_servers, 1)
        jobs.produce(Producer({"bootstrap.servers": broker.bootstrap_servers}), topic, b"not json")

        code, line, _ = start(
            *("--kafka-topic", topic, "--dead-letters", "kafka:made-by-the-broker", *as_stream),
            *("--starting-offsets", "earliest"),
            servers=broker.bootstrap_servers,
        )

        assert code == 0, line
        known = AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=10)
        assert "made-by-the-broker" in known.topics


@pytest.mark.parametrize("job", ["stream_detect", "stream_classify"])
def test_a_missing_result_topic_is_named_in_seconds(
    job: str, spark: SparkSession, kafka: Kafka, topic: str, tmp_path: Path, capsys: Any
) -> None:
    model = {
        "stream_detect": ("--model", jobs.model("demo-detector")),
        "stream_classify": (
            *("--model-type", "custom"),
            *("--model-gcs-path", jobs.model("demo-classifier")),
        ),
    }

    code = jobs.run(
        job,
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--output-kafka-topic", "no-such-topic", "--checkpoint", tmp_path / "checkpoint"),
        *model[job],
    )

    said = capsys.readouterr().err
    assert code == 2
    assert "--output-kafka-topic no-such-topic: the brokers of --kafka-servers" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("streams", [True, False], ids=["stream", "batch"])
@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ({"0": 3}, "has the partitions 0, 1, and offsets are given for 0: give one for each"),
        ({"0": 3, "1": 0, "2": 0}, "has the partitions 0, 1, and offsets are given for 0, 1, 2"),
        ({"0": 9, "1": 0}, "-0 has the offsets 2 to 5, and 9 is given"),
        ({"0": 1, "1": 0}, "-0 has the offsets 2 to 5, and 1 is given"),
    ],
)
def test_offsets_that_do_not_fit_the_topic_are_refused_with_what_is_there(
    offsets: dict[str, int],
    said: str,
    streams: bool,
    start: Callable[..., Any],
    kafka: Kafka,
    topic: str,
    producer: Producer,
    as_stream: tuple[object, ...],
) -> None:
    jobs.produce(producer, topic, *[b"seen"] * 5)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 2)]).values():
        deleted.result(timeout=30)

    code, line, _ = start(
        *("--kafka-topic", topic, *(as_stream if streams else ())),
        *("--starting-offsets", json.dumps({topic: offsets})),
    )

    assert code == 2
    assert f"--starting-offsets: {topic}" in line
    assert said in line


def test_offsets_of_a_topic_that_is_not_read_are_refused(
    start: Callable[..., Any], topic: str
) -> None:
    code, line, _ = start(
        "--kafka-topic", topic, "--ending-offsets", json.dumps({"other": {"0": 1}, topic: {"0": 1}})
    )

    assert code == 2
    assert f"--ending-offsets: the topic other is not one that is read ({topic})" in line


@pytest.mark.slow
def test_a_stream_that_goes_on_is_not_asked_for_its_first_offsets(
    start: Callable[..., Any], topic: str, producer: Producer, as_stream: tuple[object, ...]
) -> None:
    jobs.produce(producer, topic, b"seen")
    first = ("--kafka-topic", topic, "--starting-offsets", json.dumps({topic: {"0": 1, "1": 0}}))
    assert start(*first, *as_stream)[0] == 0

    again = ("--kafka-topic", topic, "--starting-offsets", json.dumps({topic: {"0": 77}}))

    assert start(*again, *as_stream)[0] == 0
