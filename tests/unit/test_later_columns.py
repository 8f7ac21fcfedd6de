"""An output whose later batches have a column more: read as docs/streams.md says, and not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pyspark_vision.sinks.parquet import parquet_sink

MARK = "<!-- tests/unit/test_later_columns.py runs this text -->\n```python\n"
EXPECTED = {"a.jpg": None, "b.jpg": b"jpeg"}


@pytest.fixture(scope="module")
def output(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batch 0 as without ``--annotate``, batch 1 as with it."""
    folder = tmp_path_factory.mktemp("later") / "out"
    sink = parquet_sink(spark, str(folder))
    sink(spark.createDataFrame([("a.jpg",)], "origin STRING").coalesce(1), 0)
    later = spark.createDataFrame([("b.jpg", b"jpeg")], "origin STRING, image BINARY")
    sink(later.coalesce(1), 1)
    return folder


@pytest.fixture(scope="module")
def read(spark: SparkSession, root: Path, output: Path) -> dict[str, Any]:
    """What the guide's own lines make of it."""
    guide = (root / "docs" / "streams.md").read_text(encoding="utf-8")
    found = re.search(re.escape(MARK) + r"(.*?)```", guide, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"spark": spark}
    exec(found.group(1).replace("OUTPUT", str(output)), names)
    return names


def images(rows: list[Any]) -> dict[str, bytes | None]:
    return {row["origin"]: row["image"] and bytes(row["image"]) for row in rows}


def test_without_being_told_a_reader_does_not_show_the_later_column(output: Path) -> None:
    assert "image" not in pq.read_table(output).column_names


def test_spark_shows_both_when_it_merges(read: dict[str, Any]) -> None:
    assert images(read["by_spark"].collect()) == EXPECTED
    assert {row["batch_id"] for row in read["by_spark"].collect()} == {0, 1}


def test_duckdb_shows_both_by_name(read: dict[str, Any]) -> None:
    assert images(read["by_duckdb"].to_arrow_table().to_pylist()) == EXPECTED


def test_pyarrow_and_pandas_show_both_with_all_schemas(read: dict[str, Any]) -> None:
    assert images(read["by_pyarrow"].to_pylist()) == EXPECTED
    assert images(read["by_pandas"].to_dict("records")) == EXPECTED
