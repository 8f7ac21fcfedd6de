"""`pyspark-vision replay` of letters that came over Pub/Sub: published again, read again, once."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guides
import pytest
from local_services.pubsub import PubSub
from pubsub_topics import PROJECT, Topic
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField, StructType

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.sinks.dead_letters import HEADERS_TYPE, LETTER
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sources.pubsub.messages import Message
from pyspark_vision.sources.pubsub.service import Service

WHEN = dt.datetime(2026, 11, 28, 8)
WITH_HEADERS = StructType([*LETTER, StructField("headers", HEADERS_TYPE)])
NOTIFIED = {"eventType": "OBJECT_FINALIZE", "objectId": "ä b.jpg", "objectGeneration": "7"}


def letter(
    origin: str,
    payload: bytes | None,
    subscription: str | None,
    attributes: dict[str, str] | None = None,
    key: bytes | None = None,
) -> tuple[Any, ...]:
    headers = [(name, text.encode()) for name, text in (attributes or {}).items()]
    failed = ("fetch_failed", "no answer", "m", "ab", "cd")
    place = (origin, None, None, None, WHEN)
    return (payload, key, *place, *failed, subscription, headers)


@pytest.fixture
def topic(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.endpoint)
    return Topic(pubsub.endpoint).make(enable_message_ordering=True)


@pytest.fixture
def replay(
    spark: SparkSession, topic: Topic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs it with one checkpoint, on a machine without Kafka; its exit code and its last line."""

    def run(*more: object) -> tuple[int, str]:
        capsys.readouterr()
        given = ("replay", tmp_path / "letters", "--checkpoint", tmp_path / "replay", *more)
        code = pyspark_vision([*map(str, given)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, (said.out + said.err).splitlines()[-1]

    return run


def write(spark: SparkSession, tmp_path: Path, batch_id: int, *letters: tuple[Any, ...]) -> None:
    frame = spark.createDataFrame(list(letters), WITH_HEADERS).coalesce(1)
    parquet_sink(spark, str(tmp_path / "letters"))(frame, batch_id)


def received(topic: Topic, count: int) -> list[Message]:
    """What the subscription has, in the order in which it came."""
    with Service(topic.endpoint) as service:
        messages: list[Message] = []
        while pulled := service.pull(topic.subscription, 100, timeout_s=1 if messages else 10):
            messages += pulled
            service.acknowledge(topic.subscription, [message.ack_id for message in pulled])
            if len(messages) >= count:
                break
    return messages


def test_letters_are_published_to_the_topics_of_their_subscriptions_once_as_they_came(
    replay: Callable[..., tuple[int, str]], spark: SparkSession, topic: Topic, tmp_path: Path
) -> None:
    long_name = "gs://b/" + "é" * 600
    write(
        spark,
        tmp_path,
        0,
        letter("gs://b/ä b.jpg#7", b'{"name": "x"}', topic.subscription, NOTIFIED),
        letter(long_name, None, topic.subscription, {**NOTIFIED, "pyspark_vision.replay_of": "x"}),
        letter("pubsub:s/1", b"\x00\xff", topic.subscription, key=b"camera-1"),
        letter("gs://b/of a folder.jpg", None, None),
    )

    first, second = replay(), replay()

    assert first == (
        0,
        "replay: 1 letters not put back, for they name files, which are where they were "
        "(batch_embed --retry-failed takes them again): gs://b/of a folder.jpg",
    )
    assert second == (0, "replay: 0 letters put back")
    by_data = {message.data: message for message in received(topic, 3)}
    notified, bare, keyed = by_data[b'{"name": "x"}'], by_data[b""], by_data[b"\x00\xff"]
    own = notified.attributes.pop("pyspark_vision.replayed_letter")
    assert notified.attributes == {**NOTIFIED, "pyspark_vision.replay_of": "gs://b/ä b.jpg#7"}
    assert len(own) == 64
    # As long as Pub/Sub lets an attribute be.
    assert bare.attributes["pyspark_vision.replay_of"] == long_name[: 7 + 508]
    assert keyed.ordering_key == "camera-1"
    assert len(by_data) == 3


def test_what_is_not_there_is_one_line_and_nothing_counts_as_put_back(
    replay: Callable[..., tuple[int, str]], spark: SparkSession, topic: Topic, tmp_path: Path
) -> None:
    away = Topic(topic.endpoint)
    write(spark, tmp_path, 0, letter("gs://b/a#1", b"{}", away.subscription, NOTIFIED))

    no_subscription = replay()
    no_project = replay("--to", f"pubsub:{topic.name}")
    no_topic = replay("--to", f"pubsub:{away.topic}")
    no_place = replay("--to", topic.name)
    went = replay("--to", f"pubsub:{topic.name}", "--project-id", PROJECT)

    assert {code for code, _ in (no_subscription, no_project, no_topic, no_place)} == {2}
    assert f"{away.subscription} is not there" in no_subscription[1]
    assert "or name the topic by --to pubsub:TOPIC" in no_subscription[1]
    assert f"the topic {topic.name} needs its project: --project-id" in no_project[1]
    assert f"the topic {away.topic} is not there" in no_topic[1]
    assert f"--to {topic.name}: it must be kafka:TOPIC or pubsub:TOPIC" in no_place[1]
    assert went == (0, "replay: 1 letters put back (fetch_failed 1)")
    assert [message.data for message in received(topic, 1)] == [b"{}"]


def test_a_letter_whose_headers_are_no_text_stays_and_says_so(
    replay: Callable[..., tuple[int, str]], spark: SparkSession, topic: Topic, tmp_path: Path
) -> None:
    of_kafka = list(letter("kafka:t/0/1", b"{}", None))
    of_kafka[-1] = [("trace", b"\xff")]
    write(spark, tmp_path, 0, tuple(of_kafka))

    code, said = replay("--to", f"pubsub:{topic.topic}")

    assert code == 2
    assert "kafka:t/0/1 has a header trace that is no text" in said
    assert topic.left() == 0
    assert json.loads(of_kafka[0]) == {}


def test_pubsub_md_letters_of_these_errors_are_published_again(
    spark: SparkSession, topic: Topic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = letter("gs://b/a#1", b"{}", topic.subscription, NOTIFIED)
    bad = list(letter("gs://b/b#1", b"bad", topic.subscription, NOTIFIED))
    bad[LETTER.fieldNames().index("error_code")] = "truncated"
    write(spark, tmp_path, 0, good, tuple(bad))
    places = {"build/pubsub/dead": f"{tmp_path}/letters", "build/pubsub": str(tmp_path)}
    [command] = guides.block("pubsub.md", "pyspark-vision replay", places).commands

    assert guides.run(command) == 0

    assert "replay: 1 letters put back (fetch_failed 1)" in capsys.readouterr().out
    assert [message.data for message in received(topic, 1)] == [b"{}"]
