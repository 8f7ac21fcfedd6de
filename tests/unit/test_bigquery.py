"""The BigQuery sink without BigQuery: names, ids, what a table takes, and the states of jobs."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.cloud.bigquery_storage_v1 import types
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    DoubleType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.messages import image_stream
from pyspark_vision.sinks.bigquery import columns as cols
from pyspark_vision.sinks.bigquery.columns import TableColumn
from pyspark_vision.sinks.bigquery.load_jobs import (
    BatchJob,
    Loaded,
    Patience,
    already_in,
    bring_in,
)
from pyspark_vision.sinks.bigquery.proto_rows import RowFormat
from pyspark_vision.sinks.bigquery.service import (
    first_line,
    is_passing,
    refused,
    write_client,
)
from pyspark_vision.sinks.bigquery.table_name import TableName, parse
from pyspark_vision.sinks.bigquery.write_stream import Appended, WriteStreams

TABLE = TableName("a-project", "ml_streaming", "image_predictions")
# One microsecond after noon of the 28th of November 2026, UTC.
MICROS_OF_NOON = 1_795_867_200_000_001


@pytest.mark.parametrize(
    ("text", "project", "expected"),
    [
        ("a-project.d.t", None, "a-project.d.t"),
        ("a-project:d.t", None, "a-project.d.t"),
        ("example.com:a-project.d.t", None, "example.com:a-project.d.t"),
        ("d.t", "a-project", "a-project.d.t"),
        ("b-project.d.t", "a-project", "b-project.d.t"),
        ("a-project.d.table of-2026 é", None, "a-project.d.table of-2026 é"),
    ],
)
def test_a_table_is_named_as_people_name_it(text: str, project: str | None, expected: str) -> None:
    assert str(parse(text, project)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t", "'t' is no table: give PROJECT.DATASET.TABLE"),
        ("", "'' is no table"),
        ("a.b.c.d", "'a.b.c.d' is no table"),
        ("d.t", "the project is missing; give PROJECT.d.t, or `project_id`"),
        ("A_project.d.t", "'A_project' is no project's id"),
        ("a-project.my-set.t", "'my-set' is no dataset's name"),
        ("a-project.d.t$20261128", "give the table without `$`"),
        ("`a-project.d.t`", "without backticks"),
        ("`a-project`.d.t", "without backticks"),
        (".d.t", "no project in front of the first dot (a variable that is not set?)"),
        ("a-project.d.t*", "'t*' is no table's name"),
        ("a-project.d.", "'' is no table's name"),
        ("a-project.d." + "t" * 1025, "at most 1024 bytes"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match="`output_bq_table`") as error:
        parse(text, None)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_id_is_of_one_batch_of_one_checkpoint_and_one_table() -> None:
    batch = BatchJob("c1", TABLE, 7, False)
    others = [
        BatchJob("c2", TABLE, 7, False),
        BatchJob("c1", TableName("a-project", "ml_streaming", "other"), 7, False),
        BatchJob("c1", TABLE, 8, False),
    ]

    ids = [batch.id(0), batch.id(1), *(other.id(0) for other in others)]

    assert batch.id(0) == BatchJob("c1", TABLE, 7, True).id(0)
    assert len(set(ids)) == 5
    # Letters, digits, dashes and underscores are what the service takes.
    assert all(job_id.replace("-", "").replace("_", "").isalnum() for job_id in ids)


class FakeJob:
    """A load job: how often it is still running when it is looked at, and how it ends."""

    def __init__(self, failure: str = "", polls: int = 0) -> None:
        self._polls = polls
        self._failure = failure
        self.output_rows = None if failure else 3
        self.errors: list[dict[str, str]] = []

    @property
    def state(self) -> str:
        return "DONE" if self._polls <= 0 else "RUNNING"

    @property
    def error_result(self) -> dict[str, str] | None:
        return {"reason": self._failure, "message": "as told"} if self._failure else None

    def reload(self, retry: Any, timeout: float) -> None:
        self._polls -= 1


class FakeService:
    """Jobs by id, as the service keeps them, and what the next requests meet.

    ``sends`` are taken one by one: a failure's reason or an empty text, a job, or an exception,
    which comes before the job is taken; a tuple (job, exception): after it.
    """

    def __init__(self, *sends: Any) -> None:
        self.jobs: dict[str, Any] = {}
        self.sends = list(sends)
        self.sent: list[tuple[str, bool]] = []
        self.unfound = 0

    def get_job(self, job_id: str, location: str, retry: Any, timeout: float) -> Any:
        if self.unfound and job_id in self.jobs:
            self.unfound -= 1
            raise exceptions.NotFound("not yet")
        if job_id not in self.jobs:
            raise exceptions.NotFound("no such job")
        return self.jobs[job_id]

    def send(self, job_id: str, leaves_out: bool) -> Any:
        if job_id in self.jobs:
            raise exceptions.Conflict("Already Exists")
        self.sent.append((job_id, leaves_out))
        what = self.sends.pop(0) if self.sends else ""
        if isinstance(what, tuple):
            self.jobs[job_id] = what[0]
            raise what[1]
        if isinstance(what, Exception):
            raise what
        self.jobs[job_id] = FakeJob(what) if isinstance(what, str) else what
        return self.jobs[job_id]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyspark_vision.sinks.bigquery.load_jobs._POLL_S", (0.0, 0.0))


QUICK = Patience(0.001, 0.002, 0.2)


def bring(
    service: FakeService,
    *,
    may_be_there: bool = True,
    check_table: Callable[[], object] = lambda: None,
) -> Loaded:
    batch = BatchJob("c1", TABLE, 7, may_be_there)
    return bring_in(service, "EU", batch, service.send, check_table, QUICK)


def ids(*attempts: int) -> list[str]:
    return [BatchJob("c1", TABLE, 7, True).id(attempt) for attempt in attempts]


def test_a_driver_killed_before_the_job_was_sent_sends_it() -> None:
    service = FakeService("")

    loaded = bring(service)

    assert (loaded.rows, loaded.was_there) == (3, False)
    assert service.sent == [(ids(0)[0], False)]


def test_a_driver_killed_after_the_job_does_not_send_it_again() -> None:
    service = FakeService()
    service.jobs[ids(0)[0]] = FakeJob()

    loaded = bring(service)

    assert loaded.was_there
    assert service.sent == []


def test_a_driver_killed_while_the_job_runs_waits_for_it() -> None:
    service = FakeService()
    service.jobs[ids(0)[0]] = job = FakeJob(polls=3)

    loaded = bring(service)

    assert loaded.was_there
    assert job.state == "DONE"
    assert service.sent == []


@pytest.mark.parametrize("failure", ["quotaExceeded", "invalid", "stopped", "accessDenied"])
def test_a_job_that_had_failed_has_left_nothing_and_the_next_attempt_is_sent(failure: str) -> None:
    service = FakeService("")
    service.jobs[ids(0)[0]] = FakeJob(failure)

    loaded = bring(service)

    assert loaded.job_id == ids(1)[0]
    assert service.sent == [(ids(1)[0], failure == "invalid")]


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("reset"),
        exceptions.ServiceUnavailable("503"),
        exceptions.Forbidden("slow", errors=[{"reason": "rateLimitExceeded"}]),
    ],
)
def test_a_connection_lost_after_the_job_was_taken_sends_nothing_twice(error: Exception) -> None:
    service = FakeService((FakeJob(), error))

    loaded = bring(service, may_be_there=False)

    assert loaded.job_id == ids(0)[0]
    assert service.sent == [(ids(0)[0], False)]


def test_a_connection_lost_before_the_job_was_taken_sends_it_again_under_the_same_id() -> None:
    service = FakeService(requests.exceptions.ConnectionError("reset"), "")

    assert bring(service).job_id == ids(0)[0]
    assert service.sent == [(ids(0)[0], False)] * 2


def test_an_id_that_another_driver_took_in_between_is_the_batch() -> None:
    service = FakeService()

    def send(job_id: str, leaves_out: bool) -> Any:
        service.jobs[job_id] = FakeJob()  # by another driver
        service.unfound = 2  # and not found at once: googleapis/python-bigquery#2134
        raise exceptions.Conflict("Already Exists", errors=[{"reason": "duplicate"}])

    batch = BatchJob("c1", TABLE, 7, may_be_there=True)
    loaded = bring_in(service, "EU", batch, send, lambda: None, QUICK)

    assert loaded.job_id == ids(0)[0]


def test_a_quota_is_waited_for_in_requests_and_in_jobs(caplog: pytest.LogCaptureFixture) -> None:
    denied = exceptions.Forbidden("Quota exceeded", errors=[{"reason": "quotaExceeded"}])
    service = FakeService(denied, denied, "rateLimitExceeded", "")

    with caplog.at_level(logging.WARNING):
        loaded = bring(service)

    assert loaded.job_id == ids(1)[0]
    assert [job_id for job_id, _ in service.sent] == [*ids(0, 0, 0), *ids(1)]
    assert "Quota exceeded; asking again" in caplog.text


def test_patience_ends_in_one_line_that_says_how_it_goes_on() -> None:
    denied = exceptions.Forbidden("Quota exceeded", errors=[{"reason": "quotaExceeded"}])
    service = FakeService(*[denied] * 1000)

    with pytest.raises(StreamError, match=r"within 0\.2 s \(Quota exceeded\).* sends it again"):
        bring(service)


def test_rows_that_cannot_be_read_are_left_out_of_the_next_attempt() -> None:
    service = FakeService("invalid", "")
    checked = []

    bring(service, check_table=lambda: checked.append(1))

    assert service.sent == [(ids(0)[0], False), (ids(1)[0], True)]
    assert checked == [1]


def test_a_table_that_has_changed_leaves_no_row_out() -> None:
    service = FakeService("invalid")

    def check_table() -> None:
        raise InvalidOptionError("the table lacks the columns label STRING")

    with pytest.raises(InvalidOptionError, match="lacks the columns"):
        bring(service, check_table=check_table)
    assert len(service.sent) == 1


@pytest.mark.parametrize("failure", ["accessDenied", "notFound", "stopped"])
def test_a_failure_that_does_not_pass_ends_the_stream_with_its_reason(failure: str) -> None:
    with pytest.raises(StreamError, match=rf"batch 7 .*{failure}: as told.* sends it again"):
        bring(FakeService(failure))


def test_a_refused_request_ends_the_stream_with_its_reason() -> None:
    denied = exceptions.Forbidden("Access Denied", errors=[{"reason": "accessDenied"}])

    with pytest.raises(StreamError, match=r"\(accessDenied: .*Access Denied\)"):
        bring(FakeService(denied))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RefreshError("invalid_grant: expired", {"error": "x"}), r"RefreshError: invalid_grant: "),
        (requests.exceptions.SSLError("bad certificate"), "SSLError: bad certificate"),
    ],
)
def test_credentials_that_are_gone_and_a_bad_certificate_are_one_line(
    error: Exception, said: str
) -> None:
    with pytest.raises(StreamError, match=rf"batch 7 .*\({said}.*\); the next start") as line:
        bring(FakeService(error))

    assert "{" not in str(line.value)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], None),
        ([FakeJob()], 0),
        ([FakeJob("invalid"), FakeJob(polls=2)], 1),
        ([FakeJob("invalid"), FakeJob("quotaExceeded")], None),
    ],
)
def test_a_batch_that_a_load_job_has_brought_in_is_known(
    jobs: list[FakeJob], expected: int | None
) -> None:
    service = FakeService()
    service.jobs = dict(zip(ids(*range(len(jobs))), jobs, strict=True))

    loaded = already_in(service, "EU", BatchJob("c1", TABLE, 7, True), QUICK)

    assert (loaded and loaded.job_id) == (None if expected is None else ids(expected)[0])
    assert service.sent == []


class FakeStreams:
    """One stream of the Storage Write API; ``answers`` to appended rows are taken one by one."""

    def __init__(self, table: str, *answers: list[types.AppendRowsResponse]) -> None:
        self.name = f"projects/a-project/datasets/d/tables/{table}/streams/s"
        self.answers = list(answers)
        self.metadata: list[Any] = []

    def create_write_stream(self, **_: Any) -> types.WriteStream:
        return types.WriteStream(name=self.name)

    def append_rows(self, requests: Any, *, metadata: Any, **_: Any) -> Any:
        self.metadata += metadata
        return iter(self.answers.pop(0) if self.answers else [types.AppendRowsResponse()])

    def finalize_write_stream(self, **_: Any) -> None:
        pass


def filled(streams: FakeStreams, table: str) -> Appended:
    columns = [TableColumn("prediction_id", "STRING")]
    writer = WriteStreams(streams, TableName("a-project", "d", table), columns, QUICK)
    return writer.filled([b'{"prediction_id": "a"}'], 7)[1]


def test_a_stream_of_a_table_with_any_name_is_found_by_letters_that_a_header_may_have() -> None:
    streams = FakeStreams("vorher gesagt ä")

    assert filled(streams, "vorher gesagt ä").rows == 1
    [(key, value)] = streams.metadata
    assert key == "x-goog-request-params"
    assert value.isascii()
    assert parse_qs(value) == {"write_stream": [streams.name]}


def test_a_connection_that_ends_without_an_answer_is_asked_again() -> None:
    streams = FakeStreams("t", [], [])

    assert filled(streams, "t").rows == 1
    assert len(streams.metadata) == 3


def test_a_new_batch_that_is_there_already_is_of_a_copy_of_the_checkpoint() -> None:
    service = FakeService()
    service.jobs[ids(0)[0]] = FakeJob()

    with pytest.raises(StreamError, match="from a copy"):
        bring(service, may_be_there=False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.Forbidden("x", errors=[{"reason": "quotaExceeded"}]), True),
        (exceptions.Forbidden("x", errors=[{"reason": "accessDenied"}]), False),
        (exceptions.Forbidden("x"), False),
        (exceptions.BadGateway("x"), True),
        (exceptions.BadRequest("x"), False),
        (requests.exceptions.Timeout("x"), True),
        (requests.exceptions.SSLError("x"), False),
        (ConnectionResetError(), True),
        (ValueError("x"), False),
    ],
)
def test_what_passes_is_told_from_what_does_not(error: Exception, expected: bool) -> None:
    assert is_passing(error) is expected


def test_an_errors_line_has_no_address() -> None:
    error = exceptions.Forbidden("GET http://h/jobs?prettyPrint=false: Access Denied: x\nmore")

    assert first_line(error) == "Access Denied: x"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (exceptions.NotFound("x"), InvalidOptionError, "the table p.d.t does not exist"),
        (
            exceptions.Forbidden("Access Denied"),
            InvalidOptionError,
            r"no right to .*roles/bigquery",
        ),
        (exceptions.BadRequest("odd"), InvalidOptionError, "p.d.t is refused .*odd"),
        (exceptions.ServiceUnavailable("away"), StreamError, "does not answer .*away"),
        (requests.exceptions.ConnectionError("refused"), StreamError, "does not answer .*refused"),
        (
            exceptions.RetryError("Timeout of 60.0s exceeded", exceptions.BadGateway("away")),
            StreamError,
            r"does not answer .*\(away\)",
        ),
    ],
)
def test_what_the_service_says_at_the_start_is_one_line(
    error: Exception, kind: type[Exception], said: str
) -> None:
    with (
        pytest.raises(kind, match=f"--output-bq-table: .*{said}") as line,
        refused("the table p.d.t", "--output-bq-table"),
    ):
        raise error

    assert "\n" not in str(line.value)


def test_a_job_on_an_emulator_says_which_address_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.delenv("BIGQUERY_STORAGE_GRPC_ENDPOINT", raising=False)

    with pytest.raises(InvalidOptionError, match="set BIGQUERY_STORAGE_GRPC_ENDPOINT, too"):
        write_client()


NAMES = StructType(
    [
        StructField("prediction_id", StringType()),
        StructField("confidence", DoubleType()),
        StructField("size", LongType()),
        StructField("processed_at", TimestampType()),
        StructField("raw", BinaryType()),
        StructField("metadata", MapType(StringType(), StringType())),
    ]
)


def test_a_new_tables_columns_are_those_of_week_nine() -> None:
    made = [str(cols.of_type(field)) for field in image_stream.PREDICTION]

    assert made == [
        "prediction_id STRING",
        "label STRING",
        "confidence FLOAT",
        "model_name STRING",
        "processing_time_ms INTEGER",
        "image_size_bytes INTEGER",
        "bucket STRING",
        "object_name STRING",
        "processed_at TIMESTAMP",
    ]


def test_columns_are_found_by_name_whatever_their_capitals_and_order() -> None:
    table = [TableColumn("Size", "INTEGER"), TableColumn("PREDICTION_ID", "STRING")]

    assert [field.name for field in cols.missing(NAMES, table)] == [
        *("confidence", "processed_at", "raw", "metadata")
    ]
    assert [field.name for field, _ in cols.written(NAMES, table, TABLE)] == [
        *("size", "prediction_id")
    ]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (TableColumn("processed_at", "DATE"), "processed_at is DATE and must be TIMESTAMP"),
        (TableColumn("confidence", "NUMERIC"), "confidence is NUMERIC and must be FLOAT"),
        (TableColumn("size", "INTEGER", "REPEATED"), r"size is INTEGER \(REPEATED\)"),
        (TableColumn("owner", "STRING", "REQUIRED"), "REQUIRED column owner, which the job has no"),
    ],
)
def test_a_table_that_cannot_take_a_value_is_refused_in_one_line(
    column: TableColumn, said: str
) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        cols.written(NAMES, [column], TABLE)


@pytest.mark.parametrize(
    "column",
    [
        TableColumn("size", "FLOAT"),
        TableColumn("size", "NUMERIC"),
        TableColumn("metadata", "JSON"),
        TableColumn("metadata", "STRING"),
        TableColumn("owner", "STRING", "REQUIRED", has_default=True),
        TableColumn("owner", "DATE"),
    ],
)
def test_a_table_may_be_wider_or_have_columns_of_its_own(column: TableColumn) -> None:
    cols.written(NAMES, [column], TABLE)


def test_each_row_that_a_table_refuses_has_its_reason(spark: SparkSession) -> None:
    table = [
        TableColumn("prediction_id", "STRING", "REQUIRED", max_length=3),
        TableColumn("size", "NUMERIC", precision=3, scale=1),
        TableColumn("processed_at", "TIMESTAMP"),
        TableColumn("raw", "BYTES", max_length=2),
        TableColumn("metadata", "STRING", max_length=40),
    ]
    noon = dt.datetime(2026, 11, 28, 12)
    rows = [
        ("abc", 0.5, 99, noon, b"xy", {"k": "v"}),
        ("äöü", None, None, None, None, None),
        (None, 0.5, 1, noon, b"x", None),
        ("abcd", 0.5, 1, noon, b"x", None),
        ("a", 0.5, -100, noon, b"x", None),
        ("a", 0.5, 1, noon, b"xyz", None),
        ("a", 0.5, 1, noon, b"x", {"k": "v" * 40}),
        ("a", 0.5, 1, noon, b"x", {"k": '"' * 25}),
    ]
    pairs = cols.written(NAMES, table, TABLE)
    reason = cols.refusal(pairs, TABLE, 120)

    found = spark.createDataFrame(rows, NAMES).coalesce(1).select(reason).collect()

    assert [row[0] and row[0].removesuffix(f" ({TABLE})") for row in found] == [
        None,
        None,
        "prediction_id is null and REQUIRED",
        "prediction_id has more than 3 letters",
        "size has more than 2 digits",
        "raw has more than 2 bytes",
        "metadata has more than 40 letters",
        "metadata has more than 40 letters",
    ]


def test_a_row_that_is_too_long_and_a_time_out_of_range_are_refused(spark: SparkSession) -> None:
    pairs = cols.written(
        NAMES, [TableColumn("prediction_id", "STRING"), TableColumn("processed_at", "TIMESTAMP")], 1
    )
    rows = spark.range(1).select(
        F.lit("a" * 50).alias("prediction_id"),
        F.timestamp_micros(F.lit(253_402_300_800_000_000)).alias("processed_at"),
    )

    [too_late] = rows.select(cols.refusal(pairs, TABLE, 1000)).collect()
    in_time = rows.withColumn("processed_at", F.timestamp_micros(F.lit(253_402_300_799_999_999)))
    [too_long] = in_time.select(cols.refusal(pairs, TABLE, 60)).collect()
    [taken] = in_time.select(cols.refusal(pairs, TABLE, 1000)).collect()

    assert "is not within the years 1 to 9999" in too_late[0]
    assert "the row has more than 60 bytes" in too_long[0]
    assert taken[0] is None


def test_a_row_is_one_line_of_json_under_the_tables_names(spark: SparkSession) -> None:
    table = [
        TableColumn("PREDICTION_ID", "STRING"),
        TableColumn("confidence", "FLOAT"),
        TableColumn("processed_at", "TIMESTAMP"),
        TableColumn("raw", "BYTES"),
        TableColumn("metadata", "STRING"),
    ]
    at = dt.datetime(2026, 11, 28, 12, 0, 0, 1, tzinfo=dt.UTC)
    rows = [("a\nb", 0.1, 3, at, b"\x00\xff", {"k": "é"}), ("n", None, None, None, None, None)]
    line = cols.as_json(cols.written(NAMES, table, TABLE))

    lines = spark.createDataFrame(rows, NAMES).coalesce(1).select(line).collect()

    [whole, nulls] = [row[0] for row in lines]
    assert "\n" not in whole
    assert whole.startswith('{"PREDICTION_ID":"a\\nb","confidence":0.1,"processed_at":"')
    assert whole.endswith('","raw":"AP8=","metadata":"{\\"k\\":\\"é\\"}"}')
    assert nulls == '{"PREDICTION_ID":"n"}'
    rows_of_it = RowFormat([TableColumn("processed_at", "TIMESTAMP")])
    time = json.dumps({"processed_at": json.loads(whole)["processed_at"]}).encode()
    assert rows_of_it._message.FromString(rows_of_it.encoded(time)).processed_at == MICROS_OF_NOON


def test_a_row_of_the_write_api_has_the_same_values_and_no_nulls() -> None:
    table = [
        TableColumn("label", "STRING"),
        TableColumn("confidence", "FLOAT"),
        TableColumn("size", "INTEGER"),
        TableColumn("processed_at", "TIMESTAMP"),
        TableColumn("raw", "BYTES"),
        TableColumn("ok", "BOOLEAN"),
        TableColumn("cost", "NUMERIC"),
        TableColumn("metadata", "JSON"),
        TableColumn("day", "DATE"),
    ]
    rows = RowFormat(table)
    line = (
        b'{"label":"\\u00e9","confidence":"NaN","size":-3,'
        b'"processed_at":"2026-11-28T13:00:00.000001+01:00","raw":"AP8=","ok":false,"cost":7,'
        b'"metadata":{"k":"v"},"day":"1970-01-02"}'
    )

    row = rows._message.FromString(rows.encoded(line))
    empty = rows._message.FromString(rows.encoded(b"{}"))

    assert (row.label, row.size, row.raw, row.ok) == ("é", -3, b"\x00\xff", False)
    assert str(row.confidence) == "nan"
    at = dt.datetime(2026, 11, 28, 12, 0, 0, 1, tzinfo=dt.UTC)
    assert (
        dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=row.processed_at) == at
    )
    assert (row.cost, row.metadata, row.day) == ("7", '{"k": "v"}', 1)
    assert [field.name for field in rows.description.field if empty.HasField(field.name)] == []
