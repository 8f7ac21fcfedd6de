"""What a Kafka source and sink are told: always bounds, secrets from files only, clear errors."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sources import kafka
from pyspark_vision.sources.kafka import KafkaConnection, KafkaSource
from pyspark_vision.sources.kafka_properties import read_java_properties, read_properties

SERVERS = KafkaConnection("127.0.0.1:9092")


def test_properties_are_read_with_comments_blanks_and_values_that_hold_equals(
    tmp_path: Path,
) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(
        "# a comment\n! another\n\nsecurity.protocol = SASL_SSL\n"
        'sasl.jaas.config=Module required username="u" password="p=q";\n'
        "kafka.ssl.truststore.location=/etc/trust.jks\n"
    )

    assert read_properties(str(file)) == (
        ("security.protocol", "SASL_SSL"),
        ("sasl.jaas.config", 'Module required username="u" password="p=q";'),
        ("ssl.truststore.location", "/etc/trust.jks"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=b\npassword hunter2", "line 2: it is not key=value"),
        ("bootstrap.servers=evil:9092", "line 1: bootstrap.servers is set by the job"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_never_shown(
    text: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(text)

    with pytest.raises(InvalidOptionError) as error:
        read_properties(str(file))

    assert said in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "evil" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "sasl.mechanisms=PLAIN",
            "sasl.mechanisms is librdkafka's, .* a job needs sasl.mechanism,",
        ),
        ("sasl.username=u\nsasl.password=hunter2", "a job needs sasl.jaas.config"),
        ("ssl.ca.location=/ca.pem", "a job needs ssl.truststore.location"),
        ("ssl.truststore.location=/hunter2.jks", "no file at ssl.truststore.location"),
        ("isolation.level=hunter2", "must be one of read_committed, read_uncommitted"),
    ],
)
def test_what_a_job_would_pass_over_is_refused_with_what_it_needs(
    text: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(text)

    with pytest.raises(InvalidOptionError, match=said) as error:
        read_java_properties(str(file))

    assert "hunter2" not in str(error.value)


def test_a_file_for_both_kinds_of_clients_is_read(tmp_path: Path) -> None:
    (tmp_path / "trust.pem").write_text("")
    file = tmp_path / "kafka.properties"
    file.write_text(
        f"ssl.ca.location={tmp_path}/trust.pem\nssl.truststore.location={tmp_path}/trust.pem\n"
        "isolation.level=read_uncommitted\n"
    )

    assert len(read_java_properties(str(file))) == 3


def test_a_properties_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="cannot read Kafka properties .*none"):
        read_properties(str(tmp_path / "none"))


def test_secrets_are_not_in_the_repr_of_a_connection() -> None:
    connection = KafkaConnection("h:1", (("sasl.jaas.config", 'password="hunter2"'),))

    assert "hunter2" not in repr(KafkaSource(connection, topics=("t",)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give topics, or a pattern"),
        ({"topics": ("a",), "pattern": "a.*"}, "not both"),
        ({"topics": ("a", "b"), "skip_lost": ("a",)}, "skip_lost=a must name what is read: a, b"),
        ({"pattern": "a.*", "skip_lost": ("a",)}, "skip_lost=a must name what is read: a.*"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOptionError) as error:
        KafkaSource(SERVERS, **given)

    assert said in str(error.value)


@pytest.mark.parametrize(
    ("value", "options"),
    [
        ("earliest", {"startingOffsets": "earliest"}),
        ("latest", {"startingOffsets": "latest"}),
        ('{"t": {"0": 23, "1": -2}}', {"startingOffsets": '{"t": {"0": 23, "1": -2}}'}),
        (
            "2026-11-21T08:00:00Z",
            {
                "startingTimestamp": str(
                    int(dt.datetime(2026, 11, 21, 8, tzinfo=dt.UTC).timestamp() * 1000)
                ),
                "startingOffsetsByTimestampStrategy": "latest",
            },
        ),
    ],
)
def test_offsets_are_words_json_or_a_time(value: str, options: dict[str, str]) -> None:
    assert kafka._bounds("starting", value) == options


@pytest.mark.parametrize("value", ["soon", "{", "", "2026-13-01"])
def test_other_offsets_are_refused_with_the_choices(value: str) -> None:
    with pytest.raises(InvalidOptionError):
        kafka._bounds("starting", value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"t": 5}', "t: 5 is not partitions and offsets"),
        ('{"t": {}}', "t: {} is not partitions and offsets"),
        ('{"t": [5]}', "t: [5] is not partitions and offsets"),
        ('{"t": {"zero": 5}}', "t: 'zero' is no partition's number"),
        ('{"t": {"0": "5"}}', 't: partition 0 has "5", which is no offset'),
        ('{"t": {"0": true}}', "t: partition 0 has true, which is no offset"),
        ('{"t": {"0": -3}}', "t: partition 0 has -3, which is no offset"),
        ('{"t": {"0": 5}', "it is not JSON: "),
    ],
)
@pytest.mark.parametrize("end", ["starting", "ending"])
def test_offsets_of_another_shape_are_refused_with_the_part_that_is_wrong(
    end: str, text: str, said: str
) -> None:
    with pytest.raises(InvalidOptionError) as error:
        KafkaSource(SERVERS, topics=("t",), **{end: text})  # type: ignore[arg-type]

    assert f"--{end}-offsets {text}: {said}" in str(error.value)
    assert 'give JSON as {"topic": {"0": 23}}' in str(error.value)


def test_data_loss_fails_unless_the_topics_are_named(spark: SparkSession) -> None:
    strict = kafka._options(spark, KafkaSource(SERVERS, topics=("a", "b")))
    lenient = kafka._options(spark, KafkaSource(SERVERS, topics=("a",), skip_lost=("a",)))

    assert strict["failOnDataLoss"] == "true"
    assert strict["subscribe"] == "a,b"
    assert lenient["failOnDataLoss"] == "false"


def test_a_broker_keeps_no_request_for_long_unless_the_user_says_so(spark: SparkSession) -> None:
    patient = KafkaConnection("a:1", (("fetch.max.wait.ms", "500"),))

    assert (
        kafka._options(spark, KafkaSource(SERVERS, topics=("a",)))["kafka.fetch.max.wait.ms"]
        == "10"
    )
    assert (
        kafka._options(spark, KafkaSource(patient, topics=("a",)))["kafka.fetch.max.wait.ms"]
        == "500"
    )
