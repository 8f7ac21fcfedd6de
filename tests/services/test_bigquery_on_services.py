"""BigQuery's emulator behind a proxy that refuses a job's id the second time: each row once."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import guides
import job_runs as jobs
import pyarrow.parquet as pq
import pyspark
import pytest
import requests
from bigquery_proxy import LOST_AFTER, LOST_BEFORE, RUNNING, BigQueryProxy, bring_from
from bigquery_streams_proxy import BigQueryStreamsProxy
from confluent_kafka import Producer
from google.api_core import exceptions
from google.cloud import bigquery as google
from local_services.bigquery import BigQuery
from local_services.gcs import Gcs
from local_services.kafka import Kafka
from pictures import scene_jpeg
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.doctor import bigquery as doctor
from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.messages import image_stream
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.bigquery import columns as cols
from pyspark_vision.sinks.bigquery import service, table
from pyspark_vision.sinks.bigquery import sink as bq
from pyspark_vision.sinks.bigquery.load_jobs import Patience
from pyspark_vision.sinks.bigquery.sink import LOAD, STORAGE
from pyspark_vision.sinks.bigquery.table_name import TableName
from pyspark_vision.sinks.bigquery.write_stream import WriteStreams
from pyspark_vision.sinks.owner import Mark

QUICK = Patience(0.05, 0.2, 20)
NOON = dt.datetime(2026, 11, 28, 12, 0, 0, 1, tzinfo=dt.UTC)


@pytest.fixture
def proxy(bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryProxy]:
    """In front of the REST API; the clients of this test go there."""
    with BigQueryProxy(bigquery.rest_url) as running:
        for name, value in bigquery.environment(running.url).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def streams(
    bigquery: BigQuery, proxy: BigQueryProxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BigQueryStreamsProxy]:
    """In front of the Storage Write API."""
    with BigQueryStreamsProxy(bigquery.grpc_address) as running:
        monkeypatch.setenv(service.STORAGE_EMULATOR, running.address)
        yield running


@pytest.fixture
def client(bigquery: BigQuery, proxy: BigQueryProxy) -> Any:
    """Google's own."""
    return service.client(bigquery.project)


@pytest.fixture
def name(bigquery: BigQuery, client: Any) -> TableName:
    """Of a table that is not there yet, in a dataset of its own."""
    dataset = f"d{uuid.uuid4().hex}"
    client.create_dataset(dataset)
    return TableName(bigquery.project, dataset, "image_predictions")


def wanted(how: str = LOAD, added: tuple[str, ...] | None = None) -> table.Wanted:
    """As stream_classify wants its table."""
    return table.Wanted(
        image_stream.PREDICTION,
        image_stream.PREDICTION_OFFERED,
        "processed_at",
        bq.largest_row_bytes(how),
        added,
    )


def rows_of(client: Any, name: TableName) -> list[dict[str, Any]]:
    """The table, in the order of its ids."""
    query = f"SELECT * FROM `{name}` ORDER BY prediction_id"
    return [dict(row) for row in client.query(query).result()]


def predictions(spark: SparkSession, *ids: str | None) -> DataFrame:
    """One row for each id, in two tasks."""
    rows = [
        (one, "cat", 0.5, "m", 3, 100, None, None, NOON, "2026-11-28", None, None, None, False)
        for one in ids
    ]
    names = [*image_stream.PREDICTION.names, *image_stream.PREDICTION_OFFERED.names[9:]]
    types = {field.name: field for field in image_stream.PREDICTION_OFFERED}
    schema = type(image_stream.PREDICTION)([types[one] for one in names])
    return spark.createDataFrame([row[: len(names)] for row in rows], schema).repartition(2)


class Stream:
    """A checkpoint, and batches that go from it to a table: as a job's, without the job."""

    def __init__(self, spark: SparkSession, checkpoint: Path, client: Any, name: TableName) -> None:
        self._spark, self._client, self._name = spark, client, name
        self.checkpoint = checkpoint
        mark = Mark("stream_classify", "checkpoint", uuid.uuid4().hex)
        owner.claim(spark, str(checkpoint), mark, "--checkpoint", adopts=False)

    def plan(self, batch_id: int) -> None:
        """Leave what Spark does before a batch is begun."""
        offsets = self.checkpoint / "offsets"
        offsets.mkdir(exist_ok=True)
        (offsets / str(batch_id)).touch()

    def start(
        self, how: str = LOAD, staging: str | None = None, patience: Patience = QUICK
    ) -> Callable[..., None]:
        """A new process, as far as the sink knows: ``write(batch_id, *ids)``."""
        made = table.ready(self._client, self._name, wanted(how))
        writer = service.write_client() if how == STORAGE else None
        target = bq.Target(made, self._client, str(self.checkpoint), how, writer, staging, patience)
        sink = bq.bigquery_sink(
            self._spark,
            target,
            lambda: table.refuse_changed(self._client, made, wanted(how), "--output-bq-table"),
        )

        def write(batch_id: int, *ids: str | None) -> None:
            self.plan(batch_id)
            sink(bq.with_refusal(predictions(self._spark, *ids), made), batch_id)

        return write


@pytest.fixture
def stream(spark: SparkSession, tmp_path: Path, client: Any, name: TableName) -> Stream:
    return Stream(spark, tmp_path / "checkpoint", client, name)


def test_the_proxy_refuses_an_id_the_second_time_and_knows_its_jobs(
    proxy: BigQueryProxy, client: Any, name: TableName
) -> None:
    made = table.ready(client, name, wanted())
    config = google.LoadJobConfig(
        source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND"
    )

    def load(job_id: str) -> Any:
        lines = io.BytesIO(b'{"prediction_id":"a"}\n{"prediction_id":"b"}\n')
        where = {"job_id": job_id, "location": made.location, "job_config": config}
        return client.load_table_from_file(lines, str(name), num_retries=0, **where)

    with pytest.raises(exceptions.NotFound):
        client.get_job("once", location=made.location, retry=None)
    assert (load("once").output_rows, load("twice").output_rows) == (2, 2)
    with pytest.raises(exceptions.Conflict) as conflict:
        load("once")
    proxy.misbehave("quotaExceeded")
    with pytest.raises(exceptions.Forbidden) as quota:
        load("refused")
    for how in (LOST_BEFORE, LOST_AFTER):
        proxy.misbehave(how)
        with pytest.raises(requests.exceptions.ConnectionError):
            load(how.replace(" ", "-"))
    proxy.misbehave(RUNNING)
    running = load("runs")
    proxy.misbehave("failed invalid")
    failed = load("fails")

    assert [error.value.errors[0]["reason"] for error in (conflict, quota)] == [
        *("duplicate", "quotaExceeded")
    ]
    assert running.state == "RUNNING"
    assert running.result().output_rows == 2
    assert failed.error_result["reason"] == "invalid"
    assert client.get_job("once", location=made.location).state == "DONE"
    assert set(proxy.jobs) == {"once", "twice", "lost-after", "runs", "fails"}
    # And without the proxy: the emulator takes the id again.
    assert len(rows_of(client, name)) == 2 * 4


def test_a_table_is_made_with_week_nines_columns_a_day_to_a_partition(
    client: Any, name: TableName
) -> None:
    made = table.ready(client, name, wanted())
    again = table.ready(client, name, wanted())

    there = client.get_table(str(name))
    assert made == again
    assert made.is_partitioned
    assert [(field.name, field.field_type, field.mode) for field in there.schema] == [
        ("prediction_id", "STRING", "NULLABLE"),
        ("label", "STRING", "NULLABLE"),
        ("confidence", "FLOAT", "NULLABLE"),
        ("model_name", "STRING", "NULLABLE"),
        ("processing_time_ms", "INTEGER", "NULLABLE"),
        ("image_size_bytes", "INTEGER", "NULLABLE"),
        ("bucket", "STRING", "NULLABLE"),
        ("object_name", "STRING", "NULLABLE"),
        ("processed_at", "TIMESTAMP", "NULLABLE"),
    ]
    assert (there.time_partitioning.type_, there.time_partitioning.field) == (
        *("DAY", "processed_at"),
    )


def test_columns_are_added_when_told_and_a_table_that_lacks_some_is_refused(
    client: Any, name: TableName
) -> None:
    with pytest.raises(InvalidOptionError, match="nowhere does not exist"):
        table.ready(client, TableName(name.project, "nowhere", "t"), wanted())
    old = [google.SchemaField(one, "STRING") for one in ("prediction_id", "label", "own")]
    client.create_table(google.Table(str(name), schema=old))

    with pytest.raises(InvalidOptionError, match=r"lacks the columns confidence FLOAT, .*`bq_add"):
        table.ready(client, name, wanted())
    with pytest.raises(InvalidOptionError, match="`bq_add_columns` nope: the job has no such"):
        table.ready(client, name, wanted(added=("nope",)))
    assert len(client.get_table(str(name)).schema) == 3
    made = table.ready(client, name, wanted(added=("error_message",)))

    assert not made.is_partitioned
    assert [field.name for field in client.get_table(str(name)).schema] == [
        *("prediction_id", "label", "own", *image_stream.PREDICTION.names[2:], "error_message")
    ]


@pytest.mark.parametrize("how", [pytest.param(LOAD, marks=pytest.mark.slow), STORAGE])
def test_a_replayed_batch_is_in_the_table_once(
    how: str, stream: Stream, client: Any, name: TableName, streams: BigQueryStreamsProxy
) -> None:
    write = stream.start(how)
    write(0, "a", "b", "c")
    write(1, "d")

    # Killed before Spark's commit: another process has the same batch again, in another order.
    again = stream.start(how)
    again(1, "d")
    again(2)
    again(3, "e", "f")

    rows = rows_of(client, name)
    assert [row["prediction_id"] for row in rows] == ["a", "b", "c", "d", "e", "f"]
    assert rows[0] == {
        "prediction_id": "a",
        "label": "cat",
        "confidence": 0.5,
        "model_name": "m",
        "processing_time_ms": 3,
        "image_size_bytes": 100,
        "bucket": None,
        "object_name": None,
        "processed_at": NOON,
    }
    # What was on its way is gone.
    left = [file.name for file in (stream.checkpoint / "_bigquery").rglob("*") if file.is_file()]
    assert [file for file in left if "stream-" not in file] == []


@pytest.mark.parametrize(("before", "after"), [(LOAD, STORAGE), (STORAGE, LOAD)])
def test_a_batch_that_is_in_the_table_is_not_brought_in_the_other_way(
    before: str,
    after: str,
    stream: Stream,
    client: Any,
    name: TableName,
    streams: BigQueryStreamsProxy,
) -> None:
    stream.start(before)(0, "a", "b")

    again = stream.start(after)
    again(0, "a", "b")
    again(1, "c")
    stream.start(before)(1, "c")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b", "c"]


def test_a_stream_that_was_noted_and_not_committed_is_what_a_load_job_would_be(
    stream: Stream,
    client: Any,
    name: TableName,
    streams: BigQueryStreamsProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(WriteStreams, "commit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.start(STORAGE)(0, "a")
    assert rows_of(client, name) == []

    stream.start(LOAD)(0, "a")
    stream.start(STORAGE)(0, "a")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a"]


def test_a_table_that_has_other_columns_meanwhile_takes_the_batch_after_the_next_start(
    proxy: BigQueryProxy, stream: Stream, client: Any, name: TableName
) -> None:
    table.ready(client, name, wanted(added=("image_id",)))
    write = stream.start()
    write(0, "a")
    client.delete_table(str(name))

    with pytest.raises(StreamError, match=r"was deleted while the stream ran; the next start"):
        write(1, "b")
    table.ready(client, name, wanted())
    # The emulator passes over a field that its table does not have; the service refuses all rows.
    proxy.misbehave("failed invalid")
    with pytest.raises(StreamError, match=r"has got other columns .*\(image_id\).* next start"):
        write(2, "c")
    again = stream.start()
    again(1, "b")
    again(2, "c")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["b", "c"]


def test_two_drivers_that_send_one_batch_bring_it_once_for_the_second_id_is_refused(
    proxy: BigQueryProxy,
    stream: Stream,
    client: Any,
    name: TableName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream.start()(0, "a", "b")
    second = stream.start()
    look = client.get_job
    looks: list[str] = []

    def too_early(job_id: str, **how: Any) -> Any:
        """The second driver looks before the first one has sent its job."""
        looks.append(job_id)
        if len(looks) == 1:
            raise exceptions.NotFound("no such job")
        return look(job_id, **how)

    monkeypatch.setattr(client, "get_job", too_early)

    second(0, "a", "b")

    assert proxy.refused == 1
    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b"]


@pytest.mark.parametrize(
    "how",
    [LOST_BEFORE, LOST_AFTER, RUNNING, "backendError", "rateLimitExceeded", "failed quotaExceeded"],
)
def test_a_job_that_is_lost_or_refused_for_a_while_brings_its_rows_once(
    how: str, proxy: BigQueryProxy, stream: Stream, client: Any, name: TableName
) -> None:
    write = stream.start()
    proxy.misbehave(how, 2)

    write(0, "a", "b")
    stream.start()(0, "a", "b")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b"]


def test_a_quota_that_does_not_come_back_ends_the_stream_and_the_next_start_goes_on(
    proxy: BigQueryProxy, stream: Stream, client: Any, name: TableName
) -> None:
    write = stream.start(patience=Patience(0.05, 0.1, 0.4))
    proxy.misbehave("quotaExceeded", 1000)

    with pytest.raises(StreamError, match=r"did not take batch 0 .*sends it again"):
        write(0, "a")
    proxy.misbehave("", 0)
    stream.start()(0, "a")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a"]


@pytest.mark.parametrize(
    "method", ["CreateWriteStream", "AppendRows", "FinalizeWriteStream", "BatchCommitWriteStreams"]
)
def test_an_answer_of_the_write_api_that_is_lost_brings_the_rows_once(
    method: str, streams: BigQueryStreamsProxy, stream: Stream, client: Any, name: TableName
) -> None:
    write = stream.start(STORAGE)
    streams.lose(method, 2)

    write(0, "a", "b")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b"]
    assert streams.calls[method] == 3


def test_rows_that_the_table_refuses_are_left_out_and_named(
    client: Any, name: TableName, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    # The emulator knows no longest length of a text; tests/unit/test_bigquery.py has that.
    fields = [google.SchemaField("prediction_id", "STRING", "REQUIRED")]
    fields += [
        google.SchemaField(field.name, cols.of_type(field).type)
        for field in list(image_stream.PREDICTION)[1:]
    ]
    client.create_table(google.Table(str(name), schema=fields))

    with caplog.at_level(logging.INFO, "pyspark_vision"):
        stream.start()(0, "a", None, "b", None)

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b"]
    assert "2 rows refused (prediction_id is null and REQUIRED" in caplog.text


def test_rows_go_by_the_folder_that_is_given(
    stream: Stream, client: Any, name: TableName, tmp_path: Path
) -> None:
    write = stream.start(staging=str(tmp_path / "staging"))

    write(0, "a", "b")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b"]
    [folder] = (tmp_path / "staging").iterdir()
    assert list(folder.iterdir()) == []  # its name is the checkpoint's id


@pytest.mark.skipif(pyspark.__version__ < "4.2", reason="the connector of gs:// is for Spark 4.2")
def test_from_a_bucket_bigquery_reads_the_files_itself_and_they_are_removed_then(
    stream: Stream,
    client: Any,
    name: TableName,
    bigquery: BigQuery,
    proxy: BigQueryProxy,
    gcs: Gcs,
    gcs_bucket: Any,
) -> None:
    staged = []
    to_the_emulator = bring_from(gcs.client(), bigquery.buckets)

    def bring(uri: str) -> None:
        staged.append(uri)
        to_the_emulator(uri)

    proxy.bring = bring
    proxy.misbehave(LOST_AFTER)
    write = stream.start(staging=f"gs://{gcs_bucket.name}/on its way/")

    write(0, "a", "b", "c")
    stream.start(staging=f"gs://{gcs_bucket.name}/on its way/")(0, "a", "b", "c")

    assert [row["prediction_id"] for row in rows_of(client, name)] == ["a", "b", "c"]
    assert staged
    assert all(uri.startswith(f"gs://{gcs_bucket.name}/on its way/") for uri in staged)
    left = [blob.name for blob in gcs_bucket.list_blobs() if not blob.name.endswith("/")]
    assert left == []


def image_message(image_id: str, content: bytes) -> tuple[bytes, bytes]:
    """(key, value) as week 9's simulator sends them."""
    message = {"image_id": image_id, "image_data": base64.b64encode(content).decode()}
    return image_id.encode(), json.dumps(message).encode()


def test_stream_classify_writes_each_image_once_and_keeps_what_the_table_refuses(
    spark: SparkSession,
    kafka: Kafka,
    topic: str,
    producer: Producer,
    proxy: BigQueryProxy,
    client: Any,
    name: TableName,
    tmp_path: Path,
    capsys: Any,
) -> None:
    fields = [
        google.SchemaField(
            field.name,
            cols.of_type(field).type,
            "REQUIRED" if field.name == "label" else "NULLABLE",
        )
        for field in image_stream.PREDICTION
    ]
    client.create_table(google.Table(str(name), schema=fields))
    good = scene_jpeg(3)
    jobs.produce(
        producer, topic, image_message("1", good), image_message("2", good), (b"bad", b"{")
    )

    words = {**guides.paths(tmp_path), "127.0.0.1:9092": kafka.bootstrap_servers}
    [command] = guides.block("bigquery.md", "scripts/submit", words).commands
    command = command.replace("ml_streaming", name.dataset)
    command += f" --kafka-topic {topic} --dead-letters {tmp_path}/letters"

    assert guides.run(command) == 0
    # A driver that dies after its sinks and before Spark's commit leaves exactly this.
    for commit in ("0", ".0.crc"):
        (tmp_path / "build" / "bq_checkpoint" / "commits" / commit).unlink()
    assert guides.run(command) == 0

    rows = rows_of(client, name)
    letters = pq.read_table(tmp_path / "letters").to_pylist()
    assert len(rows) == len({row["prediction_id"] for row in rows}) == 2
    assert {row["image_size_bytes"] for row in rows} == {len(good)}
    assert all(row["label"] and row["processed_at"] for row in rows)
    assert [(letter["key"], letter["error_code"]) for letter in letters] == [
        (b"bad", "bad_message")
    ]
    assert "images in 3, classified 2, failed 1 (bad_message 1)" in capsys.readouterr().out


def test_doctor_says_of_dataset_table_and_rights_in_a_line_each(
    client: Any, name: TableName
) -> None:
    nowhere = TableName(name.project, "nowhere", "t")
    with pytest.raises(InvalidOptionError, match=r"the dataset .*nowhere does not exist"):
        doctor.dataset(nowhere, name.project)

    assert doctor.dataset(name, name.project) == f"{name.project}.{name.dataset}, in US"
    assert doctor.table(name, name.project) == f"{name} is not there yet: the job makes it"
    table.ready(client, name, wanted())
    assert doctor.table(name, name.project) == (
        f"{name}, 9 columns, a partition by day of processed_at"
    )
    assert doctor.rights(name, name.project).startswith(f"jobs may run in {name.project}")
