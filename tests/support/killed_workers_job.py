"""A job whose Python workers are killed while it runs; prints one JSON line. Run by test_workers.

Killed are processes that this script's own Spark started, found by their parent, by process id.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.functions import detect_objects

ROWS, KILLS = 600, 3


def workers() -> list[int]:
    """Children of the daemon(s) that this process's JVM started."""
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        below = children(pid)
        # A worker is a fork of its daemon, whose command line it keeps. A worker's own child, which
        # a retry works in, is no worker.
        if is_daemon(pid):
            found += filter(is_daemon, below)
        waiting += below
    return found


def is_daemon(pid: int) -> bool:
    """Whether it is a daemon of workers, or one of its workers."""
    return b"pyspark.daemon" in read(Path(f"/proc/{pid}/cmdline"))


def children(pid: int) -> list[int]:
    """Each thread has its own list; a JVM's threads come and go while they are read."""
    lists = [read(file) for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for text in lists for child in text.split()]


def read(file: Path) -> bytes:
    """Nothing where the process or thread has ended meanwhile."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def main(model_uri: str) -> None:
    spark = (
        SparkSession.builder.master("local[2,8]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "OFF")
        .getOrCreate()
    )
    buffers = []
    for seed in range(30):
        buffer = io.BytesIO()
        scenes.draw_scene(seed, (320, 240))[0].save(buffer, "JPEG")
        buffers.append(buffer.getvalue())
    rows = [(i, buffers[i % 30] if i % 50 else b"bad") for i in range(ROWS)]
    frames = spark.createDataFrame(rows, "id int, content binary").repartition(6).cache()
    frames.count()
    model = ModelSpec.load(model_uri)
    found = frames.select("id", detect_objects("content", model, 0.3).alias("r"))
    expected = sorted(found.collect())

    killed: set[int] = set()
    finished = threading.Event()

    def kill() -> None:
        while len(killed) < KILLS and not finished.wait(0.1):
            # A busy worker is in the middle of its task; an idle one would prove nothing. On a
            # loaded machine a busy one gets little of the CPU.
            for pid in [pid for pid in workers() if pid not in killed and cpu_growth(pid) > 0][:1]:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        rows_found = sorted(found.collect())
    finally:
        finished.set()
        killer.join()
    print(
        json.dumps(
            {
                "killed": len(killed),
                "rows": len(rows_found),
                "same_as_without_kills": rows_found == expected,
            }
        )
    )
    spark.stop()


def cpu_growth(pid: int) -> int:
    """Clock ticks of CPU that the process used within 50 ms."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    try:
        before = ticks()
        time.sleep(0.05)
        return ticks() - before
    except OSError:
        return 0


if __name__ == "__main__":
    main(sys.argv[1])
