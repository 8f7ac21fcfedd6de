"""The Iceberg table of a stream: each batch once; where Iceberg has no release, one line.

What stands in a table is read from its data files: nothing here removes a row.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType
from table_batches import checkpoint, lock_while_written, rows
from table_jobs import last_line_without_release, run_twice_and_once_more

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import iceberg
from pyspark_vision.sinks.iceberg import IcebergTable, iceberg_sink
from pyspark_vision.spark import iceberg as spark_iceberg
from pyspark_vision.spark.table_packages import package_for

pytestmark = pytest.mark.every_spark

HAS_RELEASE = package_for(spark_iceberg.PACKAGES) is not None
with_iceberg = pytest.mark.skipif(
    not HAS_RELEASE, reason=f"Iceberg has no release for Spark {pyspark.__version__}"
)


def column(table: Path, name: str = "origin") -> Counter[Any]:
    values: Counter[Any] = Counter()
    for file in table.glob("data/**/*.parquet"):
        values.update(pq.ParquetFile(file).read().column(name).to_pylist())
    return values


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "a table" / "of 100%"


@with_iceberg
def test_a_replayed_batch_is_there_once(spark: SparkSession, table: Path, tmp_path: Path) -> None:
    own = checkpoint(spark, tmp_path / "c", "one")
    sink = iceberg_sink(spark, IcebergTable(str(table)), own)
    sink(rows(spark, "a", "b"), 0)
    sink(rows(spark), 1)
    sink(rows(spark, "c", None), 2)
    # As the next start does with its last batch, whatever came out of it this time.
    again = iceberg_sink(spark, IcebergTable(str(table)), own)
    again(rows(spark, "c", "d"), 2)
    again(rows(spark, "e"), 3)

    assert column(table) == {"a": 1, "b": 1, "c": 1, None: 1, "e": 1}
    assert spark.read.format("iceberg").load(str(table)).count() == 5


@with_iceberg
def test_a_new_checkpoint_is_another_writer_and_two_may_fill_one_table(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    for owner_id in ("one", "two"):
        own = checkpoint(spark, tmp_path / "c", owner_id)
        iceberg_sink(spark, IcebergTable(str(table)), own)(rows(spark, owner_id), 0)
        shutil.rmtree(tmp_path / "c")
    moved = checkpoint(spark, tmp_path / "moved", "one")
    iceberg_sink(spark, IcebergTable(str(table)), moved)(rows(spark, "left out"), 0)

    assert column(table) == {"one": 1, "two": 1}


@with_iceberg
def test_other_columns_are_refused_in_one_line_and_added_where_that_is_said(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    own = checkpoint(spark, tmp_path / "c", "one")
    target, told = (IcebergTable(str(table), (), adds) for adds in (False, True))
    iceberg_sink(spark, target, own)(rows(spark, "a"), 0)
    wider = rows(spark, "b").withColumn("image", F.lit(b"x"))
    other_type = rows(spark, "b").withColumn("origin", F.lit(1))

    iceberg.check(spark, target, rows(spark).schema)
    iceberg.check(spark, target, rows(spark).drop("detections").schema)  # null there
    with pytest.raises(InvalidOptionError, match="it lacks image binary") as refused:
        iceberg.check(spark, target, wider.schema)
    with pytest.raises(InvalidOptionError, match="origin is string there and int in the rows"):
        iceberg.check(spark, told, other_type.schema)
    iceberg.check(spark, told, wider.schema)
    iceberg_sink(spark, told, own)(wider, 1)
    iceberg_sink(spark, target, own)(rows(spark, "c").drop("detections"), 2)

    assert "\n" not in str(refused.value)
    read = spark.read.format("iceberg").load(str(table)).orderBy("origin").collect()
    assert [(row.origin, row.image and bytes(row.image)) for row in read] == [
        ("a", None), ("b", b"x"), ("c", None),
    ]  # fmt: skip
    assert read[2].detections is None


@with_iceberg
def test_a_new_table_has_its_partitions_and_others_and_other_folders_are_refused(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    own = checkpoint(spark, tmp_path / "c", "one")
    target = IcebergTable(str(table), ("origin",))
    iceberg.check(spark, target, rows(spark).schema)
    iceberg_sink(spark, target, own)(rows(spark, "a", "b"), 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()

    assert {folder.name for folder in (table / "data").iterdir()} == {"origin=a", "origin=b"}
    iceberg.check(spark, target, rows(spark).schema)  # the same flags the second time
    labelled = rows(spark).withColumn("label", F.lit("cat"))
    with pytest.raises(InvalidOptionError, match="is partitioned by origin, not by label"):
        iceberg.check(spark, IcebergTable(str(table), ("label",)), labelled.schema)
    with pytest.raises(InvalidOptionError, match="detections: it is array, and a partition has"):
        iceberg.check(spark, IcebergTable(str(table), ("detections",)), rows(spark).schema)
    with pytest.raises(InvalidOptionError, match="`table_partition_by` x: the rows have no such"):
        iceberg.check(spark, IcebergTable(str(table), ("x",)), rows(spark).schema)
    with pytest.raises(InvalidOptionError, match=r"holds thesis.txt and is no Iceberg table"):
        iceberg.check(spark, IcebergTable(str(tmp_path / "mine")), rows(spark).schema)


@with_iceberg
def test_writers_of_a_local_table_take_turns_for_a_commit_there_may_replace_anothers(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    sink = iceberg_sink(spark, IcebergTable(str(table)), checkpoint(spark, tmp_path / "c", "one"))
    sink(lock_while_written(spark, table), 0)

    assert column(table) == {"held": 1}


@with_iceberg
def test_a_column_that_may_not_be_null_is_refused_before_a_batch(
    spark: SparkSession, table: Path
) -> None:
    folder = spark_iceberg.folder_catalog(spark, str(table.parent))
    named = f"{folder}.`{table.name}`"
    spark.sql(f"CREATE TABLE {named} (Origin string NOT NULL, detections string) USING iceberg")
    narrow = rows(spark).select("origin").schema

    with pytest.raises(InvalidOptionError, match="Origin is NOT NULL there, and may be null in"):
        iceberg.check(spark, IcebergTable(str(table)), narrow)
    sure = StructType([StructField("origin", StringType(), nullable=False)])
    iceberg.check(spark, IcebergTable(str(table)), sure)


@with_iceberg
def test_an_empty_table_of_delta_is_no_new_folder(spark: SparkSession, table: Path) -> None:
    (table / "_delta_log").mkdir(parents=True)
    with pytest.raises(InvalidOptionError, match="holds _delta_log and is no Iceberg table"):
        iceberg.check(spark, IcebergTable(str(table)), rows(spark).schema)


@with_iceberg
def test_a_checkpoint_that_knows_less_than_the_table_is_refused(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    own = checkpoint(spark, tmp_path / "c", "one", planned=2)
    target = IcebergTable(str(table))
    iceberg.check_checkpoint(spark, target, own)  # no table yet
    iceberg_sink(spark, target, own)(rows(spark, "a"), 2)
    iceberg.check_checkpoint(spark, target, own)
    (tmp_path / "c" / "offsets" / "2").unlink()

    with pytest.raises(InvalidOptionError, match="holds batches up to 2 .* its last batch is 1"):
        iceberg.check_checkpoint(spark, target, own)


@with_iceberg
def test_a_table_may_be_one_of_a_catalog_of_sparks(spark: SparkSession, tmp_path: Path) -> None:
    for key, value in {"": spark_iceberg.CATALOG, ".type": "hadoop"}.items():
        spark.conf.set(f"spark.sql.catalog.lake{key}", value)
    spark.conf.set("spark.sql.catalog.lake.warehouse", str(tmp_path / "lake"))
    own, named = checkpoint(spark, tmp_path / "c", "one"), IcebergTable("lake.db.results")

    for _ in range(2):
        iceberg.check(spark, named, rows(spark).schema)
        iceberg_sink(spark, named, own)(rows(spark, "a"), 0)

    assert column(tmp_path / "lake" / "db" / "results") == {"a": 1}


@with_iceberg
def test_a_job_writes_one_and_goes_on(
    spark: SparkSession, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_twice_and_once_more("iceberg", table, tmp_path)

    names = Counter(origin.rpartition("/")[2] for origin in column(table).elements())
    assert names == {"0.jpg": 1, "1.jpg": 1}


@pytest.mark.skipif(HAS_RELEASE, reason="Iceberg is there")
def test_where_iceberg_has_no_release_a_job_says_so_and_writes_nothing(
    spark: SparkSession, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = last_line_without_release("iceberg", table, tmp_path, lambda: capsys.readouterr().err)

    assert line == (
        f"stream_detect: --sink iceberg: Iceberg has no release for Spark {pyspark.__version__}; "
        "it has for 3.5, 4.0, 4.1. Use one of these, or another sink"
    )
    assert not table.exists()
