"""Two who want one checkpoint in the same instant."""

from __future__ import annotations

import threading
import time

from pyspark.sql import SparkSession

from pyspark_vision.errors import CheckpointInUseError
from pyspark_vision.streaming import lease


def outcomes_of_two(spark: SparkSession, checkpoint: str, held_s: float = 1.0) -> list[str]:
    """What two threads get that ask at once; who holds it keeps it for ``held_s``."""
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def take() -> None:
        together.wait()
        try:
            with lease.held(spark, checkpoint, "job", lambda reason: None):
                outcomes.append("held")
                time.sleep(held_s)
        except CheckpointInUseError:
            outcomes.append("refused")

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)
