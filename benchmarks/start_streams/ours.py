"""jobs/stream_detect.py with its phases timed: BEGAN_AT PHASES, then the job's own flags."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "jobs"))

from benchmarks.start_streams.phases import Phases


def main(phases: Phases) -> int:
    phases.next("imports")
    phases.count_calls()
    import stream_detect  # type: ignore[import-not-found]

    from pyspark_vision import functions
    from pyspark_vision.job import start
    from pyspark_vision.spark import own_jvm
    from pyspark_vision.streaming import runner

    phases.next("plan")
    for name, module, function in (
        ("JVM", own_jvm, "start"),
        ("session", start, "job_session"),
        ("model", stream_detect, "load_before_spark"),
        ("model", stream_detect, "WatchedBundle"),
        ("model", functions, "publish"),
        ("batches", runner, "_start"),
        ("batches", runner, "_wait"),
    ):
        setattr(module, function, phases.timed(name, getattr(module, function)))
    code = stream_detect.main()
    phases.next("end")
    phases.write()
    return code


if __name__ == "__main__":
    sys.exit(main(Phases.from_argv("JVM")))
