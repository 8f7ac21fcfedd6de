"""A running job's numbers: at its endpoint, in its log, and in Spark's own progress."""

from __future__ import annotations

import argparse
import errno
import json
import re
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
import stream_processes as streams
from job_scripts import job
from pyspark.sql import SparkSession
from stream_progress import observed_batches

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job import flags
from pyspark_vision.sinks.console import ROWS_SHOWN
from pyspark_vision.spark import internals
from pyspark_vision.streaming.metrics import StreamMetrics, check_port, served


def test_a_running_job_is_scraped_and_logs_a_line_for_each_batch(
    root: Path, tmp_path: Path
) -> None:
    frames = streams.draw_frames(tmp_path / "frames", 3)
    broken = frames / "broken.jpg"
    broken.write_bytes((frames / "0.jpg").read_bytes()[:3000])
    flags = ("--trigger", "1 hour", "--metrics-port", "auto")
    with streams.running(streams.PYTHON, root, tmp_path, *flags):
        streams.wait_for(lambda: streams.batches(tmp_path, "commits") == [0], tmp_path)
        printed = (tmp_path / "printed").read_text()
        address = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", printed)
        assert address is not None
        with urllib.request.urlopen(address[1], timeout=10) as answer:
            lines = answer.read().decode().splitlines()

    assert 'pyspark_vision_rows_total{job_name="stream_detect"} 4.0' in lines
    labels = 'code="truncated",job_name="stream_detect"'
    assert f"pyspark_vision_rows_failed_total{{{labels}}} 1.0" in lines
    logged = (tmp_path / "logged").read_text()
    [record] = [json.loads(line) for line in re.findall(r"streaming: (\{.*\})", logged)]
    sizes = [file.stat().st_size for file in frames.iterdir()]
    assert record["payload_bytes"] == sum(sizes)
    assert record["failed"] == {"truncated": 1}
    assert record["model_ms"]["sum"] > record["model_ms"]["mean"] > 0
    assert record["age_p95_s"] >= record["age_p50_s"] > 0


@pytest.mark.slow
def test_sparks_own_progress_has_the_counters_of_results(
    spark: SparkSession, root: Path, tmp_path: Path
) -> None:
    frames = streams.draw_frames(tmp_path / "frames", 3)
    (frames / "broken.jpg").write_bytes((frames / "0.jpg").read_bytes()[:3000])
    with observed_batches(spark) as seen:
        flags = streams.detect_flags(root, tmp_path, "--trigger", "available-now")
        assert job(root, "stream_detect").main(flags) == 0

    counted = {name: value for name, value in seen[0].items() if value and name != "times"}
    assert counted.pop("decode_ms") > 0
    assert counted.pop("model_ms") > 0
    assert counted == {
        "rows": 4,
        "with_result": 3,
        "failed_truncated": 1,
        "decoded_rows": 4,
        "model_rows": 3,
        "payload_bytes": sum(file.stat().st_size for file in frames.iterdir()),
    }


@pytest.mark.slow
def test_where_spark_does_not_say_what_a_batch_had_its_rows_are_counted_all_the_same(
    spark: SparkSession,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(internals, "observed_metrics", lambda query, name: None)
    frames = streams.draw_frames(tmp_path / "frames", 3)
    (frames / "broken.jpg").write_bytes((frames / "0.jpg").read_bytes()[:3000])
    flags = ("--trigger", "available-now", "--max-files-per-trigger", "2")

    assert job(root, "stream_detect").main(streams.detect_flags(root, tmp_path, *flags)) == 0

    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "stream_detect: frames in 4, detected 3, failed 1 (truncated 1)"


def test_rows_that_the_console_does_not_show_are_computed_and_counted(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streams.draw_frames(tmp_path / "frames", ROWS_SHOWN + 7)
    flags = streams.detect_flags(root, tmp_path, "--trigger", "available-now", "--sink", "console")

    assert job(root, "stream_detect").main(flags) == 0

    shown = capsys.readouterr().out.splitlines()
    assert len([line for line in shown if line.startswith("batch 0: ")]) == ROWS_SHOWN
    assert shown[-1].startswith(f"stream_detect: frames in {ROWS_SHOWN + 7}, ")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("stream_detect", "--input i --output o --model m --checkpoint c"),
        ("extract_events", "--output o --stream --checkpoint c"),
        ("stream_classify", "--checkpoint c"),
    ],
)
def test_a_taken_port_is_refused_before_spark_starts(
    name: str, flags: str, no_session: None, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(SystemExit) as exit_:
            job(root, name).main([*flags.split(), "--metrics-port", str(port)])

    assert exit_.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"--metrics-port {port}: another program has port {port} of 127.0.0.1" in said
    assert "or auto for one that is free" in said


@pytest.mark.parametrize("port", ["auto", "9400"])
def test_metrics_without_their_package_are_refused_before_spark_starts(
    port: str,
    no_session: None,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(SystemExit) as exit_:
        job(root, "stream_classify").main(["--checkpoint", "c", "--metrics-port", port])

    assert exit_.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "--metrics-port needs prometheus_client: pip install pyspark_vision[metrics]" in said


def test_a_port_that_the_user_may_not_have_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", denied)

    with pytest.raises(InvalidOptionError, match=r"this user may not have port 80 .* or auto"):
        check_port(80)


def test_a_port_that_was_tried_can_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    check_port(port)

    with served(StreamMetrics("job"), port) as got:
        assert got == port


@pytest.mark.parametrize("text", ["abc", "-1", "65536", "94.5", ""])
def test_what_is_no_port_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="1 to 65535, auto for a free one, or 0"):
        flags.metrics_port(text)
