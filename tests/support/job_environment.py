"""How the JVMs of tests run, and the environment of a job that is a process of its own."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

# `make` has scripts/archive_classes write it; a JVM that misses it or cannot use it goes without.
_CLASSES = Path(sys.prefix) / "spark-classes.jsa"

# Jobs of tests live for seconds to minutes: for that long the JVM's second compiler takes a quarter
# of two cores, and loading Spark's classes a third of a start. On a machine that is busy, batches
# take half the time without the second compiler.
SHORT_LIVED = f"-XX:TieredStopAtLevel=1 -XX:SharedArchiveFile={_CLASSES} -Xlog:cds*=off"

# For JVMs that a cluster starts; those of spark-submit have it by the environment (conftest.py).
SHORT_LIVED_ON_CLUSTERS = {
    "spark.driver.extraJavaOptions": SHORT_LIVED,
    "spark.executor.extraJavaOptions": SHORT_LIVED,
}


def job_environment(conf: Mapping[str, str] | None = None) -> dict[str, str]:
    """With ``conf``, what ``python jobs/….py`` starts its Spark with."""
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    if conf is not None:
        arguments = [word for pair in conf.items() for word in ("--conf", "=".join(pair))]
        environment["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])
    return environment
