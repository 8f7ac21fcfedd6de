"""SIGTERM and SIGINT to a running stream: a real process, and what it leaves behind."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import stream_processes as streams
from pyspark.sql import SparkSession

FRAMES = 40


@pytest.mark.parametrize(
    ("how", "number"),
    [
        pytest.param(streams.PYTHON, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(streams.PYTHON, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(
            streams.SPARK_SUBMIT,
            signal.SIGTERM,
            marks=[pytest.mark.slow, pytest.mark.every_spark],
        ),
    ],
)
def test_a_signal_lets_the_batch_in_hand_finish_and_the_next_start_repeats_nothing(
    how: str, number: signal.Signals, spark: SparkSession, root: Path, tmp_path: Path
) -> None:
    streams.draw_frames(tmp_path / "frames", FRAMES)
    flags = ("--max-files-per-trigger", "2", "--trigger", "0.2 seconds")
    with streams.running(how, root, tmp_path, *flags) as job:
        streams.wait_for(lambda: len(streams.batches(tmp_path, "commits")) >= 2, tmp_path)
        job.send_signal(number)
        code = job.wait(timeout=60)

    done = streams.batches(tmp_path, "commits")
    assert code == 0, (tmp_path / "logged").read_text()[-3000:]
    assert streams.batches_out(tmp_path) == done
    assert 2 <= len(done) < FRAMES / 2
    # At most one was planned and not begun; that one is read by the next start.
    assert len(streams.batches(tmp_path, "offsets")) - len(done) in (0, 1)
    assert f"frames in {2 * len(done)}, " in (tmp_path / "printed").read_text()
    assert "Exception" not in (tmp_path / "logged").read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("batch_id=*")}

    assert streams.run_here(root, tmp_path, "--trigger", "available-now") == 0

    assert streams.rows_by_frame(tmp_path) == streams.once_each(FRAMES)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_stream_that_waits_for_its_next_trigger_stops_at_once(root: Path, tmp_path: Path) -> None:
    streams.draw_frames(tmp_path / "frames", 2)
    with streams.running(streams.PYTHON, root, tmp_path, "--trigger", "1 hour") as job:
        streams.wait_for(lambda: streams.batches(tmp_path, "commits") == [0], tmp_path)
        job.terminate()

        assert job.wait(timeout=15) == 0, (tmp_path / "logged").read_text()[-3000:]
    assert streams.rows_by_frame(tmp_path) == streams.once_each(2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("why", "how", "stop_timeout_s"),
    [
        ("a second signal came", streams.SPARK_SUBMIT, "60"),
        ("it took more than --stop-timeout 0.5 s", streams.PYTHON, "0.5"),
    ],
)
def test_a_batch_that_is_given_up_is_named_and_replayed(
    why: str, how: str, stop_timeout_s: str, spark: SparkSession, root: Path, tmp_path: Path
) -> None:
    # Work for much longer than the second signal waits.
    streams.draw_frames(tmp_path / "frames", 100, (4000, 3000))
    flags = ("--exact", "--trigger", "0.2 seconds", "--stop-timeout", stop_timeout_s)
    with streams.running(how, root, tmp_path, *flags) as job:
        streams.wait_for((tmp_path / "out" / "_staging_0").exists, tmp_path)
        job.terminate()
        if stop_timeout_s == "60":
            time.sleep(1.5)  # sooner, it would count as the first one again
            job.terminate()
        code = job.wait(timeout=30)

    # Under spark-submit what Python says on stderr comes out on stdout.
    logged = (tmp_path / "printed").read_text() + (tmp_path / "logged").read_text()
    assert code == 1, logged[-3000:]
    assert f"stopped within batch 0, because {why}; the next start replays it" in logged
    # Workers may say that the driver is gone; it says one line itself.
    for frame in (
        "jobs/stream_detect.py",
        "pyspark_vision/streaming/runner.py",
        "py4j/java_gateway.py",
    ):
        assert f'{frame}", line' not in logged
    assert streams.batches(tmp_path, "commits") == []
    assert streams.batches_out(tmp_path) == []
    assert streams.run_here(root, tmp_path, "--trigger", "available-now") == 0
    assert streams.rows_by_frame(tmp_path) == streams.once_each(100)
