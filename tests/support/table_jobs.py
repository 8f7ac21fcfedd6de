"""A job that writes a table, whatever the table's format: what each format's test asks of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import job_runs as jobs
from pictures import scene_jpeg


def run_twice_and_once_more(sink: str, table: Path, folder: Path) -> None:
    """Two batches of a frame each, and then the second again, as after a kill before its commit."""
    frames = folder / "frames"
    frames.mkdir()
    arguments = [
        *("--input", frames, "--model", jobs.model("demo-detector")),
        *("--checkpoint", folder / "c", "--trigger", "available-now"),
        *("--sink", sink, "--table", table),
    ]

    for number in range(2):
        (frames / f"{number}.jpg").write_bytes(scene_jpeg(number))
        assert jobs.run("stream_detect", *arguments) == 0
    for name in ("1", ".1.crc"):
        (folder / "c" / "commits" / name).unlink()  # as if it had died before Spark's commit
    assert jobs.run("stream_detect", *arguments) == 0


def last_line_without_release(sink: str, table: Path, folder: Path, said: Callable[[], str]) -> str:
    """What a job says that cannot write; ``said``: standard error so far."""
    (folder / "frames").mkdir()
    code = jobs.run(
        *("stream_detect", "--input", folder / "frames", "--checkpoint", folder / "c"),
        *("--model", jobs.model("demo-detector"), "--sink", sink, "--table", table),
    )

    assert code == 2
    return said().splitlines()[-1]
