"""What eight workers with one model of 537 MB hold in memory: `python -m benchmarks.shared_pages`.

For each engine, with the model as it is and with the weights that workers share. Workers are forked
from one process that has loaded no engine, as Spark's daemon forks them; each loads the model as a
task does and runs one picture. Memory is the sum of their proportional set sizes
(``/proc/PID/smaps_rollup``): a page that several map counts once in all. A worker that holds more
than its share makes few of them stop: ``--limit`` ends a row before the machine's memory ends.

With ``--in-spark`` the workers are Spark's own: of a query of ``embed_image`` in ``local[8]``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import large_model
from benchmarks.material import VGA_WH, dataset
from benchmarks.places import WORK
from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.models.model_files import sha256_of
from pyspark_vision.executor.models.shared_weights import SharedFolder

_MB = 1_000_000


@dataclasses.dataclass(frozen=True)
class Worker:
    """One worker as it is when it has run its first picture."""

    load_s: float
    run_s: float
    peak_mb: int
    fingerprint: float


@dataclasses.dataclass(frozen=True)
class Held:
    """What some workers hold together, and the last one of them by itself, in MB."""

    workers: int
    total_mb: int
    own_mb: int


def spec_of(engine: str, file_format: str, path: Path) -> ModelSpec:
    """The large model's spec, run by ``engine``."""
    own = "litert" if file_format == "tflite" else "onnx"
    file = ModelFile(own, file_format, path.name, "", "image", (("embedding", "fc2"),))
    return ModelSpec(
        name="vgg16_fc2",
        task="embed",
        files=(file,),
        input_hw=(large_model.SIDE_PX, large_model.SIDE_PX),
        engine=engine,
        input_layout="NHWC" if file_format == "tflite" else "NCHW",
        fixed_batch=1,
        root=str(path.parent),
    )


def hold(
    load: Callable[[], Any], batch: np.ndarray[Any, Any], workers: int, limit_mb: int
) -> tuple[list[Worker], list[Held]]:
    """Fork workers one after the other until there are enough, or they hold more than the limit."""
    said: list[Worker] = []
    held: list[Held] = []
    pids: list[int] = []
    try:
        while len(pids) < workers and (not held or held[-1].total_mb < limit_mb):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                _work(load, batch, writer)
            os.close(writer)
            pids.append(pid)
            with os.fdopen(reader) as answer:
                said.append(Worker(**json.loads(answer.read())))
            sizes = [_proportional_mb(one) for one in pids]
            held.append(Held(len(pids), sum(sizes), _private_mb(pid)))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return said, held


def in_spark(spec: ModelSpec, workers: int) -> tuple[int, int, int, int]:
    """Of Spark's workers and their daemon after a query of five pictures each, in MB: what they
    hold together then and at the most, and one of them by itself; and how many processes."""
    from local_services.proc import command_line, stats
    from pyspark.sql import SparkSession

    from pyspark_vision.functions import embed_image

    session = (
        SparkSession.builder.master(f"local[{workers}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    # From Parquet: rows of Python would have workers of their own beside those that are meant.
    frame = session.read.parquet(str(dataset(VGA_WH, 5 * workers))).repartition(workers)
    result = frame.select(embed_image("content", spec).alias("result"))

    def processes() -> list[int]:
        return [
            pid for pid, _ in stats() if "pyspark.daemon" in command_line(pid) and _is_below(pid)
        ]

    most = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.3):
            most.append(sum(map(_proportional_mb, processes())))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        errors = result.where("result.error is not null").count()
    finally:
        done.set()
        watcher.join()
    found = processes()
    total, own = sum(map(_proportional_mb, found)), max(map(_private_mb, found))
    session.stop()
    if errors:
        raise SystemExit(f"{errors} pictures failed")
    return total, max(most), own, len(found)


def _is_below(pid: int) -> bool:
    """Whether this process is among the parents of that one."""
    try:
        while pid > 1 and pid != os.getpid():
            text = Path(f"/proc/{pid}/stat").read_text()
            pid = int(text.rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return False
    return pid == os.getpid()


def _work(load: Callable[[], Any], batch: np.ndarray[Any, Any], writer: int) -> None:
    try:
        started = time.perf_counter()
        engine = load()
        loaded = time.perf_counter()
        engine.run(batch)
        warm = time.perf_counter()
        (values,) = engine.run(batch).values()
        worker = Worker(
            loaded - started,
            time.perf_counter() - warm,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // _MB,
            float(np.abs(values).sum()),
        )
        os.write(writer, json.dumps(dataclasses.asdict(worker)).encode())
        os.close(writer)
        signal.pause()
    finally:
        os._exit(1)


def _proportional_mb(pid: int) -> int:
    try:
        return _smaps(pid)["Pss"]
    except OSError:  # it ended meanwhile
        return 0


def _private_mb(pid: int) -> int:
    sizes = _smaps(pid)
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


def _smaps(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    words = [line.split() for line in lines]
    return {name.rstrip(":"): int(kb) * 1024 // _MB for name, kb, _ in words}


ENGINES = (
    ("litert", "tflite"),
    ("onnx", "onnx"),
    ("openvino", "onnx"),
    ("openvino", "tflite"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--limit", type=int, default=3000, metavar="MB")
    parser.add_argument("--only", choices=[name for name, _ in ENGINES])
    parser.add_argument("--in-spark", action="store_true")
    options = parser.parse_args()
    folder = WORK / "large"
    folder.mkdir(parents=True, exist_ok=True)
    model_mb = large_model.weights_bytes() // _MB
    print(f"model: {model_mb} MB of weights, {options.workers} workers, one thread each\n")
    if options.in_spark:
        print("| engine | processes | all of them, MB | at the most, MB | one worker's own, MB |")
        print("|---|---|---|---|---|")
        for engine, file_format in ENGINES[:2]:
            if options.only in (None, engine):
                path = _made(folder, file_format)
                spec = spec_of(engine, file_format, path)
                file = dataclasses.replace(spec.file, sha256=sha256_of(path))
                spec = dataclasses.replace(spec, files=(file,))
                total, most, own, processes = in_spark(spec, options.workers)
                print(f"| {engine} | {processes} | {total} | {most} | {own} |", flush=True)
        return
    print(
        "| engine | file | weights | workers | all of them, MB | one more worker, MB "
        "| first worker's peak, MB | its load, s | next load, s | run, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for engine, file_format in ENGINES:
        if options.only in (None, engine):
            for is_shared in (False, True):
                print(row(engine, file_format, folder, is_shared, options), flush=True)


def row(
    engine: str, file_format: str, folder: Path, is_shared: bool, options: argparse.Namespace
) -> str:
    """One line of the table."""
    path = _made(folder, file_format)
    spec = spec_of(engine, file_format, path)
    batch = np.random.default_rng(0).random(spec.input_shape(1), np.float32)
    with tempfile.TemporaryDirectory(dir=folder) as executor:
        shared = SharedFolder(executor, "0") if is_shared else None
        workers, held = hold(
            lambda: load_engine(spec, str(path), 1, shared), batch, options.workers, options.limit
        )
    if len({round(worker.fingerprint, 2) for worker in workers}) > 1:
        raise SystemExit(f"{engine}: workers' answers differ")
    first, last = workers[0], workers[-1]
    stopped = "" if held[-1].workers == options.workers else " (stopped)"
    cells = (
        engine,
        f".{file_format}",
        "shared" if is_shared else "as they are",
        f"{held[-1].workers}{stopped}",
        held[-1].total_mb,
        held[-1].own_mb,
        first.peak_mb,
        f"{first.load_s:.1f}",
        f"{last.load_s:.1f}",
        f"{min(worker.run_s for worker in workers):.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _made(folder: Path, file_format: str) -> Path:
    path = folder / f"vgg16_fc2.{file_format}"
    if not path.exists():
        _in_child(
            large_model.save_tflite if file_format == "tflite" else large_model.save_onnx, path
        )
    return path


def _in_child(make: Callable[[Path], Path], path: Path) -> None:
    """What making it leaves in memory is nobody's here."""
    pid = os.fork()
    if pid == 0:
        fresh = path.with_name(f"{path.name}.partial")
        try:
            make(fresh)
            os.rename(fresh, path)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit(f"{path} could not be made")


if __name__ == "__main__":
    main()
