"""conf/queries: the same rows give the same answers in BigQuery and in DuckDB over Parquet."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import uuid
from pathlib import Path
from typing import Any

import duckdb
import guides
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery as google
from local_services.bigquery import BigQuery

from pyspark_vision.messages import image_stream
from pyspark_vision.sinks.bigquery import service, table
from pyspark_vision.sinks.bigquery.table_name import TableName

NOW = dt.datetime.now(dt.UTC).replace(microsecond=1)
DAY_1, DAY_2 = (dt.datetime(2026, 11, day, 23, 30, 0, 0, dt.UTC) for day in (1, 2))
# prediction_id, label, confidence, model_name, processing_time_ms, processed_at
ROWS = [
    ("a", "cat", 0.5, "m", 10, DAY_1),
    ("b", "dog", 1.0, "m", 20, DAY_1),
    ("c", None, None, "m", 30, DAY_1),
    ("d", "cat", 0.25, "n", 40, DAY_2),
    ("e", "cat", 0.12345, "n", 41, NOW),
]
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "recent_predictions": [("e", "cat", 0.123, "n", 41, NOW)],
    "per_model": [
        ("m", 3, 0.75, 20.0, DAY_1, DAY_1),
        ("n", 2, pytest.approx(0.186725), 40.5, DAY_2, NOW),
    ],
    "processing_times": [
        (DAY_1.replace(minute=0), "m", 3, 20, 30, 30),
        (DAY_2.replace(minute=0), "n", 1, 40, 40, 40),
        (NOW.replace(minute=0, second=0, microsecond=0), "n", 1, 41, 41, 41),
    ],
    "success_rates": [
        (DAY_1.date(), 3, 2, 0.6667),
        (DAY_2.date(), 1, 1, 1.0),
        (NOW.date(), 1, 1, 1.0),
    ],
}
NAMES = ["prediction_id", "label", "confidence", "model_name", "processing_time_ms", "processed_at"]


def as_dicts() -> list[dict[str, Any]]:
    return [dict(zip(NAMES, row, strict=True)) for row in ROWS]


@pytest.fixture
def in_bigquery(bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str]:
    """(client, a dataset whose table image_predictions has the rows)."""
    for variable, value in bigquery.environment().items():
        monkeypatch.setenv(variable, value)
    client = service.client(bigquery.project)
    name = TableName(bigquery.project, f"d{uuid.uuid4().hex}", "image_predictions")
    client.create_dataset(name.dataset)
    wanted = table.Wanted(
        image_stream.PREDICTION, image_stream.PREDICTION_OFFERED, "processed_at", 10**6
    )
    table.ready(client, name, wanted)
    lines = b"".join(json.dumps(row, default=str).encode() + b"\n" for row in as_dicts())
    config = google.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON")
    client.load_table_from_file(io.BytesIO(lines), str(name), job_config=config)
    return client, f"{name.project}.{name.dataset}"


@pytest.fixture
def in_duckdb(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """With a view image_predictions of Parquet files, as docs/bigquery.md makes it."""
    folder = tmp_path / "predictions" / "batch_id=0"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(as_dicts()), folder / "part-0.parquet")
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'Asia/Kolkata'")  # half an hour off, as a person's may be
    block = guides.block("bigquery.md", "import duckdb", {"predictions/*": f"{folder.parent}/*"})
    view = re.search(r'"(CREATE VIEW .*)"', block.text)
    assert view is not None
    connection.sql(view.group(1))
    return connection


@pytest.mark.parametrize("query", sorted(EXPECTED))
def test_a_monitoring_query_gives_the_same_answer_in_bigquery_and_duckdb(
    query: str,
    root: Path,
    in_bigquery: tuple[Any, str],
    in_duckdb: duckdb.DuckDBPyConnection,
) -> None:
    client, dataset = in_bigquery
    sql = {
        kind: (root / "conf" / "queries" / kind / f"{query}.sql").read_text(encoding="utf-8")
        for kind in ("bigquery", "duckdb")
    }

    config = google.QueryJobConfig(default_dataset=dataset)
    of_bigquery = [tuple(row.values()) for row in client.query(sql["bigquery"], config).result()]
    of_duckdb = in_duckdb.sql(sql["duckdb"]).fetchall()

    assert of_bigquery == EXPECTED[query]
    assert [tuple(_in_utc(value) for value in row) for row in of_duckdb] == EXPECTED[query]


def _in_utc(value: Any) -> Any:
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value


def test_each_query_is_there_for_both(root: Path) -> None:
    for kind in ("bigquery", "duckdb"):
        files = (root / "conf" / "queries" / kind).glob("*.sql")
        assert {file.stem for file in files} == set(EXPECTED)
