"""The data source `pubsub` on Google's own server: each message once, whatever is killed."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import guides
import job_runs as jobs
import pyarrow.parquet as pq
import pyspark
import pytest
from job_environment import job_environment
from local_services.process import wait_until
from local_services.pubsub import PubSub
from own_session import in_own_session, kill_session
from pubsub_topics import Topic
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.doctor import pubsub as doctor
from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import messages, reader
from pyspark_vision.sources.pubsub.options import reader_options
from pyspark_vision.sources.pubsub.service import Service
from pyspark_vision.sources.pubsub.stores import LocalStore
from pyspark_vision.sources.pubsub.stream import (
    PubSubSource,
    acknowledge_committed,
    check,
    stream_pubsub,
)
from pyspark_vision.spark import hadoop

IS_OLD = pyspark.__version__.startswith("3.")
JOB = Path(__file__).parents[1] / "support" / "pubsub_job.py"
# The shortest that Pub/Sub has: how long a message is held for a process that has died.
DEADLINE_S = 10


@pytest.fixture
def topic(pubsub: PubSub) -> Topic:
    return Topic(pubsub.endpoint).make()


@pytest.fixture
def source(topic: Topic) -> PubSubSource:
    return PubSubSource((topic.subscription,), endpoint=topic.endpoint, ack_deadline_s=DEADLINE_S)


@pytest.fixture
def streamed(spark: SparkSession, source: PubSubSource, tmp_path: Path) -> Callable[..., list[Any]]:
    """Runs a query on what there is, to its end; the rows of its batches."""

    def run(
        of: PubSubSource = source,
        failing: bool = False,
        rows: list[Any] | None = None,
        checkpoint: str = str(tmp_path / "checkpoint"),
    ) -> list[Any]:
        rows = [] if rows is None else rows

        def keep(batch: DataFrame, batch_id: int) -> None:
            rows.append(sorted(batch.collect(), key=lambda row: row.message_id))
            if failing:
                raise RuntimeError("a sink that fails")

        messages = stream_pubsub(spark, of, checkpoint)
        writer = messages.writeStream.foreachBatch(keep).option("checkpointLocation", checkpoint)
        query = writer.trigger(availableNow=True).start()
        query.awaitTermination()
        acknowledge_committed(spark, of, checkpoint)
        return rows

    return run


def test_messages_are_rows_with_their_attributes_times_and_keys(
    topic: Topic, streamed: Callable[..., list[Any]]
) -> None:
    before = time.time()
    [first] = topic.publish([b"\x00\xff"], {"eventType": "OBJECT_FINALIZE"})
    [second] = topic.publish([b"two"], ordering_key="camera-1")

    [rows] = streamed()

    one, two = sorted(rows, key=lambda row: int(row.message_id[1:]))
    assert (one.value, one.message_id) == (b"\x00\xff", first)
    assert one.attributes == {"eventType": "OBJECT_FINALIZE"}
    assert one.origin == f"pubsub:{topic.name}/{first}"
    assert one.subscription == topic.subscription
    assert abs(one.received.timestamp() - before) < 60
    assert one.ordering_key is None
    assert (two.message_id, two.ordering_key, two.attributes) == (second, "camera-1", {})


@pytest.mark.slow
def test_what_waits_in_a_stream_that_is_stopped_is_there_for_the_next_at_once(
    spark: SparkSession, topic: Topic, streamed: Callable[..., list[Any]], tmp_path: Path
) -> None:
    topic.publish([str(number).encode() for number in range(300)])
    few = PubSubSource((topic.subscription,), endpoint=topic.endpoint, max_messages_per_batch=20)
    checkpoint = str(tmp_path / "checkpoint")
    rows: list[Any] = []
    stopped = (
        stream_pubsub(spark, few, checkpoint)
        .writeStream.foreachBatch(lambda batch, _: rows.append(batch.collect()))
        .option("checkpointLocation", checkpoint)
        .trigger(processingTime="2 seconds")
        .start()
    )
    assert wait_until(lambda: len(rows) >= 2, 60)
    stopped.stop()

    # Less than its deadline later, a minute.
    rows += streamed(few)

    values = [int(row.value) for batch in rows for row in batch]
    assert set(values) == set(range(300))
    assert len(values) - 300 in (0, 20)  # the batch that the stop cut short is collected again


@pytest.mark.slow
def test_nothing_is_acknowledged_before_its_batch_is_committed_and_all_after(
    topic: Topic, streamed: Callable[..., list[Any]], tmp_path: Path
) -> None:
    topic.publish([str(number).encode() for number in range(100)])

    with pytest.raises(Exception, match="a sink that fails"):
        streamed(failing=True)
    segments = list((tmp_path / "checkpoint" / "_pubsub" / "segments").iterdir())
    # Of nobody, when its time is over.
    assert wait_until(lambda: topic.left() == 100, 2 * DEADLINE_S)
    again = streamed()

    assert len(segments) == 1
    assert [len(rows) for rows in again] == [100]  # of the journal, and no repeats of it
    time.sleep(DEADLINE_S + 1)
    assert topic.left() == 0


def test_a_batch_that_is_run_again_is_exactly_the_same(
    topic: Topic, streamed: Callable[..., list[Any]]
) -> None:
    topic.publish([b"a", b"b"])
    before: list[Any] = []
    with pytest.raises(Exception, match="a sink that fails"):
        streamed(failing=True, rows=before)
    topic.publish([b"c"])

    replayed, after = streamed()

    assert [replayed] == before
    assert [row.value for row in after] == [b"c"]


@pytest.mark.parametrize(
    "scheme", [pytest.param(s, marks=pytest.mark.slow) for s in ("s3a", "gs", "hdfs")]
)
def test_a_stream_with_its_checkpoint_in_a_store_goes_on_with_each_message_once(
    scheme: str,
    request: pytest.FixtureRequest,
    spark: SparkSession,
    topic: Topic,
    streamed: Callable[..., list[Any]],
) -> None:
    checkpoint = f"{store(scheme, request)}/of a stream #1"
    topic.publish([b"a", b"b"])
    before: list[Any] = []
    with pytest.raises(Exception, match="a sink that fails"):
        streamed(failing=True, rows=before, checkpoint=checkpoint)
    topic.publish([b"c"])

    batches = streamed(checkpoint=checkpoint)
    topic.publish([b"d"])
    batches += streamed(checkpoint=checkpoint)

    assert batches[0] == before[0]
    # However many came at once.
    values = sorted(row.value for batch in batches for row in batch)
    assert values == [b"a", b"b", b"c", b"d"]
    kept = hadoop.list_names(spark, f"{checkpoint}/_pubsub/segments") or []
    assert len(kept) < len(batches)  # what is acknowledged is gone


def store(scheme: str, request: pytest.FixtureRequest) -> str:
    """A fresh folder of a store that Spark knows."""
    if scheme == "hdfs":
        return f"{request.getfixturevalue('hdfs').fs_uri}/{uuid.uuid4().hex}"
    if scheme == "gs":
        request.getfixturevalue("gcs")
        return f"gs://{request.getfixturevalue('gcs_bucket').name}"
    request.getfixturevalue("s3")
    return f"s3a://{request.getfixturevalue('bucket')}"


def test_batches_are_bounded(topic: Topic, streamed: Callable[..., list[Any]]) -> None:
    topic.publish([bytes(100)] * 10)
    three = PubSubSource((topic.subscription,), endpoint=topic.endpoint, max_messages_per_batch=3)

    batches = streamed(three)

    assert sum(len(rows) for rows in batches) == 10
    assert max(len(rows) for rows in batches) == 3


@pytest.mark.slow
def test_messages_of_an_ordering_key_come_in_order(
    pubsub: PubSub, streamed: Callable[..., list[Any]]
) -> None:
    ordered = Topic(pubsub.endpoint).make(enable_message_ordering=True)
    for key in ("a", "b"):
        ordered.publish([f"{key}{number}".encode() for number in range(4)], ordering_key=key)

    rows = [
        row
        for batch in streamed(
            PubSubSource((ordered.subscription,), endpoint=pubsub.endpoint, ack_deadline_s=10)
        )
        for row in batch
    ]

    values = [row.value.decode() for row in rows]
    for key in ("a", "b"):
        mine = [value for value in values if value.startswith(key)]
        assert mine == sorted(mine)
    assert len(values) == 8


def test_what_a_key_holds_back_until_the_batch_before_is_acknowledged_is_read_too(
    pubsub: PubSub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_DRAINED_S", 0.8)
    ordered = Topic(pubsub.endpoint).make(enable_message_ordering=True)
    ordered.publish([b"1", b"2"], ordering_key="camera")
    options = reader_options({"subscription": ordered.subscription, "journal": str(tmp_path)})
    reading = reader.Reader(options, LocalStore(tmp_path), Service(pubsub.endpoint))
    reading.begin_to_drain()
    reading.start()

    segment = 0
    read: list[bytes] = []
    while (newest := reading.latest(segment)) != segment:
        for part in reading.partitions(segment, newest):
            read += messages.from_bytes(part).column("data").to_pylist()
        segment = newest
        time.sleep(1)  # a batch that takes longer than the service is listened to
    reading.stop()

    assert read == [b"1", b"2"]
    assert list((tmp_path / "segments").iterdir()) == []


@pytest.mark.slow
def test_a_missing_subscription_and_a_service_that_is_away_are_one_line_each(
    pubsub: PubSub,
) -> None:
    missing = Topic(pubsub.endpoint)
    away = PubSubSource((missing.subscription,), endpoint="127.0.0.1:1")

    with pytest.raises(StreamError, match=f"{missing.subscription} is not there") as not_there:
        check(PubSubSource((missing.subscription,), endpoint=pubsub.endpoint))
    with pytest.raises(StreamError, match="127.0.0.1:1 does not answer") as no_answer:
        check(away)

    assert "\n" not in f"{not_there.value}{no_answer.value}"


@pytest.mark.every_spark
@pytest.mark.skipif(not IS_OLD, reason="PySpark has Python data sources")
def test_before_pyspark_4_a_job_ends_with_one_line(
    topic: Topic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = jobs.run(
        *("stream_classify", "--input-source", "pubsub", "--subscription", topic.subscription),
        *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
        *("--checkpoint", tmp_path / "checkpoint"),
    )

    assert code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "reading Pub/Sub needs PySpark 4.0 or newer" in last


def test_doctor_says_whether_a_subscription_is_there(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", topic.endpoint)

    assert doctor.subscription(topic.subscription).startswith(f"{topic.subscription} is there")
    with pytest.raises(StreamError, match="is not there"):
        doctor.subscription(topic.subscription + "x")


def test_pubsub_md_the_stream_has_the_columns_that_the_guide_names(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    block = guides.block("pubsub.md", "from pyspark_vision", {"build/": f"{guides.ROOT}/build/"})

    exec(block.text, {"spark": spark})

    shown = capsys.readouterr().out
    for name in ("origin", "value", "received", "attributes", "ordering_key", "message_id"):
        assert f" |-- {name}: " in shown


@contextmanager
def job(topic: Topic, folder: Path, trigger: str) -> Iterator[subprocess.Popen[bytes]]:
    conf = {"spark.master": "local[2]", "spark.ui.enabled": "false"}
    command = [sys.executable, str(JOB), topic.endpoint, topic.subscription, str(folder), trigger]
    with in_own_session(command, folder / "log", job_environment(conf)) as process:
        yield process


def values(folder: Path) -> list[int]:
    files = (folder / "out").glob("batch_id=*/*.parquet")
    return sorted(
        int(value) for file in files for value in pq.read_table(file).column("value").to_pylist()
    )


@pytest.mark.every_spark
@pytest.mark.skipif(IS_OLD, reason="before PySpark 4.0 there are no Python data sources")
@pytest.mark.slow
def test_a_killed_driver_and_a_killed_server_lose_and_repeat_nothing(
    pubsub: PubSub, topic: Topic, tmp_path: Path
) -> None:
    topic.publish([str(number).encode() for number in range(300)])
    offsets = tmp_path / "checkpoint" / "offsets"

    with job(topic, tmp_path, "0 seconds") as process:
        assert wait_until(lambda: (offsets / "3").exists(), 180), (tmp_path / "log").read_text()
        kill_session(process)
    with job(topic, tmp_path, "0 seconds") as process:
        assert wait_until(lambda: len(values(tmp_path)) >= 300, 180), values(tmp_path)
        pubsub.server.kill()
        pubsub.server.start()
        topic.make()
        topic.publish([str(number).encode() for number in range(300, 320)])
        assert wait_until(lambda: len(values(tmp_path)) >= 320, 120), (tmp_path / "log").read_text()
        kill_session(process)

    assert values(tmp_path) == list(range(320))
