"""`pyspark-vision replay` of letters in folders and topics, on a real broker."""

from __future__ import annotations

import datetime as dt
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pytest
from confluent_kafka import Consumer, Producer
from kafka_topics import make_topic
from local_services.kafka import Kafka
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.errors import StreamError
from pyspark_vision.sinks.dead_letters import LETTER
from pyspark_vision.sinks.kafka import KafkaTopic, send
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sources.kafka import KafkaConnection

WHEN = dt.datetime(2026, 11, 21, 8)


@pytest.fixture
def replay(spark: SparkSession, kafka: Kafka, tmp_path: Path, capsys: Any) -> Callable[..., Any]:
    """Runs it with one checkpoint; its exit code and what it printed."""

    def run(letters: object, *more: object, servers: str = kafka.bootstrap_servers) -> Any:
        given = ["replay", letters, "--checkpoint", tmp_path / "replay", *more]
        capsys.readouterr()
        code = pyspark_vision([*map(str, given), "--kafka-servers", servers])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out + said.err

    return run


# Its name, the sha256 of its file, its digest; no subscription of Pub/Sub.
MODEL = ("m", "ab", "cd", None)


def letters(spark: SparkSession, topic: str | None, *offsets: int) -> DataFrame:
    origin = "file:/pictures" if topic is None else f"kafka:{topic}/0"
    rows = [
        (b"%d" % at, b"k", f"{origin}/{at}", topic, 0, at, WHEN, "truncated", "cut", *MODEL)
        for at in offsets
    ]
    return spark.createDataFrame(rows, LETTER).coalesce(1)


def test_letters_of_a_folder_are_put_back_once_though_their_batch_is_written_again(
    replay: Callable[..., Any],
    spark: SparkSession,
    topic: str,
    consumer: Consumer,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "letters"
    sink = parquet_sink(spark, str(folder))
    sink(letters(spark, topic, 1, 2), 0)

    first = replay(folder)
    sink(letters(spark, topic, 1, 2), 0)  # a later sink had failed: Spark replays the batch
    sink(letters(spark, topic, 3), 1)
    second, third = replay(folder), replay(folder)

    assert first == (0, "replay: 2 letters put back (truncated 2)\n")
    assert second == (0, "replay: 1 letters put back (truncated 1)\n")
    assert third == (0, "replay: 0 letters put back\n")
    assert sorted(m.value() for m in jobs.consume(consumer, topic, 3)) == [b"1", b"2", b"3"]


def test_letters_of_files_need_to_be_told_a_topic(
    replay: Callable[..., Any],
    spark: SparkSession,
    topic: str,
    consumer: Consumer,
    tmp_path: Path,
) -> None:
    whole = letters(spark, None, 1)
    file_only = letters(spark, None, 2).withColumn("payload", F.lit(None).cast("binary"))
    parquet_sink(spark, str(tmp_path / "letters"))(whole.unionAll(file_only), 0)

    refused = replay(tmp_path / "letters")
    missing = replay(tmp_path / "letters", "--to", "kafka:no-such-topic")
    went = replay(tmp_path / "letters", "--to", f"kafka:{topic}")

    assert refused[0] == missing[0] == 2
    assert "the letter of file:/pictures/1 came from no topic: say --to kafka:TOPIC" in refused[1]
    assert "--to no-such-topic: the brokers of --kafka-servers" in missing[1]
    assert went == (
        0,
        "replay: 1 letters put back (truncated 1)\n"
        "replay: 1 letters not put back, for they name files, which are where they were "
        "(batch_embed --retry-failed takes them again): file:/pictures/2\n",
    )
    assert [m.value() for m in jobs.consume(consumer, topic, 1)] == [b"1"]


def test_brokers_and_letters_that_are_not_there_are_named_at_once(
    replay: Callable[..., Any], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{free.getsockname()[1]}"
    began_at = time.monotonic()

    code, said = replay(tmp_path / "letters", servers=servers)

    assert code == 2
    assert f"no broker of --kafka-servers {servers} answers: connection refused" in said
    assert time.monotonic() - began_at < 5
    assert replay(tmp_path / "none") == (
        2,
        f"pyspark-vision replay: {tmp_path}/none is not there: no letters, or another folder?\n",
    )
    code, said = replay("kafka:no-such-topic")
    assert code == 2
    assert "no-such-topic does not exist on the brokers" in said


def test_a_letter_larger_than_its_topic_takes_is_kept_without_its_payload(
    replay: Callable[..., Any],
    spark: SparkSession,
    kafka: Kafka,
    consumer: Consumer,
    tmp_path: Path,
) -> None:
    small = {"max_message_bytes": "20000"}
    topic, dead = (make_topic(kafka.bootstrap_servers, 1, **small) for _ in range(2))
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "compression.type": "gzip"})
    key, packed = b"k" * 10, b"x " * 100_000  # in the topic it is a few hundred bytes
    bad = [b"not json", (key, packed), (b"y" * 100_000, b"not json"), b"not json either"]
    jobs.produce(producer, topic, *bad)

    code = jobs.run(
        "extract_events",
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--stream", "--starting-offsets", "earliest"),
        *("--trigger", "available-now", "--checkpoint", tmp_path / "checkpoint"),
        *("--output", tmp_path / "out", "--dead-letters", f"kafka:{dead}"),
    )

    assert code == 0
    found = {}
    for message in jobs.consume(consumer, dead, 4):
        said = {name: value.decode() for name, value in message.headers()}
        left_out = {name: size for name, size in said.items() if name.endswith("left_out")}
        found[int(said["pyspark_vision.offset"])] = (message.key(), message.value(), left_out)
    assert found == {
        0: (None, b"not json", {}),
        1: (key, None, {"pyspark_vision.payload_left_out": "200000"}),
        2: (
            None,
            None,
            {
                "pyspark_vision.key_left_out": "100000",
                "pyspark_vision.payload_left_out": "8",
            },
        ),
        3: (None, b"not json either", {}),
    }
    code, text = replay(f"kafka:{dead}")
    assert code == 0
    assert "replay: 2 letters put back (bad_message 2)" in text
    assert "2 letters not put back, for they are without their payload" in text
    assert f"kafka:{topic}/0/1" in text


def test_a_topic_that_refuses_a_message_for_its_size_is_named_with_what_to_do(
    spark: SparkSession, kafka: Kafka
) -> None:
    topic = make_topic(kafka.bootstrap_servers, 1, max_message_bytes="20000")
    large = spark.createDataFrame([(b"k", b"x" * 30_000)], "key binary, value binary")
    target = KafkaTopic(KafkaConnection(kafka.bootstrap_servers), topic, 5_000_000, 20_000)

    with pytest.raises(StreamError) as error:
        send(large, target)

    assert f"the topic {topic} does not take a message for its size" in str(error.value)
    assert "raise its max.message.bytes, which is 20000 now" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_topic_that_takes_less_than_a_producers_batch_gets_all_messages(
    spark: SparkSession, kafka: Kafka, consumer: Consumer
) -> None:
    topic = make_topic(kafka.bootstrap_servers, 1, max_message_bytes="1000")
    rows = [(str(number).encode(), b"x" * 300) for number in range(60)]
    small = spark.createDataFrame(rows, "key binary, value binary").coalesce(1)

    send(small, KafkaTopic(KafkaConnection(kafka.bootstrap_servers), topic, 5_000_000, 1000))

    assert {message.key() for message in jobs.consume(consumer, topic, 60)} == {k for k, _ in rows}


def test_results_above_what_their_topic_takes_are_sent_without_their_picture(
    spark: SparkSession,
    kafka: Kafka,
    topic: str,
    producer: Producer,
    consumer: Consumer,
    tmp_path: Path,
) -> None:
    from pictures import scene_jpeg

    results = make_topic(kafka.bootstrap_servers, 1, max_message_bytes="8000")
    jobs.produce(producer, topic, (b"front", scene_jpeg(1, 640, 480)))

    code = jobs.run(
        "stream_detect",
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--payload", "image", "--keep-all", "--starting-offsets", "earliest"),
        *("--trigger", "available-now", "--model", jobs.model("demo-detector")),
        *("--checkpoint", tmp_path / "checkpoint", "--output-kafka-topic", results),
    )

    assert code == 0
    [message] = jobs.consume(consumer, results, 1)
    result = json.loads(message.value())
    assert "image" not in result
    assert result["camera_id"] == "front"
