"""A checkpoint and the topics that it reads: another topic, cluster or kind, a topic made anew."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from pyspark_vision.sources.source_check import SourceCheck
from pyspark_vision.streaming import runner


def event(number: int) -> bytes:
    return json.dumps({"event_type": f"e{number}"}).encode()


class Topics:
    """Topics of the broker, each event of which is a number."""

    def __init__(self, kafka: Kafka, new_topic: Callable[..., str], producer: Producer) -> None:
        self.new = new_topic
        self.servers = kafka.bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        self._producer = producer

    def send(self, topic: str, *numbers: int) -> None:
        jobs.produce(self._producer, topic, *map(event, numbers))

    def make_anew(self, name: str, *numbers: int, partitions: int = 1) -> None:
        """Delete a topic, make one of its name, and send these to it."""
        for deleted in self._admin.delete_topics([name]).values():
            deleted.result(timeout=30)
        assert wait_until(lambda: name not in self._known(), timeout_s=10)
        for done in self._admin.create_topics([NewTopic(name, partitions, 1)]).values():
            done.result(timeout=30)
        assert wait_until(lambda: self._partitions(name) == partitions, timeout_s=10)
        time.sleep(0.5)
        self.send(name, *numbers)

    def _known(self) -> dict[str, Any]:
        return dict(self._admin.list_topics(timeout=10).topics)

    def _partitions(self, name: str) -> int | None:
        topic = self._known().get(name)
        return None if topic is None else len(topic.partitions)


class Extract:
    """``extract_events`` on one checkpoint: over what is in the topics, then it stops."""

    def __init__(self, servers: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.checkpoint = folder / "checkpoint"
        self._output = folder / "out"
        self._servers = servers
        self._capsys = capsys

    def __call__(self, *topics: str, flags: Sequence[str] = ()) -> int:
        self._capsys.readouterr()
        return jobs.run(
            "extract_events",
            *("--kafka-servers", self._servers, "--output", self._output),
            *("--stream", "--starting-offsets", "earliest"),
            *("--trigger", "available-now", "--checkpoint", self.checkpoint),
            *(("--kafka-topic", *topics) if topics else ()),
            *flags,
        )

    def said(self) -> str:
        """The last line of the run before, of a job that was refused."""
        said = self._capsys.readouterr().err
        assert "Traceback" not in said
        return [line for line in said.splitlines() if line.startswith("extract_events: ")][-1]

    def counted(self) -> str:
        return self._capsys.readouterr().out

    def rows(self) -> list[int]:
        """The events that have a row, as often as they have one."""
        column = pq.read_table(self._output / "extracted_events")["event_type"]
        return sorted(int(name.removeprefix("e")) for name in column.to_pylist())

    def texts(self) -> dict[Path, bytes]:
        """What stands in the checkpoint, but for its lease."""
        files = [path for path in self.checkpoint.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files if "lease" not in path.name}


@pytest.fixture
def topics(kafka: Kafka, new_topic: Callable[..., str], producer: Producer) -> Topics:
    return Topics(kafka, new_topic, producer)


@pytest.fixture
def extract(
    spark: SparkSession, kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Extract:
    return Extract(kafka.bootstrap_servers, tmp_path, capsys)


@pytest.fixture
def four_read(extract: Extract, topics: Topics) -> str:
    """A topic of one partition whose events 0 to 3 were read."""
    topic = topics.new(1)
    topics.send(topic, *range(4))
    assert extract(topic) == 0
    return topic


def test_another_topic_is_refused_and_leaves_the_checkpoint_as_it_was(
    extract: Extract, topics: Topics
) -> None:
    read, other = topics.new(), topics.new()
    topics.send(read, 0)
    topics.send(other, 100)
    assert extract(read) == 0
    before = extract.texts()

    assert extract(other, flags=("--skip-lost", other)) == 2

    assert f"reads {read}, and --kafka-topic says {other}: go on with {read}" in extract.said()
    assert extract.texts() == before
    topics.send(read, 1)
    assert extract(read, other) == 0, "a topic may come to it"
    assert extract.rows() == [0, 1, 100]
    assert extract(flags=("--kafka-topic-pattern", f"{other}.*")) == 2, "and none may go"
    assert f"--kafka-topic-pattern {other}.* does not fit {read}" in extract.said()


def test_a_checkpoint_of_an_older_version_is_asked_for_its_topics_too(
    extract: Extract, topics: Topics
) -> None:
    read, other = topics.new(), topics.new()
    topics.send(read, 0)
    assert extract(read) == 0
    shutil.rmtree(extract.checkpoint / "_source")
    before = extract.texts()

    assert extract(other) == 2

    assert f"reads {read}, and --kafka-topic says {other}" in extract.said()
    assert extract.texts() == before
    topics.send(read, 1)
    assert extract(read) == 0
    assert extract.rows() == [0, 1]


def test_another_cluster_is_refused(extract: Extract, four_read: str) -> None:
    [record] = (extract.checkpoint / "_source").glob("[0-9]*")
    kept = json.loads(record.read_text())
    record.write_text(json.dumps({**kept, "cluster": "the-other-one"}))

    assert extract(four_read) == 2

    said = extract.said()
    assert "reads from the Kafka cluster the-other-one" in said
    assert f"is the cluster {kept['cluster']}" in said


def test_a_folder_streams_checkpoint_is_refused(
    extract: Extract, spark: SparkSession, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one").write_text("a word")
    (
        spark.readStream.text(str(tmp_path / "texts"))
        .writeStream.foreachBatch(lambda batch, _: None)
        .option("checkpointLocation", str(extract.checkpoint))
        .trigger(availableNow=True)
        .start()
        .awaitTermination()
    )
    before = extract.texts()

    assert extract(topic) == 2
    assert "say --adopt once" in extract.said()  # it bears no job's mark
    assert extract(topic, flags=("--adopt",)) == 2

    assert "reads another kind of source than Kafka" in extract.said()
    assert extract.texts() == before


@pytest.mark.parametrize("new_records", [2, 7], ids=["shorter", "longer"])
def test_a_topic_made_anew_is_said_and_with_skip_lost_is_read_from_its_beginning(
    new_records: int, extract: Extract, topics: Topics, four_read: str
) -> None:
    new = range(100, 100 + new_records)
    topics.make_anew(four_read, *new)
    before = extract.texts()

    assert extract(four_read) == 1

    said = extract.said()
    assert f"{four_read}-0 ends at offset {new_records} and was read up to 4" in said
    assert "the topic was made anew (topic id " in said
    assert f"Go on by --skip-lost {four_read}" in said
    assert extract.texts() == before

    assert extract(four_read, flags=("--skip-lost", four_read)) == 0

    assert f"messages in {new_records}, " in extract.counted()
    topics.send(four_read, 200)
    assert extract(four_read) == 0, "it is the checkpoint's topic from then on"
    assert extract.rows() == [*range(4), *new, 200]


def test_what_an_old_topic_had_and_a_batch_that_was_planned_of_it_are_counted_as_lost(
    extract: Extract, topics: Topics
) -> None:
    topic, other = topics.new(1), topics.new(1)
    topics.send(topic, *range(4))
    assert extract(topic, other) == 0
    topics.send(topic, *range(4, 10))
    topics.send(other, *range(50, 53))
    assert extract(topic, other) == 0
    # As a kill leaves it that comes when all sinks have the batch.
    for commit in (extract.checkpoint / "commits").glob("*1*"):
        commit.unlink()
    topics.make_anew(topic, *range(100, 108), partitions=2)
    # One that has not heard of the old topic.
    newcomer = Producer({"bootstrap.servers": topics.servers})
    jobs.produce(newcomer, topic, event(120), partition=1)

    assert extract(topic, other, flags=("--skip-lost", topic, other)) == 0

    lost = "messages in 12, events 12, failed 0, lost 6 (lost_with_topic 6)"
    assert lost in extract.counted()
    assert extract.rows() == [*range(4), *range(50, 53), *range(100, 108), 120]


def test_a_topic_made_anew_before_anything_was_read_of_it_is_read_from_its_beginning(
    extract: Extract, topics: Topics
) -> None:
    topic = topics.new(1)
    topics.send(topic, *range(4))
    latest = ("--starting-offsets", "latest")
    assert extract(topic, flags=latest) == 0
    topics.make_anew(topic, *range(100, 106))

    assert extract(topic, flags=latest) == 1
    assert extract(topic, flags=(*latest, "--skip-lost", topic)) == 0

    assert extract.rows() == list(range(100, 106))


def test_a_start_that_is_killed_while_it_begins_anew_is_made_up_for_by_the_next(
    extract: Extract, topics: Topics, four_read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.make_anew(four_read, *range(100, 107))

    def killed(*_: object) -> int:
        raise GeneratorExit  # nothing of a job catches it

    with monkeypatch.context() as patch:
        patch.setattr(kafka_record, "_write", killed)
        with pytest.raises(GeneratorExit):
            extract(four_read, flags=("--skip-lost", four_read))
    assert extract(four_read, flags=("--skip-lost", four_read)) == 0

    assert extract.rows() == [*range(4), *range(100, 107)]


def read_stream(
    spark: SparkSession,
    source: KafkaSource,
    checkpoint: str,
    sink: Callable[[Any, int], None],
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Values of records into a sink: what is there with ``skip_lost``, else until it ends.

    ``after_batch``: is done when a batch was looked at, before it is committed.
    """

    @contextmanager
    def held(_: Callable[[str], None]) -> Iterator[SourceCheck]:
        with kafka_record.agreed(spark, source, checkpoint) as check:

            def look() -> None:
                check.after_batch()
                after_batch()

            yield SourceCheck(check.lost, look)

    runner.run(
        stream_kafka(spark, source),
        lambda records, _: runner.Steps(
            records.selectExpr("value", "cast(null as struct<code: string>) as error")
        ),
        lambda: None,
        {"sink": sink},
        runner.StreamOptions(checkpoint, "available-now" if source.skip_lost else "1 second", 60),
        value="value",
        name="reader",
        words=("messages", "read"),
        hold=held,
    )


def four_in_a_topic(topics: Topics) -> tuple[str, KafkaSource]:
    topic = topics.new(1)
    topics.send(topic, *range(4))
    return topic, KafkaSource(KafkaConnection(topics.servers), (topic,), starting="earliest")


def kept_values() -> tuple[dict[int, list[bytes]], Callable[[Any, int], None]]:
    """The values of each batch, and the sink that keeps them there."""
    batches: dict[int, list[bytes]] = {}

    def sink(results: Any, batch_id: int) -> None:
        batches[batch_id] = [row.value for row in results.collect()]

    return batches, sink


def test_a_topic_made_anew_under_a_running_stream_ends_it_before_the_batch_is_committed(
    spark: SparkSession, topics: Topics, tmp_path: Path
) -> None:
    topic, source = four_in_a_topic(topics)
    batches, sink = kept_values()
    checkpoint = str(tmp_path / "checkpoint")

    def sink_and_more(results: Any, batch_id: int) -> None:
        sink(results, batch_id)
        # Another one of that name comes, and grows beyond what was read.
        topics.make_anew(topic, *range(100, 107))

    with pytest.raises(
        StreamError, match=rf"{topic} was made anew while it was read .*`skip_lost`"
    ):
        read_stream(spark, source, checkpoint, sink_and_more)
    assert not list((tmp_path / "checkpoint" / "commits").glob("[0-9]*"))
    read_stream(spark, dataclasses.replace(source, skip_lost=(topic,)), checkpoint, sink)

    assert [value for batch in batches.values() for value in batch] == [
        *map(event, range(100, 107))
    ]


def test_what_a_batch_in_hand_was_to_read_of_the_new_topic_is_not_lost_with_the_old(
    spark: SparkSession, topics: Topics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, source = four_in_a_topic(topics)
    batches, sink = kept_values()
    checkpoint = str(tmp_path / "checkpoint")

    def make_anew_once() -> None:
        if len(batches) == 1:
            topics.make_anew(topic, *range(100, 107))

    with pytest.raises(StreamError, match="was made anew while it was read"):
        read_stream(spark, source, checkpoint, sink, make_anew_once)
    assert len(list((tmp_path / "checkpoint" / "offsets").glob("[0-9]*"))) == 2
    capsys.readouterr()
    read_stream(spark, dataclasses.replace(source, skip_lost=(topic,)), checkpoint, sink)

    assert "messages in 7, read 7, failed 0\n" in capsys.readouterr().out
    read = [value for batch in batches.values() for value in batch]
    assert read == [*map(event, [*range(4), *range(100, 107)])]


def test_a_record_is_brought_up_to_date_while_batches_run(
    spark: SparkSession, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = topics.new(1), topics.new(1)
    source = KafkaSource(KafkaConnection(topics.servers), pattern=f"{first}|{second}")
    checkpoint = str(tmp_path / "checkpoint")
    records = tmp_path / "checkpoint" / "_source"

    def recorded() -> Any:
        [record] = records.glob("[0-9]*")
        return json.loads(record.read_text())

    with kafka_record.agreed(spark, source, checkpoint) as check:
        check.after_batch()
        at_start = recorded()
        topics.send(first, *range(3))
        check.after_batch()
        assert recorded() == at_start, "once a minute is enough"
        monkeypatch.setattr(kafka_record, "_ENDS_EVERY_S", 0.0)
        check.after_batch()

    assert at_start["ends"] == {first: {"0": 0}, second: {"0": 0}}
    assert recorded()["ends"] == {first: {"0": 3}, second: {"0": 0}}
    assert recorded()["ids"] == at_start["ids"]
