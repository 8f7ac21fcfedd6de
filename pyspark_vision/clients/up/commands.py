"""The command lines of the parts: producer, job and page."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients import carried
from pyspark_vision.clients.local_services import jars
from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC
from pyspark_vision.spark import internals

LETTER_TOPIC = "deadletters"
TOPICS = (FRAME_TOPIC, RESULT_TOPIC, LETTER_TOPIC)
PRODUCER, JOB, PAGE = "produce", "stream_detect", "live"

_COMMAND = (sys.executable, "-m", "pyspark_vision.cli.main")
# A batch more, and a frame is seen within two seconds of its taking.
_MAX_AGE_S = "1"
# Two batches' time: who ends this does not wait for more.
_JOB_STOPS_S = "10"

# For batches of a few frames, planned one after the other: benchmarks/NOTES.md has what each gives.
_SMALL_BATCHES = {
    # Code would be generated as text for each batch, and compiled at the start, to be run for five
    # rows. Spark's own expressions, uncompiled, give the same.
    internals.WHOLE_STAGE_CODE: "false",
    internals.CODE_FACTORY: "NO_CODEGEN",
    # A drawing of each plan, for a UI that is off.
    "spark.sql.ui.explainMode": "simple",
    "spark.ui.enabled": "false",
}


@dataclass(frozen=True)
class Run:
    """``folder``: of this run. ``servers``: of its broker. ``metrics_port``: of its job.
    ``port``: the page's; ``None``: its own choice. ``opens``: the page opens the browser."""

    folder: Path
    servers: str
    metrics_port: int
    port: int | None
    opens: bool

    @property
    def scratch(self) -> Path:
        """For what the parts write while they run; nothing of it is of use afterwards."""
        return self.folder / "tmp"


def producer(run: Run, sources: Sequence[str]) -> list[str]:
    """``pyspark-vision produce`` of these cameras."""
    words = ["produce", "--source", *sources, "--kafka-servers", run.servers]
    return [*_COMMAND, *words, "--keep-input", str(run.folder / "input")]


def job(run: Run) -> list[str]:
    """``jobs/stream_detect.py`` with the demo detector, each frame as soon as it comes."""
    return [
        *(sys.executable, str(carried.path("jobs/stream_detect.py"))),
        *("--kafka-servers", run.servers),
        *("--model", str(carried.path("models/demo-detector"))),
        *("--sink", "kafka", "--dead-letters", f"kafka:{LETTER_TOPIC}"),
        *("--checkpoint", str(run.folder / "checkpoint")),
        # The newest of each camera alone would be compared within a batch, whose plan is then made
        # anew each time: a picture every two seconds, of five that come in one. What this machine
        # has no time for is left out, so that a person sees what is, and not what was.
        *("--keep-all", "--max-age", _MAX_AGE_S, "--trigger", "0 seconds"),
        *("--stop-timeout", _JOB_STOPS_S, "--metrics-port", str(run.metrics_port)),
    ]


def page(run: Run) -> list[str]:
    """``pyspark-vision live`` over all topics and the job's numbers."""
    port = [] if run.port is None else ["--port", str(run.port)]
    settings = [word for pair in _local_settings(run) for word in ("--conf", pair)]
    return [
        *(*_COMMAND, "live", "--kafka-servers", run.servers, *port),
        *("--dead-letters", f"kafka:{LETTER_TOPIC}"),
        *("--replay-checkpoint", str(run.folder / "replayed"), *settings),
        *("--metrics", f"http://127.0.0.1:{run.metrics_port}/metrics"),
        "--open" if run.opens else "--no-open",
    ]


def environment(run: Run, variables: Mapping[str, str]) -> dict[str, str]:
    """Of all parts. ``variables``: as ``surroundings`` and ``fast_start`` give them."""
    settings = {"spark.master": f"local[{_tasks()}]", **_SMALL_BATCHES}
    conf = [*(f"{name}={value}" for name, value in settings.items()), *_local_settings(run)]
    options = [
        variables.get(internals.SUBMIT_JAVA_OPTIONS, ""),
        # Of a stream's first two minutes, Java's second compiler takes most of two cores.
        "-XX:TieredStopAtLevel=1",
        f"-Djava.io.tmpdir={shlex.quote(str(run.scratch))}",
    ]
    return {
        **variables,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        internals.SUBMIT_ARGS: shlex.join(
            [*(word for pair in conf for word in ("--conf", pair)), internals.RESOURCE]
        ),
        internals.SUBMIT_JAVA_OPTIONS: " ".join(option for option in options if option),
        "TMPDIR": str(run.scratch),
    }


def _tasks() -> int:
    """How many at once. A batch is cut into as many: on two cores, which broker, cameras, page and
    browser want, too, a second task costs more than it saves."""
    return 1 if (os.cpu_count() or 1) <= 2 else 2


def _local_settings(run: Run) -> list[str]:
    """Spark's Kafka source, and where Spark on this machine writes."""
    return [
        f"spark.jars={','.join(str(jar) for jar in jars.files('kafka'))}",
        f"spark.local.dir={run.scratch}",
        # A socket's name is at most a hundred letters long: a run's folder may be deeper.
        "spark.python.unix.domain.socket.enabled=true",
        f"spark.python.unix.domain.socket.dir={tempfile.gettempdir()}",
    ]
