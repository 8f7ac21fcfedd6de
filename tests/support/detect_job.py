"""stream_detect as a process of its own, Kafka in, three sinks out; to be killed and run again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from job_environment import job_environment
from local_services import jars, proc
from local_services.process import wait_until
from numbered_frames import Sent
from own_session import in_own_session, kill_session

_CONF = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
}


@dataclass(frozen=True)
class DetectJob:
    """One job: its brokers and topics, and a folder for its log, checkpoint and output.

    With ``storage``, a URI, the job has checkpoint, output and dead letters below that; whoever
    looks at them copies them into the folder. ``launcher`` stands before the job's command.
    """

    root: Path
    folder: Path
    servers: str
    sent: Sent
    batch_rows: int = 1000
    flags: Sequence[str] = ()
    model: Path | None = None
    storage: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] = ()

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
        all_jars = ",".join(str(jar) for jar in jars.files("kafka"))
        environment = job_environment({**_CONF, "spark.jars": all_jars, **self.conf})
        command = [sys.executable, str(self.root / "jobs" / "stream_detect.py"), *self.all_flags()]
        command = [*self.launcher, *command, "--trigger", trigger]
        with in_own_session(command, self.log, {**environment, **self.environment}) as process:
            yield process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the driver, Python and JVM; its workers end when the JVM is gone."""
        kill_session(process)

    def finish(self, timeout_s: float = 600) -> int:
        """Read what is left, and stop; the exit code."""
        with self.running("available-now") as process:
            return process.wait(timeout_s)

    def jvm(self, process: subprocess.Popen[bytes]) -> int:
        """The driver's Java process."""
        [pid] = [
            pid for pid in proc.members(process.pid) if "SparkSubmit" in proc.command_line(pid)
        ]
        return pid

    def workers(self, process: subprocess.Popen[bytes]) -> list[int]:
        """Spark's Python workers of the job, without the daemon that forks them."""
        daemons = set(self.daemons(process))
        parents = {pid: int(fields[1]) for pid, fields in proc.stats()}
        return [pid for pid in daemons if parents.get(pid) in daemons]

    def daemons(self, process: subprocess.Popen[bytes]) -> list[int]:
        """The processes that fork workers, and what they forked."""
        members = proc.members(process.pid)
        return [pid for pid in members if "pyspark.daemon" in proc.command_line(pid)]

    def planned(self) -> int:
        """Batches that were begun; on a ``storage`` elsewhere, those that ended."""
        if self.storage:
            return len(self.batches())
        # Spark keeps the last hundred.
        files = (self.folder / "checkpoint" / "offsets").glob("[0-9]*")
        return max((int(file.name) + 1 for file in files), default=0)

    def batches(self) -> list[dict[str, Any]]:
        """The job's lines of JSON, one for each batch that all sinks have; replayed ones again."""
        lines = self.tail(None).splitlines()
        found = [line[line.index('{"batch_id"') :] for line in lines if '{"batch_id"' in line]
        return [batch for batch in map(json.loads, found) if "rows" in batch]

    def rows(self) -> int:
        """Rows of those batches."""
        return sum(batch["rows"] for batch in self.batches())

    def wait_for_new_batch(self, process: subprocess.Popen[bytes], timeout_s: float = 60) -> None:
        """Until a batch more is begun; or long enough, for a job that has nothing left to do."""
        before, deadline = self.planned(), time.monotonic() + timeout_s
        while self.planned() <= before and time.monotonic() < deadline:
            assert process.poll() is None, self.tail()
            if self.rows() >= len(self.sent.numbers):
                return
            time.sleep(0.05)

    def tail(self, characters: int | None = 3000) -> str:
        """The end of what it logged; ``None``: all of it."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text if characters is None else text[-characters:]

    def last_words(self) -> str:
        """Its last line in its own name."""
        lines = [
            line for line in self.tail(None).splitlines() if line.startswith("stream_detect: ")
        ]
        return lines[-1] if lines else ""

    def all_flags(self) -> list[str]:
        """Of the job's command line, without the trigger."""
        at = self.storage or self.folder
        return [
            *("--kafka-servers", self.servers, "--kafka-topic", self.sent.topic),
            *("--starting-offsets", "earliest", "--keep-all", "--time-zone", "UTC"),
            *("--max-offsets-per-trigger", str(self.batch_rows)),
            *("--model", str(self.model or self.root / "models" / "demo-detector")),
            *("--sink", "parquet", "kafka", "--output", f"{at}/out"),
            *("--output-kafka-topic", self.sent.results),
            *("--dead-letters", f"{at}/dead"),
            *("--checkpoint", f"{at}/checkpoint"),
            *self.flags,
        ]


class Supervised:
    """A job that is started again whenever it has ended, as systemd or Kubernetes would."""

    def __init__(self, job: DetectJob) -> None:
        self.job = job
        self.codes: list[int] = []
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Supervised:
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> subprocess.Popen[bytes]:
        """The process that runs; a new one, if the last has ended."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self.codes.append(code)
            self._stack.close()
        if code is not None or self._process is None:
            self._process = self._stack.enter_context(self.job.running())
        return self._process

    def wait_for_a_batch(self, timeout_s: float = 180) -> None:
        """Until a batch more is begun, by whatever process; or everything was read."""
        before = self.job.planned()

        def goes_on() -> bool:
            self.look()
            return self.job.planned() > before or self.job.rows() >= len(self.job.sent.numbers)

        assert wait_until(goes_on, timeout_s), self.job.tail()
