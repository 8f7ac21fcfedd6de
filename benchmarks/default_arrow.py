"""predict_batch_udf with Spark's default Arrow batch of 10,000 rows: tried once, within bounds."""

from __future__ import annotations

import threading
import time
from typing import Any

from local_services.proc import memory_mb

from benchmarks.race import ContenderError, Entry, started

_TIME_LIMIT_S = 300.0
# Of all its processes together; beyond it a usual machine of two cores swaps or kills.
_MEMORY_LIMIT_MB = 12_000
_WATCH_S = 0.25


def try_once(entry: Entry) -> dict[str, Any]:
    """What became of one round: ``images_per_s``, or ``failure``; and the ``peak_mb`` of all."""
    peak_mb, stopped = 0.0, ""
    done = threading.Event()
    started_at = time.monotonic()
    found: dict[str, Any] = {}
    try:
        with started("predict_batch_udf-default", entry) as process:

            def watch() -> None:
                nonlocal peak_mb, stopped
                while not done.wait(_WATCH_S):
                    now_mb = sum(memory_mb(pid, "VmRSS") for pid in process.members())
                    peak_mb = max(peak_mb, now_mb)
                    if now_mb > _MEMORY_LIMIT_MB:
                        stopped = f"stopped at {now_mb:.0f} MB"
                    elif time.monotonic() - started_at > _TIME_LIMIT_S:
                        stopped = f"stopped after {_TIME_LIMIT_S:.0f} s"
                    if stopped:
                        process.kill()
                        return

            threading.Thread(target=watch, daemon=True).start()
            process.answer()
            result = process.run()
            found["images_per_s"] = result["images"] / result["seconds"]
    except (ContenderError, BrokenPipeError) as error:
        found["failure"] = stopped or str(error)
    finally:
        done.set()
    return {**found, "peak_mb": peak_mb}
