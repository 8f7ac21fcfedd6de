"""extract_events on a real broker: the course's messages to tables that DuckDB and Hive read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import job_runs as jobs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from local_services import jars
from local_services.kafka import Kafka
from processes import spark_submit
from pyspark.sql import SparkSession

HEADERS = {"Host": "user1.comcast.com", "User-Agent": "ApacheBench/2.3", "Accept": "*/*"}
KNIFE = {"event_type": "purchase_knife", "description": "very sharp knife", **HEADERS}
GUILD = {"event_type": "join_guild", "metadata": {"guild": "thieves"}, "Cache-Control": "no-cache"}
GOOD = [
    b"default",
    b"purchased_sword",
    b'{"event_type": "default"}',
    json.dumps({"event_type": "purchase_sword", **HEADERS}).encode(),
    json.dumps(KNIFE).encode(),
    json.dumps(GUILD).encode(),
]
BAD = [b'{"event_type": "defau', b"", None, b"\xff\xfe", b"[1, 2]"]
SWORDS = "sword_purchases=purchase_sword,purchased_sword"
COLUMNS = [
    "raw_event",
    "timestamp",
    "Accept",
    "Host",
    "User_Agent",
    "Cache_Control",
    "event_type",
    "description",
    "metadata",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
]


@pytest.fixture
def extract(spark: SparkSession, kafka: Kafka, topic: str, tmp_path: Path) -> Callable[..., int]:
    """Runs the job on the topic; tables go to ``out`` below the test's folder."""

    def run(*more: object) -> int:
        return jobs.run(
            "extract_events",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--output", tmp_path / "out"),
            *more,
        )

    return run


def query(folder: Path, columns: str, files: str = "*.parquet") -> list[tuple[Any, ...]]:
    """What DuckDB reads of a table, by offset; a stream's files are ``*/*.parquet``."""
    found = duckdb.execute(
        f"select {columns} from read_parquet('{folder}/{files}') "
        "order by kafka_partition, kafka_offset"
    )
    return found.fetchall()


def last_line(capsys: Any) -> str:
    return str(capsys.readouterr().out.splitlines()[-1])


def test_a_batch_makes_one_table_of_all_variants(
    extract: Any, topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    jobs.produce(producer, topic, *GOOD, *BAD)

    code = extract()

    rows = query(
        tmp_path / "out" / "extracted_events",
        "event_type, Host, User_Agent, Cache_Control, description, metadata, raw_event",
    )
    raw = [message.decode() for message in GOOD]
    host, agent = HEADERS["Host"], HEADERS["User-Agent"]
    assert code == 0
    assert rows == [
        ("default", None, None, None, None, None, raw[0]),
        ("purchased_sword", None, None, None, None, None, raw[1]),
        ("default", None, None, None, None, None, raw[2]),
        ("purchase_sword", host, agent, None, None, None, raw[3]),
        ("purchase_knife", host, agent, None, "very sharp knife", None, raw[4]),
        ("join_guild", None, None, "no-cache", None, '{"guild":"thieves"}', raw[5]),
    ]
    assert last_line(capsys) == (
        "extract_events: messages in 11, events 6, failed 5 "
        "(bad_message 3, empty_input 1, null_input 1)"
    )


def test_a_row_says_where_and_when_its_message_came(
    extract: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    for partition, moment in ((1, 1_700_000_000_123), (0, 1_600_000_000_000)):
        producer.produce(topic, b"default", partition=partition, timestamp=moment)
        assert producer.flush(30) == 0

    assert extract() == 0

    rows = query(
        tmp_path / "out" / "extracted_events",
        "kafka_topic, kafka_partition, kafka_offset, epoch_ms(timestamp)",
    )
    assert rows == [(topic, 0, 0, 1_600_000_000_000), (topic, 1, 0, 1_700_000_000_123)]


def test_named_tables_have_their_event_types_and_set_fields_their_values(
    extract: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, *GOOD)

    code = extract(
        *("--set", "Host=moe", "Cache-Control=no-cache"),
        *("--split", SWORDS, "default_hits=default", "nothing=no_such_type"),
    )

    out = tmp_path / "out"
    seen = "event_type, Host, Cache_Control"
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "default_hits",
        "extracted_events",
        "nothing",
        "sword_purchases",
    ]
    assert query(out / "sword_purchases", seen) == [
        ("purchased_sword", "moe", "no-cache"),
        ("purchase_sword", "moe", "no-cache"),
    ]
    assert query(out / "default_hits", seen) == [("default", "moe", "no-cache")] * 2
    assert query(out / "nothing", seen) == []
    raw = [row[0] for row in query(out / "extracted_events", "raw_event")]
    assert raw == [message.decode() for message in GOOD]


def check_empty_and_typed(folder: Path, files: str) -> None:
    assert query(folder, "*", files) == []
    described = duckdb.execute(
        f"describe select * from read_parquet('{folder}/{files}')"
    ).fetchall()
    types = {name: kind for name, kind, *_ in described}
    assert list(types)[: len(COLUMNS)] == COLUMNS
    assert types["timestamp"].startswith("TIMESTAMP")
    assert (types["kafka_partition"], types["kafka_offset"]) == ("INTEGER", "BIGINT")
    assert {types[name] for name in COLUMNS if not name.startswith(("time", "kafka_"))} == {
        "VARCHAR"
    }
    assert pq.read_table(folder).schema.field("Host").type == pa.string()


def test_an_empty_topic_makes_empty_typed_tables(extract: Any, tmp_path: Path, capsys: Any) -> None:
    code = extract("--split", SWORDS, "--dead-letters", tmp_path / "letters")

    assert code == 0
    check_empty_and_typed(tmp_path / "out" / "extracted_events", "*.parquet")
    check_empty_and_typed(tmp_path / "out" / "sword_purchases", "*.parquet")
    assert pq.read_table(tmp_path / "letters").num_rows == 0
    assert last_line(capsys) == "extract_events: messages in 0, events 0, failed 0"


def test_a_stream_of_an_empty_topic_makes_empty_typed_tables(
    extract: Any, tmp_path: Path, capsys: Any
) -> None:
    stream = ("--stream", "--checkpoint", tmp_path / "checkpoint", "--trigger", "available-now")

    code = extract(*stream, "--split", SWORDS)

    assert code == 0
    check_empty_and_typed(tmp_path / "out" / "extracted_events", "*/*.parquet")
    check_empty_and_typed(tmp_path / "out" / "sword_purchases", "*/*.parquet")
    assert last_line(capsys) == "extract_events: messages in 0, events 0, failed 0"


def test_a_second_batch_replaces_tables_and_dead_letters(
    extract: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    arguments = ("--split", SWORDS, "--dead-letters", tmp_path / "letters")
    jobs.produce(producer, topic, GOOD[1], BAD[0])
    assert extract(*arguments) == 0
    jobs.produce(producer, topic, GOOD[0], BAD[4])

    assert extract(*arguments) == 0

    letters = pq.read_table(tmp_path / "letters").to_pylist()
    assert query(tmp_path / "out" / "extracted_events", "kafka_offset") == [(0,), (2,)]
    assert query(tmp_path / "out" / "sword_purchases", "kafka_offset") == [(0,)]
    assert sorted((letter["offset"], letter["payload"]) for letter in letters) == [
        (1, BAD[0]),
        (3, BAD[4]),
    ]


def test_a_batch_reads_from_one_offset_to_another(
    extract: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, *[b"default"] * 5)
    starting, ending = ({topic: {"0": offset, "1": 0}} for offset in (1, 4))

    code = extract(
        *("--starting-offsets", json.dumps(starting), "--ending-offsets", json.dumps(ending))
    )

    assert code == 0
    offsets = query(tmp_path / "out" / "extracted_events", "kafka_offset")
    assert offsets == [(1,), (2,), (3,)]


def test_dead_letters_in_a_topic_have_their_offset_reason_and_payload(
    extract: Any, topic: str, new_topic: Any, producer: Producer, consumer: Consumer
) -> None:
    dead = new_topic()
    jobs.produce(producer, topic, GOOD[0], *BAD[:2], GOOD[1], ("key", BAD[4]), partition=1)

    assert extract("--dead-letters", f"kafka:{dead}") == 0

    found = {}
    for message in jobs.consume(consumer, dead, 3):
        headers = dict(message.headers())
        said = [
            headers[f"pyspark_vision.{name}"].decode()
            for name in ("offset", "topic", "partition", "error_code")
        ]
        found[int(said[0])] = (message.key(), message.value(), *said[1:])
    assert found == {
        1: (None, BAD[0], topic, "1", "bad_message"),
        2: (None, BAD[1], topic, "1", "empty_input"),
        4: (b"key", BAD[4], topic, "1", "bad_message"),
    }


def test_a_restarted_stream_goes_on_where_it_was(
    extract: Any, topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    arguments = (
        "--stream",
        "--starting-offsets",
        "earliest",
        "--checkpoint",
        tmp_path / "checkpoint",
        "--trigger",
        "available-now",
    )
    arguments += ("--split", SWORDS, "--set", "Host=moe")  # type: ignore[assignment]
    arguments += ("--dead-letters", tmp_path / "letters")  # type: ignore[assignment]
    jobs.produce(producer, topic, *GOOD[:4], BAD[0])
    assert extract(*arguments, "--max-offsets-per-trigger", "3") == 0
    assert last_line(capsys) == (
        "extract_events: messages in 5, events 4, failed 1 (bad_message 1)"
    )
    jobs.produce(producer, topic, *GOOD[4:], BAD[1])

    assert extract(*arguments) == 0

    assert last_line(capsys) == (
        "extract_events: messages in 3, events 2, failed 1 (empty_input 1)"
    )
    out = tmp_path / "out"
    rows = query(out / "extracted_events", "kafka_offset, Host, batch_id", "*/*.parquet")
    assert rows == [
        *((offset, "moe", 0) for offset in (0, 1, 2)),
        (3, "moe", 1),
        *((offset, "moe", 2) for offset in (5, 6)),
    ]
    swords = query(out / "sword_purchases", "kafka_offset", "*/*.parquet")
    assert swords == [(1,), (3,)]
    letters = pq.read_table(tmp_path / "letters").to_pylist()
    assert sorted(letter["offset"] for letter in letters) == [4, 7]


def test_a_stream_does_not_begin_anew_in_the_output_of_another(
    extract: Any, topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    arguments = (
        "--stream",
        "--starting-offsets",
        "earliest",
        "--trigger",
        "available-now",
        "--checkpoint",
    )
    jobs.produce(producer, topic, *GOOD)
    assert extract(*arguments, tmp_path / "first") == 0

    assert extract(*arguments, tmp_path / "second") == 2

    assert "Choose a new output" in capsys.readouterr().err


def test_a_batch_replaces_tables_in_a_bucket(
    extract: Any, topic: str, producer: Producer, bucket: str, s3_client: Any, spark: SparkSession
) -> None:
    output = f"s3a://{bucket}/out"
    jobs.produce(producer, topic, GOOD[0])
    assert extract("--output", output) == 0
    jobs.produce(producer, topic, GOOD[1])

    assert extract("--output", output) == 0

    rows = spark.read.parquet(f"{output}/extracted_events").orderBy("kafka_offset").collect()
    assert [row.event_type for row in rows] == ["default", "purchased_sword"]
    keys = [entry["Key"] for entry in s3_client.list_objects_v2(Bucket=bucket)["Contents"]]
    folders = {key.rsplit("/", 1)[0] for key in keys if not key.endswith("/")}
    assert folders == {"out/extracted_events"}


def test_a_topic_that_is_not_there_fails_with_a_reason(
    extract: Any, tmp_path: Path, capsys: Any
) -> None:
    code = extract("--kafka-topic", "no-such-topic")

    assert code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("extract_events: ")
    assert "--kafka-topic no-such-topic: no-such-topic does not exist" in line
    assert not (tmp_path / "out" / "extracted_events").exists()


def test_events_go_to_the_terminal_a_line_each_and_nothing_in_them_moves_it(
    spark: SparkSession, kafka: Kafka, topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    hostile = json.dumps({"event_type": "\x1b[2J", "description": "x" * 300})
    jobs.produce(producer, topic, GOOD[3], hostile, BAD[0])
    source = ("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic)

    code = jobs.run(
        *("extract_events", *source, "--sink", "console", "--stream"),
        *("--starting-offsets", "earliest", "--trigger", "available-now"),
        *("--checkpoint", tmp_path / "checkpoint"),
    )

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    place = f"batch 0: {topic}/0/"
    assert [line for line in lines if line.startswith("batch 0: ")] == [
        f"{place}0 purchase_sword: {GOOD[3].decode()}",
        f"{place}1 �[2J: {hostile[:199]}…",
        f"{place}2 ! bad_message: {lines[-2].partition('bad_message: ')[2]}",
    ]
    assert lines[-1] == "extract_events: messages in 3, events 2, failed 1 (bad_message 1)"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_what_a_transaction_took_back_is_no_event(
    extract: Any, kafka: Kafka, topic: str, tmp_path: Path, capsys: Any
) -> None:
    sender = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"of-{topic}"}
    )
    sender.init_transactions(30)
    for word, end in ((b"kept", "commit"), (b"taken_back", "abort"), (b"kept_too", "commit")):
        sender.begin_transaction()
        sender.produce(topic, word, partition=0)
        assert sender.flush(30) == 0
        getattr(sender, f"{end}_transaction")(30)
    stream = ("--stream", "--starting-offsets", "earliest", "--trigger", "available-now")

    assert extract() == 0
    batch_line = last_line(capsys)
    assert extract(*stream, "--checkpoint", tmp_path / "c", "--output", tmp_path / "stream") == 0

    said = "extract_events: messages in 2, events 2, failed 0"
    assert (batch_line, last_line(capsys)) == (said, said)
    for table, files in (("out", "*.parquet"), ("stream", "*/*.parquet")):
        rows = query(tmp_path / table / "extracted_events", "event_type", files)
        assert rows == [("kept",), ("kept_too",)]


@pytest.mark.slow
def test_hive_reads_the_printed_tables_and_saved_ones_are_replaced_but_not_others(
    kafka: Kafka, topic: str, producer: Producer, tmp_path: Path, root: Path
) -> None:
    jobs.produce(producer, topic, *GOOD[:5], BAD[0])
    support = root / "tests" / "support"
    arguments = (kafka.bootstrap_servers, topic, str(tmp_path))

    printed = spark_submit(
        *(str(support / "hive_job.py"), *arguments),
        conf={
            "spark.master": "local[2]",
            "spark.driver.memory": "1g",
            "spark.jars": ",".join(map(str, jars.files("kafka"))),
            "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
            "spark.sql.catalogImplementation": "hive",
            "spark.hadoop.javax.jdo.option.ConnectionURL": (
                f"jdbc:derby:;databaseName={tmp_path}/metastore;create=true"
            ),
        },
        environment={"PYTHONPATH": f"{support}:{root}"},
    )

    found = json.loads(printed.splitlines()[-1])
    agent = HEADERS["User-Agent"]
    types = [*((name, "string") for name in COLUMNS[:9]), ("kafka_topic", "string")]
    types[1] = ("timestamp", "timestamp")
    types += [("kafka_partition", "int"), ("kafka_offset", "bigint")]
    for database in ("games", "of_batch", "of_stream"):
        assert found[f"{database}.extracted_events"] == [
            ["default", None, 0],
            ["purchased_sword", None, 1],
            ["default", None, 2],
            ["purchase_sword", agent, 3],
            ["purchase_knife", agent, 4],
        ]
        assert found[f"{database}.swords"] == [["purchase_sword", agent, 3]]
    assert [sorted(map(tuple, each)) for each in found["types"]] == [sorted(types)] * 3
    assert found["saved"] == [0, 0]
    [of_others, of_nobody] = found["refused"]
    assert of_others[0] == of_nobody[0] == 2
    assert "others.swords was not saved by this job from the same topics" in of_others[1]
    assert "--save-as-table nobody: the metastore has no such database" in of_nobody[1]
    assert found["others"] == [[1]]
    assert found["at"] == [[1, 0]]
