"""The environment of a job that runs as a process of its own, with this very Python."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping


def job_environment(conf: Mapping[str, str] | None = None) -> dict[str, str]:
    """With ``conf``, what ``python jobs/….py`` starts its Spark with."""
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    if conf is not None:
        arguments = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
        environment["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])
    return environment
