"""`make bench-start`: how long a small job takes from its start to its first row and to its end.

Ten small pictures in a folder, two cores, spark-submit, a stream that reads what is there and ends.
In turn, A B C C B A: the least that Spark can do with the folder, its own stream of files with a
pandas UDF to Parquet; jobs/stream_detect.py with the demo detector; and that with `--fast-start` of
scripts/submit. A round that is not counted comes first. Prints the medians, phase by phase, with
the calls from Python to the JVM, and the ratios of the rounds. Processor time is that of the whole
process tree: it says more than the clock where the machine is busy with other things.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import table
from benchmarks.places import ROOT
from pyspark_vision.clients.submitting import fast_start
from pyspark_vision.clients.submitting.surroundings import surroundings

SPARK_OWN, OURS, OURS_FAST = "spark_own", "ours", "ours_fast"
_STREAMS = ROOT / "benchmarks" / "start_streams"
_PHASES = ("JVM", "imports", "session", "model", "plan", "batches", "end")
_FIRST_ROW_TARGET = 1.15
_POLL_S = 0.02
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Run:
    """One start: seconds to the first row and to the end, of processors, and of each phase."""

    first_row_s: float
    end_s: float
    cpu_s: float
    phases: Mapping[str, Mapping[str, float]]

    def seconds(self, phase: str) -> float:
        """Of a phase; 0 where there is none such. The end lasts until the process is gone."""
        if phase == "end":
            return self.end_s - sum(one["seconds"] for one in self.phases.values())
        return self.phases.get(phase, {}).get("seconds", 0.0)

    @property
    def calls(self) -> float:
        """From Python to the JVM."""
        return sum(one["calls"] for one in self.phases.values())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="that count (%(default)s)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        frames = Path(folder, "frames")
        draw = [sys.executable, str(ROOT / "scripts" / "draw_frames.py"), "--output", str(frames)]
        subprocess.run([*draw, "--count", "10"], check=True, stdout=subprocess.DEVNULL)
        runs: dict[str, list[Run]] = {SPARK_OWN: [], OURS: [], OURS_FAST: []}
        for number in range(options.rounds + 1):
            for name in reversed(runs) if number % 2 else runs:
                run = _run(name, frames, Path(folder, f"{name}-{number}"))
                print(
                    f"{'not counted' if number == 0 else f'round {number}'}: {name}: first row "
                    f"{run.first_row_s:.1f} s, end {run.end_s:.1f} s, processors {run.cpu_s:.1f} s"
                    f" (load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )
                if number > 0:
                    runs[name].append(run)
    print(f"\n{summary(runs)}")


def _run(name: str, frames: Path, folder: Path) -> Run:
    folder.mkdir()
    output, checkpoint = folder / "output", folder / "checkpoint"
    own = [str(frames), str(output), str(checkpoint)]
    package: list[str] = []
    if name != SPARK_OWN:
        package = ["--py-files", str(ROOT / "dist" / "pyspark_vision.zip")]
        own = [
            *("--input", str(frames), "--model", str(ROOT / "models" / "demo-detector")),
            *("--output", str(output), "--checkpoint", str(checkpoint)),
            *("--trigger", "available-now"),
        ]
    # The first row is there when readers find it: by the folder's name, or in the sink's own log.
    first_row = output / ("_spark_metadata/0" if name == SPARK_OWN else "batch_id=0")
    script = "spark_own.py" if name == SPARK_OWN else "ours.py"
    environment = dict(surroundings(os.environ).variables)
    if name == OURS_FAST:
        environment = fast_start.with_archive(environment)
    environment |= {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": "",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_at = time.monotonic()
    command = [
        *("spark-submit", "--master", "local[2]", "--conf", "spark.ui.enabled=false", *package),
        *(str(_STREAMS / script), str(began_at), str(folder / "phases.json"), *own),
    ]
    first_row_s = None
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT) as process,
    ):
        while process.poll() is None:
            if first_row_s is None and first_row.exists():
                first_row_s = time.monotonic() - began_at
            if time.monotonic() - began_at > _TIMEOUT_S:
                process.terminate()
            time.sleep(_POLL_S)
        end_s = time.monotonic() - began_at
    if process.returncode != 0 or first_row_s is None:
        said = (folder / "log").read_text(errors="replace").splitlines()[-20:]
        sys.exit("\n".join([f"{name} ended with {process.returncode}:", *said]))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    phases = json.loads((folder / "phases.json").read_text(encoding="utf-8"))
    return Run(first_row_s, end_s, cpu_s, phases)


def summary(runs: Mapping[str, Sequence[Run]]) -> str:
    """Medians of the phases as a Markdown table, then the ratios of the rounds."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    rows = [
        [
            phase,
            *(f"{median([run.seconds(phase) for run in runs[name]]):.1f}" for name in runs),
            *(
                f"{median([run.phases.get(phase, {}).get('calls', 0) for run in runs[name]]):.0f}"
                for name in runs
            ),
        ]
        for phase in _PHASES
    ]
    header = ["phase", *(f"{name}, s" for name in runs), *(f"{name}, calls" for name in runs)]
    lines = [table(header, rows), ""]
    figures: tuple[tuple[str, Callable[[Run], float]], ...] = (
        ("first row", lambda run: run.first_row_s),
        ("end", lambda run: run.end_s),
        ("processors", lambda run: run.cpu_s),
        ("calls", lambda run: run.calls),
    )
    for what, of in figures:
        medians = ", ".join(f"{name} {median([of(r) for r in runs[name]]):.1f}" for name in runs)
        lines.append(f"{what}: {medians}")
        target = f", target {_FIRST_ROW_TARGET}" if what == "first row" else ""
        for name in (OURS, OURS_FAST):
            pairs = zip(runs[name], runs[SPARK_OWN], strict=True)
            rounds = [of(ours) / of(other) for ours, other in pairs]
            lines.append(
                f"  {name} / {SPARK_OWN}: median {median(rounds):.2f}, from {min(rounds):.2f} to "
                f"{max(rounds):.2f}{target}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
