"""Stream jobs as processes of their own, to be signalled and killed; what is left behind them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from job_environment import job_environment
from job_scripts import job

from pyspark_vision.clients import scenes

PYTHON, SPARK_SUBMIT = "python", "spark-submit"

_CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.master": "local[2]",
}


def draw_frames(folder: Path, count: int, size: tuple[int, int] = (320, 240)) -> Path:
    """``count`` files of one picture, named by their number."""
    folder.mkdir()
    scenes.draw_scene(1, size)[0].save(folder / "0.jpg")
    for number in range(1, count):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    return folder


def detect_flags(root: Path, folder: Path, *more: str) -> list[str]:
    """Of ``stream_detect``: ``folder/frames`` to Parquet in ``folder/out``."""
    return [
        *("--input", str(folder / "frames"), "--model", str(root / "models" / "demo-detector")),
        *("--output", str(folder / "out"), "--checkpoint", str(folder / "checkpoint"), *more),
    ]


@contextmanager
def running(how: str, root: Path, folder: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """``stream_detect`` as a process; what it prints goes to ``printed`` and ``logged``."""
    command = [sys.executable]
    if how == SPARK_SUBMIT:
        command = [str(Path(sys.executable).parent / "spark-submit")]
        command += [word for item in _CONF.items() for word in ("--conf", "=".join(item))]
    environment = job_environment(_CONF if how == PYTHON else None)
    command += [str(root / "jobs" / "stream_detect.py"), *detect_flags(root, folder, *flags)]
    with (
        open(folder / "printed", "wb") as out,
        open(folder / "logged", "wb") as err,
        subprocess.Popen(command, stdout=out, stderr=err, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def run_here(root: Path, folder: Path, *flags: str) -> int:
    """The same job in this process, on the tests' session; its exit code."""
    return int(job(root, "stream_detect").main(detect_flags(root, folder, *flags)))


def wait_for(condition: Callable[[], bool], folder: Path, timeout_s: float = 240) -> None:
    """Until it holds; fails with what the process has logged."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, (folder / "logged").read_text()[-3000:]
        time.sleep(0.05)


def batches(folder: Path, log: str) -> list[int]:
    """The batches in ``offsets`` (planned) or ``commits`` (done) of the checkpoint."""
    files = (folder / "checkpoint" / log).glob("[0-9]*")
    return sorted(int(file.name) for file in files)


def batches_out(folder: Path) -> list[int]:
    """The batches that readers of the output see."""
    folders = (folder / "out").glob("batch_id=*")
    return sorted(int(found.name.removeprefix("batch_id=")) for found in folders)


def rows_by_frame(folder: Path) -> Counter[str]:
    """How often each frame is in the output, by another engine than the job's."""
    origins = pq.read_table(folder / "out").column("origin").to_pylist()
    return Counter(origin.rsplit("/", 1)[-1] for origin in origins)


def once_each(count: int) -> Counter[str]:
    return Counter({f"{number}.jpg": 1 for number in range(count)})
