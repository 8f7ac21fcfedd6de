"""A table is replaced whole: by the next run, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from dying import Dying
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks.table import BATCH_FOLDERS, TABLE_FILES, refuse_other_files, table_sink
from pyspark_vision.spark import hadoop


def write(spark: SparkSession, folder: Path, rows: DataFrame) -> None:
    table_sink(spark, str(folder))(rows, 0)


def ids(folder: Path) -> list[int]:
    return sorted(pq.read_table(folder).column("id").to_pylist())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_next_table_takes_the_place_of_the_last(spark: SparkSession, tmp_path: Path) -> None:
    write(spark, tmp_path / "new" / "t", spark.range(5))
    write(spark, tmp_path / "new" / "t", spark.range(7, 9))

    assert ids(tmp_path / "new" / "t") == [7, 8]
    assert names(tmp_path / "new") == ["t"]


def test_a_table_without_rows_has_its_columns(spark: SparkSession, tmp_path: Path) -> None:
    write(spark, tmp_path / "t", spark.range(5))
    write(spark, tmp_path / "t", spark.range(0).select("id", F.lit("a").alias("text")))

    table = pq.read_table(tmp_path / "t")
    assert table.num_rows == 0
    assert [str(field.type) for field in table.schema] == ["int64", "string"]


def test_a_run_that_fails_leaves_the_last_table(spark: SparkSession, tmp_path: Path) -> None:
    write(spark, tmp_path / "t", spark.range(5))
    failing = spark.range(9).select(
        F.when(F.col("id") == 8, F.raise_error(F.lit("disk full"))).alias("x")
    )

    with pytest.raises(PySparkException, match="disk full"):
        write(spark, tmp_path / "t", failing)

    assert ids(tmp_path / "t") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("renames_done", [0, 1])
def test_a_run_that_dies_between_renames_leaves_no_half_and_the_next_one_ends_it(
    renames_done: int, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(spark, tmp_path / "t", spark.range(5))
    rename, done = hadoop.rename, list[None]()

    def dying(*args: Any) -> None:
        if len(done) == renames_done:
            raise KeyboardInterrupt
        done.append(rename(*args))

    monkeypatch.setattr(hadoop, "rename", dying)
    with pytest.raises(KeyboardInterrupt):
        write(spark, tmp_path / "t", spark.range(7, 9))
    monkeypatch.undo()

    assert names(tmp_path) == (
        ["_previous_t", "_staging_t"] if renames_done else ["_staging_t", "t"]
    )
    assert ids(tmp_path / ("_previous_t" if renames_done else "t")) == [0, 1, 2, 3, 4]
    write(spark, tmp_path / "t", spark.range(3))
    assert ids(tmp_path / "t") == [0, 1, 2]
    assert names(tmp_path) == ["t"]


def test_what_a_killed_run_left_aside_is_away_before_the_next_rename(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Object stores refuse a rename to a place that is taken."""
    write(spark, tmp_path / "t", spark.range(5))
    with monkeypatch.context() as patch:
        patch.setattr(hadoop, "delete", Dying(hadoop.delete, 1))
        with pytest.raises(KeyboardInterrupt):
            write(spark, tmp_path / "t", spark.range(7))
    assert names(tmp_path) == ["_previous_t", "t"]
    rename = hadoop.rename

    def as_a_store(session: SparkSession, source: str, target: str) -> None:
        assert not hadoop.exists(session, target)
        rename(session, source, target)

    monkeypatch.setattr(hadoop, "rename", as_a_store)
    write(spark, tmp_path / "t", spark.range(3))

    assert ids(tmp_path / "t") == [0, 1, 2]
    assert names(tmp_path) == ["t"]


def test_what_readers_ignore_or_is_expected_is_not_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(spark, tmp_path / "t", spark.range(1))
    (tmp_path / "stream" / "batch_id=3").mkdir(parents=True)
    (tmp_path / "stream" / "_staging_4").mkdir()

    refuse_other_files(spark, str(tmp_path / "t"), TABLE_FILES)
    refuse_other_files(spark, str(tmp_path / "stream"), BATCH_FOLDERS)
    refuse_other_files(spark, str(tmp_path / "nothing"), TABLE_FILES)


@pytest.mark.parametrize("name", ["thesis.txt", "batch_id=0", "b"])
def test_what_is_not_of_a_table_is_refused(name: str, spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(InvalidOptionError, match=f"holds {name}, which is not of such a job"):
        refuse_other_files(spark, str(tmp_path), TABLE_FILES)
