"""A stream's checkpoint and its outputs belong together; what does not is refused untouched."""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import CheckpointInUseError, InvalidOptionError, StreamError
from pyspark_vision.job import outputs
from pyspark_vision.job.outputs import Output, StreamPlaces
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.streaming import lease


def places(
    tmp_path: Path,
    checkpoint: str = "checkpoint",
    output: str = "out",
    role: str = "parquet",
    **options: Any,
) -> StreamPlaces:
    out = Output("--output", str(tmp_path / output), role)
    return StreamPlaces("stream_detect", str(tmp_path / checkpoint), (out,), **options)


def run_batches(spark: SparkSession, tmp_path: Path, count: int, output: str = "out") -> None:
    """As a stream leaves them: planned, written, committed."""
    sink = parquet_sink(spark, str(tmp_path / output))
    for batch_id in range(count):
        for log in ("offsets", "commits"):
            (tmp_path / "checkpoint" / log).mkdir(parents=True, exist_ok=True)
            (tmp_path / "checkpoint" / log / str(batch_id)).write_text("v1\n")
        sink(spark.range(2), batch_id)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_stream_goes_on_at_its_own_places(spark: SparkSession, tmp_path: Path) -> None:
    outputs.claim(spark, places(tmp_path))
    run_batches(spark, tmp_path, 2)

    outputs.claim(spark, places(tmp_path))


def test_a_stream_goes_on_at_places_that_were_moved(spark: SparkSession, tmp_path: Path) -> None:
    outputs.claim(spark, places(tmp_path))
    run_batches(spark, tmp_path, 1)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    (tmp_path / "checkpoint").rename(tmp_path / "progress")

    outputs.claim(spark, places(tmp_path, "progress", "elsewhere"))


@pytest.mark.parametrize("before_spark", [True, False])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"checkpoint": "another"}, "out belongs to stream_detect"),
        ({"role": "dead_letters"}, "out belongs to stream_detect"),
        ({"output": "of-another-run"}, "of-another-run belongs to stream_detect"),
        ({"output": "pictures"}, "pictures holds a.jpg"),
        ({"checkpoint": "pictures"}, "--checkpoint .*pictures holds a.jpg"),
        ({"output": "a [1]"}, "holds batch_id=0"),
    ],
)
def test_what_is_anothers_is_refused_and_nothing_is_written(
    changed: dict[str, Any], said: str, before_spark: bool, spark: SparkSession, tmp_path: Path
) -> None:
    outputs.claim(spark, places(tmp_path))
    outputs.claim(spark, places(tmp_path, "third", "of-another-run"))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").touch()
    (tmp_path / "a [1]" / "batch_id=0").mkdir(parents=True)
    before = tree(tmp_path)

    look = partial(outputs.check, None) if before_spark else partial(outputs.claim, spark)
    with pytest.raises(InvalidOptionError, match=said):
        look(places(tmp_path, **changed))

    assert tree(tmp_path) == before


def test_another_jobs_checkpoint_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    outputs.claim(spark, places(tmp_path))
    other = StreamPlaces("extract_events", str(tmp_path / "checkpoint"), ())

    with pytest.raises(InvalidOptionError, match="belongs to stream_detect .checkpoint"):
        outputs.claim(spark, other)


def test_places_of_an_older_version_are_taken_over_by_the_users_word(
    spark: SparkSession, tmp_path: Path
) -> None:
    run_batches(spark, tmp_path, 2)

    with pytest.raises(InvalidOptionError, match="say --adopt once"):
        outputs.claim(spark, places(tmp_path))
    outputs.claim(spark, places(tmp_path, adopts=True))
    outputs.claim(spark, places(tmp_path))


def test_batches_that_a_restored_checkpoint_does_not_know_are_said_and_removed_by_the_users_word(
    spark: SparkSession, tmp_path: Path
) -> None:
    outputs.claim(spark, places(tmp_path))
    run_batches(spark, tmp_path, 1)
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "copy")
    run_batches(spark, tmp_path, 4)
    shutil.rmtree(tmp_path / "checkpoint")
    shutil.copytree(tmp_path / "copy", tmp_path / "checkpoint")

    with pytest.raises(InvalidOptionError, match="holds batches 1 to 3.*its last batch is 0"):
        outputs.claim(spark, places(tmp_path))
    assert spark.read.parquet(str(tmp_path / "out")).count() == 8

    outputs.claim(spark, places(tmp_path, removes_beyond=True))
    assert spark.read.parquet(str(tmp_path / "out")).count() == 2


def test_a_batch_that_was_written_and_not_committed_is_not_beyond(
    spark: SparkSession, tmp_path: Path
) -> None:
    outputs.claim(spark, places(tmp_path))
    run_batches(spark, tmp_path, 2)
    (tmp_path / "checkpoint" / "commits" / "1").unlink()

    outputs.claim(spark, places(tmp_path))


def test_a_sink_does_not_write_where_its_folder_was_replaced_meanwhile(
    spark: SparkSession, tmp_path: Path
) -> None:
    outputs.claim(spark, places(tmp_path))
    sink = parquet_sink(spark, str(tmp_path / "out"))
    sink(spark.range(2), 0)
    shutil.rmtree(tmp_path / "out")
    outputs.claim(spark, places(tmp_path, "another"))
    before = tree(tmp_path / "out")

    with pytest.raises(StreamError, match="no longer the folder"):
        sink(spark.range(2), 1)

    assert tree(tmp_path / "out") == before


# --- a copy of the checkpoint, beside its original


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)


def copied(spark: SparkSession, tmp_path: Path, *more: Output) -> tuple[StreamPlaces, StreamPlaces]:
    """The places of a stream that has run, and those of one on a copy of its checkpoint."""
    first = dataclasses.replace(places(tmp_path), outputs=(*places(tmp_path).outputs, *more))
    with outputs.held(spark, first, print):
        run_batches(spark, tmp_path, 1)
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "copy")
    return first, dataclasses.replace(first, checkpoint=str(tmp_path / "copy"))


@pytest.mark.parametrize("shared", ["out", "letters"])
def test_a_copy_of_the_checkpoint_is_refused_at_each_output_of_the_original_until_that_has_ended(
    shared: str, impatient: None, spark: SparkSession, tmp_path: Path
) -> None:
    letters = Output("--dead-letters", str(tmp_path / "letters"), "dead_letters")
    first, copy = copied(spark, tmp_path, letters)
    [flag] = [output.flag for output in copy.outputs if output.folder.endswith(shared)]
    copy = dataclasses.replace(
        copy, outputs=tuple(output for output in copy.outputs if output.flag == flag)
    )

    with outputs.held(spark, first, print):
        before = tree(tmp_path / shared)
        with (
            pytest.raises(
                CheckpointInUseError,
                match=f"{flag} {tmp_path}/{shared} is in use by stream_detect .*another output$",
            ),
            outputs.held(spark, copy, print),
        ):
            pytest.fail("both write there")
        assert tree(tmp_path / shared) == before
    with outputs.held(spark, copy, print):
        pass


def test_a_copy_of_the_checkpoint_runs_beside_its_original_at_another_output(
    impatient: None, spark: SparkSession, tmp_path: Path
) -> None:
    first, _ = copied(spark, tmp_path)

    with (
        outputs.held(spark, first, print),
        outputs.held(spark, places(tmp_path, "copy", "new"), print),
    ):
        assert (tmp_path / "new" / "_job").is_file()


def test_of_one_checkpoint_at_its_output_the_checkpoint_is_named(
    impatient: None, spark: SparkSession, tmp_path: Path
) -> None:
    with (
        outputs.held(spark, places(tmp_path), print),
        pytest.raises(CheckpointInUseError, match="^--checkpoint .* is in use by stream_detect"),
        outputs.held(spark, places(tmp_path), print),
    ):
        pytest.fail("both work on it")


def test_readers_of_an_output_do_not_see_its_lease(spark: SparkSession, tmp_path: Path) -> None:
    with outputs.held(spark, places(tmp_path), print):
        run_batches(spark, tmp_path, 2)

        assert (tmp_path / "out" / "_lease").is_dir()
        assert spark.read.parquet(str(tmp_path / "out")).count() == 4
        assert ds.dataset(tmp_path / "out", format="parquet", partitioning="hive").count_rows() == 4


def test_a_folder_in_which_a_job_left_only_its_lease_is_new_to_the_next(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = lease.output_lease(str(tmp_path / "out"))
    with lease.held(spark, folder, "another", print):
        pass

    outputs.claim(spark, places(tmp_path))
