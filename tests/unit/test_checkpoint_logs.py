"""A checkpoint's files in Spark's form are read; any other form is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark import checkpoint_logs
from pyspark_vision.spark.checkpoint_logs import Plan

WRITER = "spark.sql.streaming.checkpointFileManagerClass"
NO_SESSION: Any = None  # files of this machine are read without one


def checkpoint(folder: Path, **files: str) -> str:
    """One with these files; ``offsets_3`` is the plan of batch 3."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("_"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"file:{folder}"


def test_a_plan_is_its_settings_and_an_end_for_each_source(tmp_path: Path) -> None:
    uri = checkpoint(tmp_path, offsets_3='v1\n{"conf":{}}\n{"logOffset":4}\n{"t":{"0":7}}')

    plan = checkpoint_logs.plan(NO_SESSION, uri, 3)

    assert plan == Plan('{"conf":{}}', ('{"logOffset":4}', '{"t":{"0":7}}'))
    assert checkpoint_logs.plan(NO_SESSION, uri, 4) is None


@pytest.mark.parametrize(
    "text",
    [
        'v2\n{"conf":{}}\n{"logOffset":4}',
        "v1\n{}",  # no source
        "v1\nlogOffset\n4",
        "",  # cut short
    ],
)
def test_a_plan_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    uri = checkpoint(tmp_path, offsets_3=text)

    with pytest.raises(InvalidOptionError, match="offsets/3 has a form that is not known here"):
        checkpoint_logs.plan(NO_SESSION, uri, 3)


def test_the_files_of_a_source_are_read_up_to_its_end(tmp_path: Path) -> None:
    log = 'v1\n{"path":"file:///a","timestamp":5,"batchId":0}'
    later = 'v1\n{"path":"file:///b","timestamp":6,"batchId":1}'
    uri = checkpoint(tmp_path, sources_0_0=log, sources_0_1=later)

    assert checkpoint_logs.files_read(NO_SESSION, uri, 0, '{"logOffset":0}') == {"file:///a": 5}
    assert checkpoint_logs.files_read(NO_SESSION, uri, 0, '{"t":{"0":7}}') is None


@pytest.mark.parametrize("line", ['{"uri":"file:///a"}', "file:///a", '{"path":"file:///a'])
def test_files_in_another_form_are_refused(line: str, tmp_path: Path) -> None:
    uri = checkpoint(tmp_path, sources_0_2=f"v1\n{line}")

    with pytest.raises(InvalidOptionError, match="sources/0/2 has a form"):
        checkpoint_logs.files_read(NO_SESSION, uri, 0, '{"logOffset":2}')


@pytest.mark.every_spark
def test_a_local_checkpoint_is_written_without_a_process_for_each_file(
    spark: SparkSession, tmp_path: Path
) -> None:
    with checkpoint_logs.written_at_once(spark, str(tmp_path)):
        assert str(spark.conf.get(WRITER)).endswith(".FileSystemBasedCheckpointFileManager")
    assert spark.conf.get(WRITER, "none") == "none"


def test_a_checkpoint_elsewhere_and_a_chosen_writer_stay(
    spark: SparkSession, tmp_path: Path
) -> None:
    with checkpoint_logs.written_at_once(spark, "s3a://bucket/checkpoint"):
        assert spark.conf.get(WRITER, "none") == "none"

    spark.conf.set(WRITER, "my.Writer")
    try:
        with checkpoint_logs.written_at_once(spark, str(tmp_path)):
            assert spark.conf.get(WRITER) == "my.Writer"
        assert spark.conf.get(WRITER) == "my.Writer"
    finally:
        spark.conf.unset(WRITER)
