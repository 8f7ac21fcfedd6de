"""A checkpoint and the topics that it reads: another topic, cluster or kind, a topic made anew."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services.kafka import Kafka
from local_services.process import wait_until
from pyspark.sql import SparkSession

from pyspark_vision.errors import StreamError
from pyspark_vision.sources import kafka_record
from pyspark_vision.sources.kafka import KafkaConnection, KafkaSource, stream_kafka
from pyspark_vision.streaming import runner


def event(number: int) -> bytes:
    return json.dumps({"event_type": f"e{number}"}).encode()


@pytest.fixture
def extract(spark: SparkSession, kafka: Kafka, tmp_path: Path) -> Callable[..., int]:
    """Runs ``extract_events`` over what is in the topics, then stops."""

    def run(*more: str) -> int:
        return jobs.run(
            "extract_events",
            *("--kafka-servers", kafka.bootstrap_servers),
            *("--stream", "--trigger", "available-now", "--checkpoint", tmp_path / "checkpoint"),
            *("--output", tmp_path / "out", *more),
        )

    return run


@pytest.fixture
def make_anew(kafka: Kafka) -> Callable[..., None]:
    """Deletes a topic and makes one of its name."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})

    def is_gone(name: str) -> bool:
        return name not in admin.list_topics(timeout=10).topics

    def made(name: str, partitions: int) -> bool:
        known = admin.list_topics(timeout=10).topics.get(name)
        return known is not None and len(known.partitions) == partitions

    def anew(name: str, partitions: int = 1) -> None:
        for deleted in admin.delete_topics([name]).values():
            deleted.result(timeout=30)
        assert wait_until(lambda: is_gone(name), timeout_s=10)
        for done in admin.create_topics([NewTopic(name, partitions, 1)]).values():
            done.result(timeout=30)
        assert wait_until(lambda: made(name, partitions), timeout_s=10)
        time.sleep(0.5)

    return anew


def rows(tmp_path: Path) -> list[str]:
    """The events that have a row, as often as they have one."""
    return sorted(pq.read_table(tmp_path / "out" / "extracted_events")["event_type"].to_pylist())


def texts(folder: Path) -> dict[str, bytes]:
    """What stands in a checkpoint, but for its lease."""
    files = [path for path in folder.rglob("*") if path.is_file() and "lease" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def last_line(said: str) -> str:
    return [line for line in said.splitlines() if line.startswith("extract_events: ")][-1]


def test_another_topic_is_refused_and_leaves_the_checkpoint_as_it_was(
    extract: Callable[..., int],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    read, other = new_topic(), new_topic()
    jobs.produce(producer, read, event(0))
    jobs.produce(producer, other, event(100))
    assert extract("--kafka-topic", read) == 0
    before = texts(tmp_path / "checkpoint")
    capsys.readouterr()

    code = extract("--kafka-topic", other, "--skip-lost", other)

    said = capsys.readouterr().err
    assert code == 2
    assert f"reads {read}, and --kafka-topic says {other}: go on with {read}" in last_line(said)
    assert texts(tmp_path / "checkpoint") == before
    jobs.produce(producer, read, event(1))
    assert extract("--kafka-topic", read, other) == 0, "a topic may come to it"
    assert rows(tmp_path) == ["e0", "e1", "e100"]
    assert extract("--kafka-topic-pattern", f"{other}.*") == 2, "and none may go"
    assert f"--kafka-topic-pattern {other}.* does not fit {read}" in capsys.readouterr().err


def test_a_checkpoint_of_an_older_version_is_asked_for_its_topics_too(
    extract: Callable[..., int],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    read, other = new_topic(), new_topic()
    jobs.produce(producer, read, event(0))
    assert extract("--kafka-topic", read) == 0
    shutil.rmtree(tmp_path / "checkpoint" / "_source")
    before = texts(tmp_path / "checkpoint")

    assert extract("--kafka-topic", other) == 2

    assert f"reads {read}, and --kafka-topic says {other}" in capsys.readouterr().err
    assert texts(tmp_path / "checkpoint") == before
    jobs.produce(producer, read, event(1))
    assert extract("--kafka-topic", read) == 0
    assert rows(tmp_path) == ["e0", "e1"]


def test_another_cluster_is_refused(
    extract: Callable[..., int], topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    jobs.produce(producer, topic, event(0))
    assert extract("--kafka-topic", topic) == 0
    [record] = (tmp_path / "checkpoint" / "_source").glob("[0-9]*")
    kept = json.loads(record.read_text())
    record.write_text(json.dumps({**kept, "cluster": "the-other-one"}))

    assert extract("--kafka-topic", topic) == 2

    said = last_line(capsys.readouterr().err)
    assert "reads from the Kafka cluster the-other-one" in said
    assert f"is the cluster {kept['cluster']}" in said


def test_a_folder_streams_checkpoint_is_refused(
    extract: Callable[..., int], spark: SparkSession, topic: str, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one").write_text("a word")
    (
        spark.readStream.text(str(tmp_path / "texts"))
        .writeStream.foreachBatch(lambda batch, _: None)
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
        .awaitTermination()
    )
    before = texts(tmp_path / "checkpoint")

    assert extract("--kafka-topic", topic) == 2
    assert "say --adopt once" in last_line(capsys.readouterr().err)  # it bears no job's mark
    assert extract("--kafka-topic", topic, "--adopt") == 2

    said = capsys.readouterr().err
    assert "reads another kind of source than Kafka" in last_line(said)
    assert "Traceback" not in said
    assert texts(tmp_path / "checkpoint") == before


@pytest.mark.parametrize("new_records", [2, 7], ids=["shorter", "longer"])
def test_a_topic_made_anew_is_said_and_with_skip_lost_is_read_from_its_beginning(
    new_records: int,
    extract: Callable[..., int],
    make_anew: Callable[..., None],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    topic = new_topic(1)
    jobs.produce(producer, topic, *map(event, range(4)))
    assert extract("--kafka-topic", topic) == 0
    make_anew(topic)
    jobs.produce(producer, topic, *map(event, range(100, 100 + new_records)))
    before = texts(tmp_path / "checkpoint")
    capsys.readouterr()

    refused = extract("--kafka-topic", topic)

    said = last_line(capsys.readouterr().err)
    assert refused == 1
    assert f"{topic}-0 ends at offset {new_records} and was read up to 4" in said
    assert "the topic was made anew (topic id " in said
    assert f"Go on by --skip-lost {topic}" in said
    assert texts(tmp_path / "checkpoint") == before

    went_on = extract("--kafka-topic", topic, "--skip-lost", topic)

    assert went_on == 0
    assert f"messages in {new_records}, " in capsys.readouterr().out
    jobs.produce(producer, topic, event(200))
    assert extract("--kafka-topic", topic) == 0, "it is the checkpoint's topic from then on"
    assert rows(tmp_path) == sorted(
        [f"e{n}" for n in [*range(4), *range(100, 100 + new_records), 200]]
    )


def test_what_an_old_topic_had_and_a_batch_that_was_planned_of_it_are_counted_as_lost(
    extract: Callable[..., int],
    kafka: Kafka,
    make_anew: Callable[..., None],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    topic, other = new_topic(1), new_topic(1)
    read = ("--kafka-topic", topic, other)
    jobs.produce(producer, topic, *map(event, range(4)))
    assert extract(*read) == 0
    jobs.produce(producer, topic, *map(event, range(4, 10)))
    jobs.produce(producer, other, *map(event, range(50, 53)))
    assert extract(*read) == 0
    # As a kill leaves it that comes when all sinks have the batch.
    for commit in (tmp_path / "checkpoint" / "commits").glob("*1*"):
        commit.unlink()
    make_anew(topic, 2)
    jobs.produce(producer, topic, *map(event, range(100, 108)))
    # One that has not heard of the old topic.
    newcomer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    jobs.produce(newcomer, topic, event(120), partition=1)
    capsys.readouterr()

    code = extract(*read, "--skip-lost", topic, other)

    assert code == 0
    assert "messages in 12, events 12, failed 0, lost 6 (lost_with_topic 6)" in (
        capsys.readouterr().out
    )
    assert rows(tmp_path) == sorted(
        [f"e{n}" for n in [*range(4), *range(50, 53), *range(100, 108), 120]]
    )


def test_a_topic_made_anew_before_anything_was_read_of_it_is_read_from_its_beginning(
    extract: Callable[..., int],
    make_anew: Callable[..., None],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
) -> None:
    topic = new_topic(1)
    jobs.produce(producer, topic, *map(event, range(4)))
    read = ("--kafka-topic", topic, "--starting-offsets", "latest")
    assert extract(*read) == 0
    make_anew(topic)
    jobs.produce(producer, topic, *map(event, range(100, 106)))

    assert extract(*read) == 1
    assert extract(*read, "--skip-lost", topic) == 0

    assert rows(tmp_path) == [f"e{n}" for n in range(100, 106)]


def test_a_start_that_is_killed_while_it_begins_anew_is_made_up_for_by_the_next(
    extract: Callable[..., int],
    make_anew: Callable[..., None],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = new_topic(1)
    jobs.produce(producer, topic, *map(event, range(4)))
    assert extract("--kafka-topic", topic) == 0
    make_anew(topic)
    jobs.produce(producer, topic, *map(event, range(100, 107)))

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kafka_record, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            extract("--kafka-topic", topic, "--skip-lost", topic)
    assert extract("--kafka-topic", topic, "--skip-lost", topic) == 0

    assert rows(tmp_path) == sorted([f"e{n}" for n in [*range(4), *range(100, 107)]])


def test_a_topic_made_anew_under_a_running_stream_ends_it_before_the_batch_is_committed(
    spark: SparkSession,
    kafka: Kafka,
    make_anew: Callable[..., None],
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
) -> None:
    topic = new_topic(1)
    jobs.produce(producer, topic, *map(event, range(4)))
    seen: dict[int, list[bytes]] = {}
    connection = KafkaConnection(kafka.bootstrap_servers)
    checkpoint = str(tmp_path / "checkpoint")

    def run(*skip_lost: str) -> None:
        source = KafkaSource(connection, (topic,), starting="earliest", skip_lost=skip_lost)

        def sink(results: Any, batch_id: int) -> None:
            seen[batch_id] = [row.value for row in results.collect()]
            if not skip_lost:  # another one of that name comes, and grows beyond what was read
                make_anew(topic)
                jobs.produce(producer, topic, *map(event, range(100, 107)))

        runner.run(
            stream_kafka(spark, source),
            lambda records, _: runner.Steps(
                records.selectExpr("value", "cast(null as struct<code: string>) as error")
            ),
            lambda: None,
            {"sink": sink},
            runner.StreamOptions(checkpoint, "1 second" if not skip_lost else "available-now", 60),
            value="value",
            name="reader",
            words=("messages", "read"),
            hold=lambda lost: kafka_record.agreed(spark, source, checkpoint),
        )

    with pytest.raises(
        StreamError, match=rf"{topic} was made anew while it was read .*--skip-lost"
    ):
        run()
    assert not list((tmp_path / "checkpoint" / "commits").glob("[0-9]*"))
    run(topic)

    assert [value for batch in seen.values() for value in batch] == [
        event(n) for n in range(100, 107)
    ]


def test_a_record_is_brought_up_to_date_while_batches_run(
    spark: SparkSession,
    kafka: Kafka,
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = new_topic(1), new_topic(1)
    source = KafkaSource(KafkaConnection(kafka.bootstrap_servers), pattern=f"{first}|{second}")
    checkpoint = str(tmp_path / "checkpoint")
    records = tmp_path / "checkpoint" / "_source"

    def recorded() -> Any:
        [record] = records.glob("[0-9]*")
        return json.loads(record.read_text())

    with kafka_record.agreed(spark, source, checkpoint) as check:
        check.after_batch()
        at_start = recorded()
        jobs.produce(producer, first, *[b"x"] * 3)
        check.after_batch()
        assert recorded() == at_start, "once a minute is enough"
        monkeypatch.setattr(kafka_record, "_ENDS_EVERY_S", 0.0)
        check.after_batch()

    assert at_start["ends"] == {first: {"0": 0}, second: {"0": 0}}
    assert recorded()["ends"] == {first: {"0": 3}, second: {"0": 0}}
    assert recorded()["ids"] == at_start["ids"]
