"""A folder that is written has an owner; nobody else writes there."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark

DETECT = Mark("stream_detect", "parquet", "id-1", "/checkpoints/one")


def claim(spark: SparkSession, folder: Path, mark: Mark, *, adopts: bool = False) -> Mark:
    return owner.claim(spark, str(folder), mark, "--output", adopts=adopts)


def test_a_new_folder_becomes_its_first_users_and_stays_so(
    spark: SparkSession, tmp_path: Path
) -> None:
    first = claim(spark, tmp_path / "out", DETECT)
    again = claim(spark, tmp_path / "out", DETECT)

    assert first == again
    assert first.is_of(DETECT)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_job"]


@pytest.mark.parametrize(
    ("other", "way_on"),
    [
        (
            Mark("stream_detect", "parquet", "id-2", "/checkpoints/two"),
            "or go on with `checkpoint` /checkpoints/one",
        ),
        (Mark("stream_detect", "dead_letters", "id-1", "/checkpoints/one"), "Choose a new output"),
        (Mark("stream_classify", "parquet", "id-1", "/checkpoints/one"), "Choose a new output"),
        (Mark("batch_embed", "vectors"), "Choose a new output"),
    ],
)
def test_another_checkpoint_purpose_or_job_is_refused(
    other: Mark, way_on: str, spark: SparkSession, tmp_path: Path
) -> None:
    claim(spark, tmp_path / "out", DETECT)

    with pytest.raises(InvalidOptionError, match="belongs to stream_detect") as caught:
        claim(spark, tmp_path / "out", other, adopts=True)

    assert way_on in str(caught.value)


@pytest.mark.parametrize(
    "name", ["thesis.txt", "batch_id=0", "part-0.parquet", "_delta_log", "_spark_metadata"]
)
def test_what_bears_no_mark_is_refused_unless_the_user_says_it_is_theirs(
    name: str, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(InvalidOptionError, match=f"holds {name}, which is not of such a job"):
        claim(spark, tmp_path, DETECT)
    assert [path.name for path in tmp_path.iterdir()] == [name]

    assert claim(spark, tmp_path, DETECT, adopts=True).is_of(DETECT)


@pytest.mark.parametrize("name", [".DS_Store", "_SUCCESS", "lost+found", "lease.lock"])
def test_what_is_no_data_is_no_owner(name: str, spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / name).touch()

    assert claim(spark, tmp_path, DETECT).is_of(DETECT)


@pytest.mark.parametrize("name", ["a [b]", "a\\b", "a*?{c}", "é ü", "a%20b", "a#b"])
def test_names_are_taken_literally(name: str, spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / name / "batch_id=0").mkdir(parents=True)

    with pytest.raises(InvalidOptionError, match="holds batch_id=0"):
        claim(spark, tmp_path / name, DETECT)


def test_a_file_is_no_folder(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "out").touch()

    with pytest.raises(InvalidOptionError, match="out is a file; it must be a folder"):
        claim(spark, tmp_path / "out", DETECT)


def test_a_folder_that_cannot_be_made_is_one_line(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()

    with pytest.raises(InvalidOptionError, match="cannot be written: Not a directory"):
        claim(spark, tmp_path / "a file" / "out", DETECT)
    with pytest.raises(InvalidOptionError, match="/proc/out cannot be written"):
        claim(spark, Path("/proc/out"), DETECT)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": "x", "colour": "red"}'])
def test_a_mark_that_cannot_be_read_is_nobodys_folder(
    text: str, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "_job").write_text(text)

    with pytest.raises(InvalidOptionError, match="cannot be read"):
        claim(spark, tmp_path, DETECT)


def test_of_many_that_come_at_once_one_owns_the_folder(spark: SparkSession, tmp_path: Path) -> None:
    won: list[str] = []
    refused: list[str] = []
    barrier = threading.Barrier(8)

    def come(number: int) -> None:
        barrier.wait()
        try:
            mark = Mark("stream_detect", "parquet", f"id-{number}")
            won.append(claim(spark, tmp_path / "out", mark).owner)
        except InvalidOptionError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert len(refused) == 7
    assert json.loads((tmp_path / "out" / "_job").read_text())["owner"] == won[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_job"]
