"""Files that Hadoop's file systems list and read: one that is damaged costs its row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.sources import hadoop_folder
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.listed_files import Tally
from pyspark_vision.spark import hadoop
from pyspark_vision.spark.hadoop import hadoop_path


def put(spark: SparkSession, path: Path, content: bytes) -> None:
    """With a checksum beside it, as Hadoop's client for local disks writes files."""
    file_system, target = hadoop_path(spark, f"file:{path}")
    stream: Any = file_system.create(target)
    stream.write(bytearray(content))
    stream.close()


def test_a_damaged_file_and_one_that_went_are_reasons_and_the_others_are_read(
    spark: SparkSession, tmp_path: Path
) -> None:
    odd = "x; isDirectory=true; {a,b}[1] %41.jpg"
    for name in ("a.jpg", "_b.jpg", odd, "empty.jpg", "damaged.jpg", "gone.jpg", ".hidden"):
        put(spark, tmp_path / "in" / name, b"" if name == "empty.jpg" else name.encode())
    tally = Tally()
    found = hadoop_folder.files_below(spark, f"file:{tmp_path}/in", Names("*"), tally)
    files = [file for file in found if not file.origin.endswith(".crc")]
    (tmp_path / "in" / "damaged.jpg").write_bytes(b"DAMAGED.jpg")
    (tmp_path / "in" / "gone.jpg").unlink()

    pictures = hadoop_folder.read(spark, files)
    rows = {row.origin.rsplit("/", 1)[-1]: row.picture for row in pictures.collect()}
    pictures.unpersist()

    codes = {name: one.error and one.error.code for name, one in rows.items()}
    good = ["_b.jpg", "a.jpg", "empty.jpg", odd]
    assert codes == {
        **dict.fromkeys(good),
        "damaged.jpg": "fetch_failed",
        "gone.jpg": "fetch_not_found",
    }
    contents = [bytes(rows[name].content) for name in good]
    assert contents == [b"_b.jpg", b"a.jpg", b"", odd.encode()]
    sizes = {file.origin.rsplit("/", 1)[-1]: file.size for file in files}
    assert sizes[odd] == len(odd)
    assert tally.left_out["hidden"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("of_this_hadoop", [True, False])
def test_statuses_by_their_text_are_those_one_by_one(
    of_this_hadoop: bool, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder; length=3; modification_time=4;").mkdir()
    (tmp_path / "x; isDirectory=true; {a,b}[1] %41.jpg").write_bytes(b"12345")
    (tmp_path / "é").touch()
    if not of_this_hadoop:
        monkeypatch.setattr(hadoop, "FILE_STATUS", re.compile("another form"))
    file_system, path = hadoop_path(spark, f"file:{tmp_path}")

    by_text = hadoop._by_their_text(spark, file_system.listStatus(path))

    assert by_text == hadoop.statuses(spark, f"file:{tmp_path}")
    assert sorted((status.name, status.is_folder, status.size > 0) for status in by_text) == [
        ("folder; length=3; modification_time=4;", True, False),
        ("x; isDirectory=true; {a,b}[1] %41.jpg", False, True),
        ("é", False, False),
    ]
