"""PyctureStream's messages read by two checkouts side by side: messages per second, and the ratio.

``python -m benchmarks.message_parsing --before FOLDER``: FOLDER is another checkout of this
project, ``git worktree add FOLDER COMMIT``. Each has a Spark of its own, on two cores, and reads
the same messages in turns: fields, checks and the picture's bytes, as ``stream_detect`` does before
its model. What else the machine does meets both.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
_DISTINCT = 50
_WARM_UPS = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each checkout, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True, metavar="FOLDER", help="the other checkout")
    parser.add_argument("--messages", type=int, default=4000, help="in each turn")
    parser.add_argument("--turns", type=int, default=30, help="of each checkout")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-messages-") as folder:
        file = Path(folder, "messages.parquet")
        write_messages(file, given.messages)
        checkouts = {"before": Path(given.before), "now": ROOT}
        readers = {name: Reader(checkout, file) for name, checkout in checkouts.items()}
        try:
            turns: dict[str, list[float]] = {name: [] for name in readers}
            for turn in range(_WARM_UPS + given.turns):
                for name, reader in readers.items():
                    seconds = reader.turn()
                    if turn >= _WARM_UPS:
                        turns[name].append(seconds)
        finally:
            for reader in readers.values():
                reader.close()
    for name, seconds_of in turns.items():
        rate = given.messages / statistics.median(seconds_of)
        print(f"{name} ({checkouts[name]}): {rate:,.0f} messages/s")
    ratios = [old / new for old, new in zip(turns["before"], turns["now"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"now/before: {statistics.median(ratios):.3f} (half of the turns {low:.3f} to {high:.3f})"
    )


def write_messages(file: Path, count: int) -> None:
    """Frames of 640x480, as PyctureStream's camera sends them."""
    from pyspark_vision.clients.scenes import draw_frame

    now = dt.datetime(2026, 11, 28, 8, 0, 0, 1)
    values = []
    for number in range(_DISTINCT):
        path = file.with_name("frame.jpg")
        draw_frame(number + 1, 0)[0].save(path, quality=85)
        image = base64.b64encode(path.read_bytes()).decode()
        message = {"image": image, "timestamp": now.isoformat(), "camera_id": "front"}
        values.append(json.dumps(message).encode())
    column = pa.array([values[number % _DISTINCT] for number in range(count)], pa.binary())
    size = len(column[0].as_py())
    print(f"{count} messages of about {size // 1000} kB", flush=True)
    # Two row groups for two cores.
    pq.write_table(pa.table({"value": column}), file, row_group_size=count // 2, compression=None)


class Reader:
    """A process with one checkout's package, which reads all messages when it is asked."""

    def __init__(self, checkout: Path, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--read", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=checkout,
        )

    def turn(self) -> float:
        """Seconds for all messages."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("read\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def read(file: str) -> None:
    """One pass for each line of stdin, its seconds on stdout; in a process of its own."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    from pyspark_vision.messages.pycturestream import FrameFormat, read_frames, with_picture

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        # 4,096 rows, the default, would be 430 MB in one array: more than its heap has room for.
        .config("spark.sql.parquet.columnarReaderBatchSize", "256")
        .getOrCreate()
    )
    how = FrameFormat("UTC")
    frames = read_frames(session.read.parquet(file), how)
    frames = frames.withColumn("dropped", F.lit(None).cast("string"))
    pictures = with_picture(frames, how)
    counted = pictures.agg(
        F.sum(F.length("picture.content")), F.count("picture.error"), F.max("timestamp")
    )
    for _ in sys.stdin:
        began = time.monotonic()
        [(content_bytes, errors, _)] = counted.collect()
        print(time.monotonic() - began, flush=True)
        assert content_bytes > 0
        assert errors == 0
    session.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        # Of the checkout that PYTHONPATH names, not of the folder of this file.
        sys.path[:] = [path for path in sys.path if path != str(ROOT / "benchmarks")]
        read(sys.argv[2])
    else:
        main()
