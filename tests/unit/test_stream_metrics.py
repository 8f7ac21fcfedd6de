"""A running job's numbers: at its endpoint, in its log, and in Spark's own progress."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import stream_processes as streams
from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import StreamingQueryListener
from test_jobs import job


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

    assert 'pyspark_vision_rows_total{job_name="stream_detect"} 4' in lines
    assert 'pyspark_vision_rows_failed_total{job_name="stream_detect",code="truncated"} 1' in lines
    logged = (tmp_path / "logged").read_text()
    [record] = [json.loads(line) for line in re.findall(r"streaming: (\{.*\})", logged)]
    sizes = [file.stat().st_size for file in frames.iterdir()]
    assert record["payload_bytes"] == sum(sizes)
    assert record["failed"] == {"truncated": 1}
    assert record["model_ms"]["sum"] > record["model_ms"]["mean"] > 0
    assert record["age_p95_s"] >= record["age_p50_s"] > 0


def test_sparks_own_progress_has_what_came_in(
    spark: SparkSession, root: Path, tmp_path: Path
) -> None:
    frames = streams.draw_frames(tmp_path / "frames", 3)
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    class Listener(StreamingQueryListener):
        def onQueryStarted(self, event: Any) -> None:
            pass

        def onQueryProgress(self, event: Any) -> None:
            seen.append(event.progress.observedMetrics["pyspark_vision"].asDict())

        def onQueryTerminated(self, event: Any) -> None:
            ended.set()

    listener = Listener()
    spark.streams.addListener(listener)
    try:
        flags = streams.detect_flags(root, tmp_path, "--trigger", "available-now")
        assert job(root, "stream_detect").main(flags) == 0
        assert ended.wait(20)
    finally:
        spark.streams.removeListener(listener)

    assert seen[0] == {
        "rows": 3,
        "payload_bytes": sum(file.stat().st_size for file in frames.iterdir()),
    }
