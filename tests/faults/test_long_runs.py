"""A thousand micro-batches: what the job's processes hold does not grow."""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case
from local_services import proc
from local_services.kafka import Kafka
from pictures import scene_jpeg

_BATCHES, _SETTLED_AT = 1000, 200
_ROWS = 4
_MAX_GROWTH = 0.05
# spark.sql.streaming.minBatchesToRetain is 100; Spark removes older ones a batch later.
_MAX_LOG_FILES = 110
# The JVM's pools of threads and its selectors come and go by some.
_MAX_MORE = 10


@dataclass(frozen=True)
class Held:
    """What a process holds: memory in MB, open files, threads."""

    memory_mb: float
    files: int
    threads: int


def held(pid: int) -> Held:
    """Now."""
    folder = Path(f"/proc/{pid}")
    files, threads = (len(list((folder / name).iterdir())) for name in ("fd", "task"))
    return Held(proc.memory_mb(pid, "VmRSS"), files, threads)


def sample(job: DetectJob, process: subprocess.Popen[bytes]) -> dict[str, Held]:
    """Of the driver's two processes, the daemon and the largest worker; the JVM's garbage gone."""
    jvm = job.jvm(process)
    subprocess.run(["jcmd", str(jvm), "GC.run"], check=True, capture_output=True, timeout=60)
    workers = job.workers(process)
    [daemon] = [pid for pid in job.daemons(process) if pid not in workers]
    largest = max(workers, key=lambda pid: proc.memory_mb(pid, "VmRSS"))
    return {
        "driver's JVM": held(jvm),
        "driver's Python": held(process.pid),
        "daemon": held(daemon),
        "worker": held(largest),
    }


@pytest.mark.full_size
def test_a_thousand_batches_leave_memory_files_and_threads_flat(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case
) -> None:
    case.injected = f"{_BATCHES} batches of {_ROWS} frames"
    case.expected = (
        f"memory grows by less than {_MAX_GROWTH:.0%} from batch {_SETTLED_AT}, "
        f"files and threads by no more than {_MAX_MORE}"
    )
    topic, results = frames.topics(kafka.bootstrap_servers)
    message = frames.message(1, scene_jpeg(1, 160, 120))
    count = (_BATCHES + 20) * _ROWS
    frames.produce(kafka.bootstrap_servers, topic, ((0, message) for _ in range(count)))
    sent = frames.Sent(topic, results, {(0, at): 1 for at in range(count)}, frozenset())
    job = DetectJob(
        *(root, tmp_path, kafka.bootstrap_servers, sent, _ROWS),
        # A heap that is all there from the start, so that what grows is not the heap's own pace;
        # and both compilers, as in a JVM of a user's.
        conf={
            "spark.driver.memory": "512m",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=4 -Xms512m -XX:+AlwaysPreTouch",
        },
    )
    samples: dict[int, list[dict[str, Held]]] = {_SETTLED_AT: [], _BATCHES: []}
    with job.running() as process:
        for at, found in samples.items():
            while job.planned() < at - 10:
                assert process.poll() is None, job.tail()
                time.sleep(0.5)
            for _ in range(5):
                found.append(sample(job, process))
                time.sleep(1)
    logs = {
        name: len(list((tmp_path / "checkpoint" / name).glob("[0-9]*")))
        for name in ("offsets", "commits")
    }
    early, late = samples[_SETTLED_AT], samples[_BATCHES]
    problems, words = [], []
    for name in early[0]:
        before, after = (
            statistics.median(one[name].memory_mb for one in found) for found in (early, late)
        )
        growth = after / before - 1
        files, threads = (
            int(statistics.median(getattr(one[name], what) for one in late))
            - int(statistics.median(getattr(one[name], what) for one in early))
            for what in ("files", "threads")
        )
        words.append(f"{name} {before:.0f} -> {after:.0f} MB, {files:+} files, {threads:+} threads")
        if growth >= _MAX_GROWTH or max(files, threads) > _MAX_MORE:
            problems.append(words[-1])
    case.found = "; ".join(words) + f"; files of the checkpoint's logs {logs}"
    assert problems == []
    assert max(logs.values()) <= _MAX_LOG_FILES
