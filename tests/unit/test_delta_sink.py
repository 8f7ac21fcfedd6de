"""The Delta table of a stream: each batch once, and nothing in a table that is not like its rows.

What stands in a table is read by delta-rs, another engine than the one that wrote it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pyspark
import pytest
from deltalake import DeltaTable as DeltaRs
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from table_batches import SCHEMA, checkpoint, lock_while_written, rows
from table_jobs import last_line_without_release, run_twice_and_once_more

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sinks import delta
from pyspark_vision.sinks.delta import DeltaTable, delta_sink
from pyspark_vision.spark import delta_lake
from pyspark_vision.spark.table_packages import package_for

pytestmark = pytest.mark.every_spark

HAS_RELEASE = package_for(delta_lake.PACKAGES) is not None
with_delta = pytest.mark.skipif(
    not HAS_RELEASE, reason=f"Delta Lake has no release for Spark {pyspark.__version__}"
)


def origins(table: Path) -> Counter[str]:
    return Counter(DeltaRs(str(table)).to_pyarrow_table().column("origin").to_pylist())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "a table" / "of 100%"


@with_delta
def test_a_replayed_batch_is_there_once(spark: SparkSession, table: Path, tmp_path: Path) -> None:
    own = checkpoint(spark, tmp_path / "c", "one")
    sink = delta_sink(spark, DeltaTable(str(table)), own)
    sink(rows(spark, "a", "b"), 0)
    sink(rows(spark), 1)
    sink(rows(spark, "c", None), 2)
    # As the next start does with its last batch, whatever came out of it this time.
    delta_sink(spark, DeltaTable(str(table)), own)(rows(spark, "c", "d"), 2)

    assert origins(table) == {"a": 1, "b": 1, "c": 1, None: 1}
    assert delta.is_there(spark, str(table))


@with_delta
@pytest.mark.slow
def test_a_new_checkpoint_at_the_same_path_is_another_writer_and_two_may_fill_one_table(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    for owner_id in ("one", "two"):
        own = checkpoint(spark, tmp_path / "c", owner_id)
        delta_sink(spark, DeltaTable(str(table)), own)(rows(spark, owner_id), 0)
        shutil.rmtree(tmp_path / "c")
    moved = checkpoint(spark, tmp_path / "moved", "one")
    delta_sink(spark, DeltaTable(str(table)), moved)(rows(spark, "swallowed"), 0)

    assert origins(table) == {"one": 1, "two": 1}


@with_delta
def test_writers_of_a_local_table_take_turns_for_a_commit_there_may_replace_anothers(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    sink = delta_sink(spark, DeltaTable(str(table)), checkpoint(spark, tmp_path / "c", "one"))
    sink(lock_while_written(spark, table), 0)
    sink(rows(spark, "after").select("origin"), 1)  # the lock went with the batch

    assert origins(table) == {"held": 1, "after": 1}


@with_delta
def test_other_columns_are_refused_in_one_line_and_added_where_that_is_said(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    own = checkpoint(spark, tmp_path / "c", "one")
    target = DeltaTable(str(table))
    delta_sink(spark, target, own)(rows(spark, "a"), 0)
    wider = rows(spark, "b").withColumn("image", F.lit(b"jpeg"))
    other_type = rows(spark, "b").withColumn("origin", F.lit(1))
    files = sorted(table.rglob("*"))

    delta.check(spark, target, rows(spark).schema)
    delta.check(spark, target, rows(spark).drop("detections").schema)  # null there
    with pytest.raises(InvalidOptionError, match="it lacks image binary .`table_add_columns`") as e:
        delta.check(spark, target, wider.schema)
    with pytest.raises(InvalidOptionError, match="origin is string there and int in the rows"):
        delta.check(spark, target, other_type.schema)
    with pytest.raises(StreamError, match="refuses batch 1, whole: .*DELTA_METADATA_MISMATCH") as f:
        delta_sink(spark, target, own)(wider, 1)
    assert "\n" not in f"{e.value}{f.value}"
    assert sorted(table.rglob("*")) == files

    told = DeltaTable(str(table), adds_columns=True)
    delta.check(spark, told, wider.schema)
    with pytest.raises(InvalidOptionError, match="origin is string there"):
        delta.check(spark, told, other_type.schema)
    delta_sink(spark, told, own)(wider, 1)
    assert DeltaRs(str(table)).to_pyarrow_table().sort_by("origin").column("image").to_pylist() == [
        None,
        b"jpeg",
    ]


@with_delta
def test_a_table_of_others_is_appended_to_unless_it_refuses_null_or_a_row(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    name = delta.sql_name(str(table))
    spark.sql(f"CREATE TABLE {name} ({SCHEMA}, note string NOT NULL) USING delta")
    target = DeltaTable(str(table))
    with pytest.raises(InvalidOptionError, match="they have no note, which is NOT NULL"):
        delta.check(spark, target, rows(spark).schema)
    spark.sql(f"ALTER TABLE {name} ALTER COLUMN note DROP NOT NULL")
    spark.sql(f"ALTER TABLE {name} ADD CONSTRAINT known CHECK (origin <> 'b')")
    delta.check(spark, target, rows(spark).schema)
    sink = delta_sink(spark, target, checkpoint(spark, tmp_path / "c", "one"))
    sink(rows(spark, "a"), 0)
    with pytest.raises(StreamError, match="refuses batch 1, whole: .*DELTA_VIOLATE_CONSTRAINT"):
        sink(rows(spark, "b", "c"), 1)

    assert origins(table) == {"a": 1}


@with_delta
@pytest.mark.parametrize(
    ("column", "filled"),
    [
        ("note string NOT NULL GENERATED ALWAYS AS (upper(origin))", "A"),
        ("note string NOT NULL DEFAULT 'none'", "none"),
        ("note bigint NOT NULL GENERATED ALWAYS AS IDENTITY", 1),
    ],
)
def test_a_column_that_the_table_fills_need_not_be_in_the_rows(
    column: str, filled: object, spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    if "IDENTITY" in column and pyspark.__version__ < "4":
        pytest.skip("the SQL of identity columns is Spark 4's")
    name, target = delta.sql_name(str(table)), DeltaTable(str(table))
    supported = "TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')"
    spark.sql(f"CREATE TABLE {name} ({SCHEMA}, {column}) USING delta {supported}")

    delta.check(spark, target, rows(spark).schema)
    delta_sink(spark, target, checkpoint(spark, tmp_path / "c", "one"))(rows(spark, "a"), 0)

    assert DeltaRs(str(table)).to_pyarrow_table().column("note").to_pylist() == [filled]


@with_delta
def test_a_new_table_has_the_partitions_that_were_asked_for_and_keeps_them(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    target = DeltaTable(str(table), partition_by=("origin",))
    own = checkpoint(spark, tmp_path / "c", "one")
    delta.check(spark, target, rows(spark).schema)
    delta_sink(spark, target, own)(rows(spark, "a"), 0)
    delta_sink(spark, DeltaTable(str(table)), own)(rows(spark, "b"), 1)

    assert DeltaRs(str(table)).metadata().partition_columns == ["origin"]
    assert origins(table) == {"a": 1, "b": 1}
    labelled = rows(spark).withColumn("label", F.lit("cat"))
    with pytest.raises(InvalidOptionError, match="is partitioned by origin, not by label"):
        delta.check(spark, DeltaTable(str(table), ("label",)), labelled.schema)
    with pytest.raises(InvalidOptionError, match="`table_partition_by` x: the rows have no such"):
        delta.check(spark, DeltaTable(str(table), ("x",)), rows(spark).schema)


@with_delta
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("detections",), "detections: it is array, .* choose from camera, origin"),
        (("camera", "camera"), "camera is named twice"),
        (("x",), "x: the rows have no such column; choose from camera, origin"),
    ],
)
def test_partitions_that_no_table_can_have_are_refused_before_a_batch(
    columns: tuple[str, ...], said: str, spark: SparkSession, table: Path
) -> None:
    schema = rows(spark).withColumn("camera", F.lit("c")).schema

    with pytest.raises(InvalidOptionError, match=said):
        delta.check(spark, DeltaTable(str(table), columns), schema)


@with_delta
def test_all_columns_are_no_partitions(spark: SparkSession, table: Path) -> None:
    schema = rows(spark).select("origin").schema

    with pytest.raises(InvalidOptionError, match="origin: these are all columns of the rows"):
        delta.check(spark, DeltaTable(str(table), ("origin",)), schema)


@with_delta
def test_a_table_in_anothers_folder_is_refused_whose_vacuum_would_remove_it(
    spark: SparkSession, table: Path
) -> None:
    delta.append(spark, DeltaTable(str(table)), rows(spark, "a"), "batch")

    with pytest.raises(InvalidOptionError, match=f"lies in the Delta table file://{table}, whose"):
        delta.check(spark, DeltaTable(f"{table}/faces/new"), rows(spark).schema)
    delta.check(spark, DeltaTable(f"{table}_faces"), rows(spark).schema)


@with_delta
def test_a_folder_of_something_else_is_no_table(spark: SparkSession, tmp_path: Path) -> None:
    rows(spark, "a").write.parquet(str(tmp_path / "batch_id=0"))

    with pytest.raises(InvalidOptionError, match="holds batch_id=0 and is no Delta table"):
        delta.check(spark, DeltaTable(str(tmp_path)), rows(spark).schema)


@with_delta
def test_a_table_whose_log_is_damaged_is_refused_in_one_line(
    spark: SparkSession, table: Path
) -> None:
    target = DeltaTable(str(table))
    for name in ("a", "b", "c"):
        delta.append(spark, target, rows(spark, name), "batch")
    _, second, third = sorted((table / "_delta_log").glob("*.json"))
    whole = third.read_bytes()

    said = f"{third.name}, is cut short"
    for kept, words in ((len(whole) // 2, "as a Delta table: .*Checksum"), (0, said)):
        third.write_bytes(whole[:kept])  # beside Hadoop's own sum of the whole
        with pytest.raises(InvalidOptionError, match=words) as cut:
            delta.check(spark, target, rows(spark).schema)
        assert "\n" not in str(cut.value)
    third.with_name(f".{third.name}.crc").unlink()  # as in a copy, or in a store
    third.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidOptionError, match=said):
        delta.check(spark, target, rows(spark).schema)
    third.write_bytes(whole)
    moved = table / "elsewhere"
    shutil.copytree(table / "_delta_log", moved / "_delta_log")
    (moved / "_delta_log" / second.name).unlink()  # of a folder that Delta has not read yet
    with pytest.raises(InvalidOptionError, match="cannot be read as a Delta table: ") as gap:
        delta.check(spark, DeltaTable(str(moved)), rows(spark).schema)
    assert "\n" not in str(gap.value)


@with_delta
@pytest.mark.slow
def test_a_first_commit_that_was_cut_short_is_no_table_and_the_next_start_makes_it(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    (table / "_delta_log").mkdir(parents=True)
    (table / "_delta_log" / ".00000000000000000000.json.1b2c.tmp").touch()
    (table / "part-00000-of-nobody.snappy.parquet").write_bytes(b"cut")
    place, target = checkpoint(spark, tmp_path / "checkpoint", "id-1"), delta.DeltaTable(str(table))
    batch = rows(spark, "a")

    delta.check(spark, target, batch.schema)
    delta.check_checkpoint(spark, target, place)
    delta.delta_sink(spark, target, place)(batch, 0)

    assert origins(table) == {"a": 1}


@with_delta
@pytest.mark.slow
def test_a_checkpoint_that_knows_less_than_the_table_is_refused(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    target = DeltaTable(str(table))
    for owner_id in ("one", "two"):
        sink = delta_sink(spark, target, checkpoint(spark, tmp_path / owner_id, owner_id, 2))
        for batch_id in range(3):
            sink(rows(spark, f"{owner_id}-{batch_id}"), batch_id)
    old = checkpoint(spark, tmp_path / "copy", "one", planned=1)

    delta.check_checkpoint(spark, target, str(tmp_path / "one"))
    delta.check_checkpoint(spark, target, checkpoint(spark, tmp_path / "new", "three"))
    delta.check_checkpoint(spark, target, str(tmp_path / "none"))
    with pytest.raises(InvalidOptionError, match=r"holds batches up to 2 .*its last batch is 1"):
        delta.check_checkpoint(spark, target, old)


@with_delta
def test_batches_of_an_older_checkpoint_are_known_behind_any_number_of_others_commits(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    target = DeltaTable(str(table))
    sink = delta_sink(spark, target, checkpoint(spark, tmp_path / "c", "one"))
    for batch_id in range(3):
        sink(rows(spark, f"{batch_id}"), batch_id)
    old = checkpoint(spark, tmp_path / "copy", "one", planned=0)

    refused = pytest.raises(InvalidOptionError, match=r"holds batches up to 2 .*last batch is 0")
    with refused:
        delta.check_checkpoint(spark, target, old)
    # A commit of another's follows, delta-rs gathers the log, and its commits are cleaned up.
    delta.append(spark, target, rows(spark, "other"), "batch")
    DeltaRs(str(table)).create_checkpoint()
    for commit in sorted((table / "_delta_log").glob("*.json"))[:-1]:
        commit.unlink()
    with refused:
        delta.check_checkpoint(spark, target, old)


@with_delta
def test_rows_are_removed_but_not_from_a_table_that_is_append_only(
    spark: SparkSession, table: Path
) -> None:
    target = DeltaTable(str(table))
    delta.append(spark, target, rows(spark, "a", "b", "c"), "batch 0")
    delta.remove(spark, str(table), rows(spark, "b", "x").select("origin"))
    assert origins(table) == {"a": 1, "c": 1}

    only = "SET TBLPROPERTIES ('delta.appendOnly' = 'true')"
    spark.sql(f"ALTER TABLE {delta.sql_name(str(table))} {only}")
    with pytest.raises(StreamError, match="refuses to have rows removed: .*APPEND_ONLY") as error:
        delta.remove(spark, str(table), rows(spark, "a").select("origin"))
    assert "\n" not in str(error.value)
    assert origins(table) == {"a": 1, "c": 1}


@with_delta
def test_a_replay_of_what_a_table_may_have_forgotten_is_refused(
    spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    name, target = delta.sql_name(str(table)), DeltaTable(str(table))
    own = checkpoint(spark, tmp_path / "c", "one", planned=1)
    delta_sink(spark, target, own)(rows(spark, "a"), 1)
    ten_days_ago = time.time() - 10 * 86_400
    os.utime(tmp_path / "c" / "offsets" / "1", (ten_days_ago, ten_days_ago))
    key = "delta.setTransactionRetentionDuration"

    delta.check_checkpoint(spark, target, own)  # a table never forgets by itself
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{key}' = 'interval 11 days')")
    delta.check_checkpoint(spark, target, own)
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{key}' = 'interval 9 days')")
    with pytest.raises(InvalidOptionError, match="for interval 9 days .* batch 1 of .* written"):
        delta.check_checkpoint(spark, target, own)
    (tmp_path / "c" / "commits").mkdir()
    (tmp_path / "c" / "commits" / "1").touch()  # nothing is replayed
    delta.check_checkpoint(spark, target, own)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("s3a://bucket/t", True), ("hdfs://host/t", False), ("/tmp/t", False), ("gs://b/t", False)],
)
def test_in_a_bucket_of_s3_a_table_has_one_driver(
    uri: str, expected: bool, spark: SparkSession
) -> None:
    assert delta.has_one_driver(spark, uri) is expected


def test_the_users_own_log_store_lets_several_drivers_write(spark: SparkSession) -> None:
    key = "spark.delta.logStore.s3a.impl"
    spark.conf.set(key, "io.delta.storage.S3DynamoDBLogStore")
    try:
        assert not delta.has_one_driver(spark, "s3a://bucket/t")
    finally:
        spark.conf.unset(key)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.5.9", "--packages io.delta:delta-spark_2.12:3.3.2"),
        ("4.2.0", "--packages io.delta:delta-spark_4.2_2.13:4.4.0"),
        ("4.3.0", "has no release for Spark 4.3.0; it has for 3.5, 4.0, 4.1, 4.2"),
    ],
)
def test_without_the_jar_one_line_says_what_brings_it(version: str, said: str) -> None:
    line = delta_lake.missing(version)

    assert said in line
    assert "\n" not in line


@with_delta
@pytest.mark.slow
def test_a_job_writes_one_and_goes_on(spark: SparkSession, table: Path, tmp_path: Path) -> None:
    run_twice_and_once_more("delta", table, tmp_path)

    names = Counter(origin.rpartition("/")[2] for origin in origins(table).elements())
    assert names == {"0.jpg": 1, "1.jpg": 1}


@pytest.mark.skipif(HAS_RELEASE, reason="Delta Lake is there")
def test_where_delta_lake_has_no_release_a_job_says_so_and_writes_nothing(
    spark: SparkSession, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = last_line_without_release("delta", table, tmp_path, lambda: capsys.readouterr().err)

    assert line == (
        f"stream_detect: --sink delta: Delta Lake has no release for Spark {pyspark.__version__}; "
        "it has for 3.5, 4.0, 4.1, 4.2. Use one of these, or another sink"
    )
    assert not table.exists()
