"""The Kafka source on a real broker: which records, from where to where, and what is lost."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from local_services.kafka import Kafka
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.sources.kafka import KafkaConnection, KafkaSource, read_kafka, stream_kafka

EIGHT = dt.datetime(2026, 11, 21, 8, tzinfo=dt.UTC)


def source(kafka: Kafka, **given: Any) -> KafkaSource:
    return KafkaSource(
        KafkaConnection(kafka.bootstrap_servers), **{"starting": "earliest", **given}
    )


def places(records: DataFrame) -> list[tuple[str, int, int]]:
    rows = records.select("topic", "partition", "offset").collect()
    return sorted((row.topic, row.partition, row.offset) for row in rows)


def test_records_come_with_their_place_key_value_and_time(
    spark: SparkSession, kafka: Kafka, topic: str, producer: Producer
) -> None:
    producer.produce(topic, b"v", b"k", 1, timestamp=int(EIGHT.timestamp() * 1000))
    producer.produce(topic, None, None, 1)
    assert producer.flush(30) == 0

    rows = read_kafka(spark, source(kafka, topics=(topic,))).orderBy("offset").collect()

    assert [(row.origin, row.key, row.value) for row in rows] == [
        (f"kafka:{topic}/1/0", b"k", b"v"),
        (f"kafka:{topic}/1/1", None, None),
    ]
    assert rows[0].received.astimezone(dt.UTC) == EIGHT
    assert (rows[0].topic, rows[0].partition, rows[0].offset) == (topic, 1, 0)


def test_a_pattern_reads_all_topics_of_such_names(
    spark: SparkSession, kafka: Kafka, new_topic: Callable[..., str], producer: Producer
) -> None:
    topics = sorted([new_topic(), new_topic()])
    for name in topics:
        jobs.produce(producer, name, b"x")

    found = read_kafka(spark, source(kafka, pattern="|".join(map(re.escape, topics))))

    assert places(found) == [(name, 0, 0) for name in topics]


def test_offsets_and_times_say_where_to_begin_and_to_end(
    spark: SparkSession, kafka: Kafka, topic: str, producer: Producer
) -> None:
    for minute in range(6):
        moment = EIGHT + dt.timedelta(minutes=minute)
        producer.produce(topic, b"x", None, 0, timestamp=int(moment.timestamp() * 1000))
    assert producer.flush(30) == 0
    by_offset = {
        "starting": f'{{"{topic}": {{"0": 2, "1": -2}}}}',
        "ending": f'{{"{topic}": {{"0": 4, "1": -1}}}}',
    }
    by_time = {"starting": "2026-11-21T08:01:30Z", "ending": "2026-11-21T08:04:00+00:00"}

    def offsets(bounds: dict[str, str]) -> list[int]:
        return [p[2] for p in places(read_kafka(spark, source(kafka, topics=(topic,), **bounds)))]

    assert offsets({}) == [0, 1, 2, 3, 4, 5]
    assert offsets(by_offset) == [2, 3]
    assert offsets(by_time) == [2, 3]
    assert offsets({"starting": "2030-01-01T00:00:00Z"}) == []


def test_each_micro_batch_is_bounded(
    spark: SparkSession, kafka: Kafka, topic: str, producer: Producer, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, *[b"x"] * 25)
    sizes: list[int] = []
    stream = stream_kafka(spark, source(kafka, topics=(topic,), max_offsets_per_trigger=10))

    (
        stream.writeStream.foreachBatch(lambda batch, _: sizes.append(batch.count()))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
        .awaitTermination()
    )

    assert sum(sizes) == 25
    assert max(sizes) <= 10


@pytest.mark.parametrize("skip", [False, True])
def test_records_that_went_by_retention_fail_the_stream_unless_their_topic_is_named(
    skip: bool, spark: SparkSession, kafka: Kafka, topic: str, producer: Producer, tmp_path: Path
) -> None:
    read: list[int] = []

    def run() -> None:
        stream = stream_kafka(
            spark, source(kafka, topics=(topic,), skip_lost=(topic,) if skip else ())
        )
        (
            stream.writeStream.foreachBatch(
                lambda batch, _: read.extend(row.offset for row in batch.collect())
            )
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
            .awaitTermination()
        )

    jobs.produce(producer, topic, *[b"x"] * 3)
    run()
    jobs.produce(producer, topic, *[b"x"] * 5)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 6)]).values():
        deleted.result(timeout=30)

    if skip:
        run()
        assert read == [0, 1, 2, 6, 7]
    else:
        with pytest.raises(StreamingQueryException, match="data may have been lost|DATA_LOSS|lost"):
            run()
        assert read == [0, 1, 2]
