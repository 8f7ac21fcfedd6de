"""The environment of a job that runs as a process of its own, with this very Python."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping

# Jobs of tests live for seconds to minutes: for that long the JVM's second compiler takes a quarter
# of two cores. On a machine that is busy, batches take half the time without it.
FIRST_COMPILER = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1",
}


def job_environment(conf: Mapping[str, str] | None = None) -> dict[str, str]:
    """With ``conf``, what ``python jobs/….py`` starts its Spark with, beside `FIRST_COMPILER`."""
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    if conf is not None:
        settings = {**FIRST_COMPILER, **conf}
        arguments = [word for pair in settings.items() for word in ("--conf", "=".join(pair))]
        environment["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])
    return environment
