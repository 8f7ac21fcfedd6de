"""stream_detect as a process of its own, Kafka in, three sinks out; to be killed and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_services import jars
from local_services.process import DIE_WITH_PARENT
from numbered_frames import Sent

from benchmarks import proc

_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
}


@dataclass(frozen=True)
class DetectJob:
    """One job: its folder (checkpoint, output, dead letters, log), brokers and topics."""

    root: Path
    folder: Path
    servers: str
    sent: Sent
    batch_rows: int = 1000
    flags: Sequence[str] = ()

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def dead_letters(self) -> Path:
        return self.folder / "dead"

    @property
    def log(self) -> Path:
        return self.folder / "logged"

    @contextmanager
    def running(self, trigger: str = "0 seconds") -> Iterator[subprocess.Popen[bytes]]:
        """The job until the block ends; then nothing of it is left."""
        conf = {**_CONF, "spark.jars": ",".join(str(jar) for jar in jars.files("kafka"))}
        submit = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
        environment = {
            **os.environ,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": " ".join([*submit, "pyspark-shell"]),
        }
        command = [sys.executable, str(self.root / "jobs" / "stream_detect.py"), *self._flags()]
        # It ends with the tests, even with tests that were killed.
        tied = [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid())]
        with (
            self.log.open("ab") as log,
            subprocess.Popen(
                [*tied, *command, "--trigger", trigger],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # by which its JVM is found
            ) as process,
        ):
            try:
                yield process
            finally:
                self.kill(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the driver, Python and JVM; its workers end when the JVM is gone."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def finish(self, timeout_s: float) -> int:
        """Read what is left, and stop; the exit code."""
        with self.running("available-now") as process:
            return process.wait(timeout_s)

    def workers(self, process: subprocess.Popen[bytes]) -> list[int]:
        """Spark's Python workers of the job, without the daemon that forks them."""
        daemons = {
            pid for pid in proc.members(process.pid) if "pyspark.daemon" in proc.command_line(pid)
        }
        parents = {pid: int(fields[1]) for pid, fields in proc.stats()}
        return [pid for pid in daemons if parents.get(pid) in daemons]

    def planned(self) -> int:
        """Batches that were begun."""
        return len(list((self.folder / "checkpoint" / "offsets").glob("[0-9]*")))

    def wait_for_new_batch(self, process: subprocess.Popen[bytes], timeout_s: float = 60) -> None:
        """Until a batch more is begun; or long enough, for a job that has nothing left to do."""
        before, deadline = self.planned(), time.monotonic() + timeout_s
        while self.planned() <= before and time.monotonic() < deadline:
            assert process.poll() is None, self.tail()
            time.sleep(0.05)

    def tail(self) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-3000:]

    def _flags(self) -> list[str]:
        return [
            *("--kafka-servers", self.servers, "--kafka-topic", self.sent.topic),
            *("--starting-offsets", "earliest", "--keep-all", "--time-zone", "UTC"),
            *("--max-offsets-per-trigger", str(self.batch_rows)),
            *("--model", str(self.root / "models" / "demo-detector")),
            *("--sink", "parquet", "kafka", "--output", str(self.output)),
            *("--output-kafka-topic", self.sent.results),
            *("--dead-letters", str(self.dead_letters)),
            *("--checkpoint", str(self.folder / "checkpoint")),
            *self.flags,
        ]
