"""How long the dashboard takes for ten million results: to read them once, and for each answer.

``python -m benchmarks.dashboard`` (make bench-dashboard). The rows are made here: eight cameras,
four frames a second in all, twenty labels, one frame in two hundred failed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from pyspark_vision.clients.dashboard import figures
from pyspark_vision.clients.dashboard.answers import AXES, Choice, answer, examples
from pyspark_vision.clients.dashboard.folder import Folder
from pyspark_vision.clients.dashboard.page import make_app
from pyspark_vision.clients.dashboard.places import find_place

_BATCHES = 20
_LIMIT_S = 2.0
_CHOICES = (
    Choice(),
    Choice(cameras=("camera-3",)),
    Choice(events=("label 3", "label 4")),
    Choice(cameras=("camera-1", "camera-2"), events=("label 7",)),
)

_ROWS = """
SELECT 'frames-0-' || i AS origin, t + INTERVAL 1 MILLISECOND * (20 + hash(i) % 900) AS received,
  'camera-' || (i % 8) AS camera_id, t AS timestamp,
  CASE WHEN i % 200 > 0 THEN list_transform(range(CAST(hash(i) % 4 AS INT)), lambda k: {
    class_id: CAST(hash(i * 7 + k) % 20 AS INT), label: 'label ' || (hash(i * 7 + k) % 20),
    score: CAST(0.5 + 0.0005 * (hash(i + k * 13) % 1000) AS FLOAT),
    xmin: CAST(0.1 AS FLOAT), ymin: CAST(0.1 AS FLOAT),
    xmax: CAST(0.6 AS FLOAT), ymax: CAST(0.7 AS FLOAT)}) END AS detections,
  640 AS width, 480 AS height, 'demo-detector' AS model,
  CASE WHEN i % 200 = 0 THEN {code: 'truncated', message: 'the picture ends early'} END AS error
FROM (SELECT i, TIMESTAMP '2026-10-20' + INTERVAL 250 MILLISECONDS * i AS t
      FROM range({first}, {last}) made(i))
"""


def make_results(output: Path, rows: int) -> None:
    """Parquet files as a stream's, each of many batches."""
    each = -(-rows // _BATCHES)
    with duckdb.connect(config={"memory_limit": "1GB"}) as database:
        for batch_id in range(_BATCHES):
            folder = output / f"batch_id={batch_id}"
            folder.mkdir()
            first, last = batch_id * each, min(rows, (batch_id + 1) * each)
            select = _ROWS.replace("{first}", str(first)).replace("{last}", str(last))
            database.execute(f"COPY ({select}) TO '{folder}/part-0.parquet'")


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """(wall, processor) time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        output = Path(place)
        make_results(output, rows)
        size_mb = sum(file.stat().st_size for file in output.rglob("*.parquet")) / 1e6
        print(f"{rows:,} rows, {size_mb:.0f} MB; load average {os.getloadavg()[0]:.1f}")
        folder = Folder(find_place(place), "Europe/Zurich")
        wall, cpu = seconds(folder.look)
        counted = folder.status.summary.rows
        print(f"read once: {wall:.1f} s, {cpu:.1f} s of processor time, {counted:,} rows counted")
        _measure_answers(folder)
        wall, _ = seconds(folder.look)
        print(f"a look without anything new: {wall * 1000:.1f} ms")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB at most")
        folder.close()


def _measure_answers(folder: Folder) -> None:
    summary = folder.status.summary
    times: dict[str, list[tuple[float, float]]] = {}
    labels = [f"label {n}" for n in range(12)]
    for choice in _CHOICES:
        for axis in AXES:

            def draw(choice: Choice = choice, axis: str = axis) -> None:
                answers = answer(summary, choice, axis)
                color_of = figures.colors(answers.labels)
                figures.over_time(answers.over_time, color_of)
                figures.over_axis(answers.over_axis, axis, color_of)
                figures.scores(answers.scores, color_of)

            times.setdefault("answers and figures", []).append(seconds(draw))

        def find(choice: Choice = choice) -> None:
            examples(summary, choice, labels, failed=False)

        times.setdefault("examples", []).append(seconds(find))
    page = make_app(folder, title="bench").server.test_client()
    times["first page"] = [seconds(lambda: page.get("/")) for _ in range(3)]
    for name, both in times.items():
        some, cpu = ([one[which] for one in both] for which in (0, 1))
        met = "met" if max(some) < _LIMIT_S else "not met"
        print(
            f"{name}: {statistics.median(some):.3f} s, slowest {max(some):.3f} s of {len(some)} "
            f"({_LIMIT_S:g} s: {met}); processor time {statistics.median(cpu):.3f} s, at most "
            f"{max(cpu):.3f} s"
        )


if __name__ == "__main__":
    main()
