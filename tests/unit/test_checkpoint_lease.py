"""One job at a time on a checkpoint: on local disks, and by files as on HDFS and object stores."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import stream_processes as streams
from lease_race import outcomes_of_two
from pyspark.sql import SparkSession

from pyspark_vision.errors import CheckpointInUseError, InvalidOptionError
from pyspark_vision.spark import hadoop
from pyspark_vision.streaming import lease


@pytest.mark.slow
def test_a_second_copy_is_refused_while_the_first_lives_and_not_after_it_was_killed(
    root: Path, tmp_path: Path
) -> None:
    streams.draw_frames(tmp_path / "frames", 2)
    with streams.running(streams.PYTHON, root, tmp_path, "--trigger", "1 hour") as first:
        streams.wait_for(lambda: streams.batches(tmp_path, "commits") == [0], tmp_path)
        with streams.running(streams.PYTHON, root, tmp_path) as second:
            assert second.wait(timeout=60) == 2
        logged = (tmp_path / "logged").read_text()
        assert f"{tmp_path}/checkpoint is in use by stream_detect (local-" in logged
        assert f"process {first.pid} on " in logged
        assert first.poll() is None
        first.kill()

    with streams.running(streams.PYTHON, root, tmp_path, "--trigger", "available-now") as third:
        assert third.wait(timeout=60) == 0, (tmp_path / "logged").read_text()[-3000:]
    assert streams.rows_by_frame(tmp_path) == streams.once_each(2)


@pytest.mark.slow
def test_a_copy_of_the_checkpoint_is_refused_while_the_first_lives_and_told_of_its_batches_after(
    root: Path, tmp_path: Path
) -> None:
    streams.draw_frames(tmp_path / "frames", 4)
    few = ("--max-files-per-trigger", "2", "--settle", "0")
    now = ("--trigger", "available-now", *few)
    at_copy = ("--checkpoint", str(tmp_path / "copy"), *now)
    with streams.running(streams.PYTHON, root, tmp_path, "--trigger", "1 second", *few) as first:
        streams.wait_for(lambda: 0 in streams.batches(tmp_path, "commits"), tmp_path)
        shutil.copytree(
            tmp_path / "checkpoint", tmp_path / "copy", ignore=shutil.ignore_patterns("1", ".1.crc")
        )
        with streams.running(streams.PYTHON, root, tmp_path, *at_copy) as second:
            assert second.wait(timeout=60) == 2
        logged = (tmp_path / "logged").read_text()
        assert f"--output {tmp_path}/out is in use by stream_detect (local-" in logged
        assert f"process {first.pid} on " in logged
        assert "Stop that job first, or choose another output\n" in logged
        streams.wait_for(lambda: streams.batches(tmp_path, "commits") == [0, 1], tmp_path)
        first.kill()

    with streams.running(streams.PYTHON, root, tmp_path, *at_copy) as third:
        assert third.wait(timeout=60) == 2
    assert (
        f"--output {tmp_path}/out holds batches 1, which --checkpoint"
        in (tmp_path / "logged").read_text()
    )
    shutil.rmtree(tmp_path / "checkpoint")
    (tmp_path / "copy").rename(tmp_path / "checkpoint")
    with streams.running(streams.PYTHON, root, tmp_path, *now, "--remove-beyond") as fourth:
        assert fourth.wait(timeout=60) == 0, (tmp_path / "logged").read_text()[-3000:]
    assert streams.rows_by_frame(tmp_path) == streams.once_each(4)


def test_one_of_two_in_the_same_instant_wins(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)

    assert outcomes_of_two(spark, str(tmp_path)) == ["held", "refused"]


@pytest.fixture
def by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that is not this machine's, and fifty times as fast."""
    monkeypatch.setattr(lease, "LOCAL_SCHEMES", ())
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.2)
    monkeypatch.setattr(lease, "STALE_AFTER_S", 1.5)
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)
    monkeypatch.setattr(hadoop, "_ATOMIC", ())
    monkeypatch.setattr(hadoop, "_SETTLED_AFTER_S", 0.3)


def test_a_lease_file_goes_with_its_holder_and_refuses_others_before(
    by_files: None, spark: SparkSession, tmp_path: Path
) -> None:
    with (
        lease.held(spark, str(tmp_path), "job", lambda reason: None),
        pytest.raises(CheckpointInUseError, match="is in use by job"),
        lease.held(spark, str(tmp_path), "job", lambda reason: None),
    ):
        pytest.fail("two hold it")
    assert [file.name for file in (tmp_path / "lease").glob("[0-9]*")] == []
    with lease.held(spark, str(tmp_path), "job", lambda reason: None):
        assert [file.name for file in (tmp_path / "lease").glob("[0-9]*")] == ["1"]


def test_a_lease_file_that_is_empty_while_it_is_renewed_still_names_its_holder(
    by_files: None, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = hadoop.read_text
    reads = itertools.count()

    def renewed_just_now(session: SparkSession | None, uri: str) -> str | None:
        return "" if next(reads) % 2 == 0 else read_text(session, uri)

    with lease.held(spark, str(tmp_path), "job", lambda reason: None):
        monkeypatch.setattr(hadoop, "read_text", renewed_just_now)
        with (
            pytest.raises(CheckpointInUseError, match="is in use by job"),
            lease.held(spark, str(tmp_path), "job", lambda reason: None),
        ):
            pytest.fail("two hold it")


def test_a_disk_without_locks_has_lease_files(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)

    with (
        lease.held(spark, str(tmp_path), "job", lambda reason: None),
        pytest.raises(CheckpointInUseError, match="is in use by job"),
        lease.held(spark, str(tmp_path), "job", lambda reason: None),
    ):
        pytest.fail("two hold it")


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_at_once(
    by_files: None, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_lease(spark, tmp_path, process_started="1")
    monkeypatch.setattr(lease, "PATIENCE_S", 60.0)

    began_at = time.monotonic()
    with lease.held(spark, str(tmp_path), "job", lambda reason: None):
        assert time.monotonic() - began_at < 60
        assert [file.name for file in (tmp_path / "lease").glob("[0-9]*")] == ["8"]


def test_another_machines_lease_is_taken_when_it_is_no_longer_renewed(
    by_files: None, spark: SparkSession, tmp_path: Path
) -> None:
    leave_lease(spark, tmp_path, machine="other")

    began_at = time.monotonic()
    with lease.held(spark, str(tmp_path), "job", lambda reason: None):
        assert time.monotonic() - began_at > 1.5


def test_another_machines_lease_that_is_renewed_refuses(
    by_files: None, spark: SparkSession, tmp_path: Path
) -> None:
    file = leave_lease(spark, tmp_path, machine="other")
    text = file.read_text()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.3):
            file.write_text(text)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with (
            pytest.raises(CheckpointInUseError, match="process 1 on far"),
            lease.held(spark, str(tmp_path), "job", lambda reason: None),
        ):
            pytest.fail("two hold it")
    finally:
        ended.set()
        thread.join()


def test_a_holder_learns_that_another_took_its_lease(
    by_files: None, spark: SparkSession, tmp_path: Path
) -> None:
    reasons: list[str] = []
    with lease.held(spark, str(tmp_path), "job", reasons.append):
        leave_lease(spark, tmp_path, machine="other")
        time.sleep(1)

    [reason] = reasons
    assert reason.startswith(f"another job took `checkpoint` {tmp_path}, which this one had not")


def test_the_leases_of_one_dead_job_are_waited_for_at_the_same_time(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(lease, "LOCAL_SCHEMES", ())
    monkeypatch.setattr(lease, "time", clock)
    folders = [tmp_path / name for name in ("checkpoint", "out", "letters")]
    for folder in folders:
        leave_lease(spark, folder, machine="other")

    shown = {folder.name: str(folder) for folder in folders}
    with lease.all_held(spark, shown, "job", lambda reason: None):
        assert 20 < clock.now <= 21


def leave_lease(spark: SparkSession, folder: Path, **other: str) -> Path:
    """The seventh lease of a checkpoint, of another process."""
    owner = dataclasses.replace(lease._this_process(spark, "job"), pid=1, host="far", **other)
    file = folder / "lease" / "7"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dataclasses.asdict(owner)))
    return file


def test_a_folder_that_cannot_be_made_is_one_line(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(InvalidOptionError, match="--output x cannot be written: Not a directory"),
        lease.held(spark, f"{tmp_path}/file/out", "job", lambda reason: None, "--output x"),
    ):
        pass
