"""How often the model runs: every line of the tables of docs/sql.md, counted in the workers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.columns import udf
from pyspark_vision.functions import classify_image, register
from pyspark_vision.transformations import split_failed

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
SQL_LINES = re.findall(r"^\| `((?:SELECT|WITH) [^`]*)` \| (\w+) \| (\w+) \|$", GUIDE, re.M)
COLUMN_LINES = re.findall(r"^\| `([^`]*)` \| (\d+) \|$", GUIDE, re.M)

Runs = Callable[[], int]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """How many rows models were given since the last call, over all workers."""
    noted = str(tmp_path_factory.mktemp("runs") / "rows")
    typed: Any = udf._typed

    def counting(
        function: Any, column_type: Any, make_udf: Any, return_type: Any, name: str
    ) -> Any:
        def counted(batches: Any) -> Any:
            def noting() -> Any:
                import os

                for batch in batches:
                    with open(noted, "a") as file:  # one short write: whole, beside other workers'
                        os.write(file.fileno(), f"{len(batch)}\n".encode())
                    yield batch

            return function(noting())

        return typed(counted, column_type, make_udf, return_type, name)

    def since_then() -> int:
        rows = Path(noted).read_text().split() if Path(noted).exists() else []
        Path(noted).unlink(missing_ok=True)
        return sum(map(int, rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(udf, "_typed", counting)
        yield since_then


@pytest.fixture(scope="module")
def images(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """20 pictures, 16 of which can be read, in two folders ``p=0`` and ``p=1``."""
    folder = str(tmp_path_factory.mktemp("table") / "images")
    rows = []
    for number in range(20):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (number * 10, 0, 0)).save(buffer, "PNG")
        content = buffer.getvalue() if number % 5 else b"no image"
        rows.append((number, number % 2, content))
    made = spark.createDataFrame(rows, "id INT, p INT, content BINARY").coalesce(1)
    made.write.partitionBy("p").parquet(folder)
    return spark.read.parquet(folder)


@pytest.fixture(scope="module")
def in_sql(spark: SparkSession, images: DataFrame, runs: Runs) -> SparkSession:
    """A session of its own for the names: others' views and functions stay as they are."""
    session = spark.newSession()
    for name, value in {"spark.sql.shuffle.partitions": "2"}.items():
        session.conf.set(name, value)
    session.read.parquet(images.inputFiles()[0].rsplit("/p=", 1)[0]).createTempView("images")
    return session


def test_the_guide_has_its_tables() -> None:
    assert (len(SQL_LINES), len(COLUMN_LINES)) == (13, 12)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("line", SQL_LINES, ids=lambda line: str(line[0])[:60])
def test_a_query_in_sql_runs_the_model_as_often_as_the_guide_says(
    line: tuple[str, str, str],
    deterministic: bool,
    in_sql: SparkSession,
    classifier: ModelSpec,
    runs: Runs,
) -> None:
    query, as_it_is, otherwise = line
    said = as_it_is if deterministic else otherwise
    register(in_sql, "classify", classify_image, classifier, top_k=1, deterministic=deterministic)
    runs()

    if said == "refused":
        with pytest.raises(AnalysisException, match="(?i)non_?-?deterministic"):
            in_sql.sql(query).collect()
    else:
        in_sql.sql(query).collect()
        assert runs() == int(said)


@pytest.mark.parametrize("line", COLUMN_LINES, ids=lambda line: str(line[0])[:60])
def test_columns_run_the_model_as_often_as_the_guide_says(
    line: tuple[str, str], images: DataFrame, classifier: ModelSpec, runs: Runs, spark: SparkSession
) -> None:
    query, said = line
    results = images.withColumn("r", classify_image("content", classifier))
    known = {
        "images": images,
        "names": spark.range(20).selectExpr("int(id) AS id", "concat('n', id) AS name"),
        "results": results,
        "model": classifier,
        "classify_image": classify_image,
        "split_failed": split_failed,
        "union_of": lambda one, other: one.union(other),
    }
    runs()
    try:
        eval(query, known)  # this repository's own guide
    finally:
        results.unpersist()

    assert runs() == int(said)


def test_fields_of_one_column_share_one_run(
    images: DataFrame, classifier: ModelSpec, runs: Runs
) -> None:
    r = classify_image("content", classifier)
    runs()

    rows = images.select(r["width"], r["height"], r["error"]).collect()

    assert runs() == len(rows) == 20


def test_a_result_kept_by_cache_table_is_run_once_whatever_follows(
    in_sql: SparkSession, classifier: ModelSpec, runs: Runs
) -> None:
    register(in_sql, "classify", classify_image, classifier)
    runs()

    in_sql.sql("CACHE TABLE results AS SELECT id, classify(content) AS r FROM images")
    for query in (
        "SELECT r.width FROM results WHERE r.error IS NULL ORDER BY id",
        "SELECT a.id FROM results AS a JOIN results AS b ON a.id = b.id",
        "SELECT o.label FROM results LATERAL VIEW explode(r.predictions) AS o",
    ):
        assert in_sql.sql(query).collect()
    in_sql.sql("UNCACHE TABLE results")

    assert runs() == 20
