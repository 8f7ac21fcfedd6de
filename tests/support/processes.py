"""A spark-submit in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from job_environment import SHORT_LIVED_ON_CLUSTERS
from local_services import jars


def spark_submit(
    *arguments: str, conf: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> str:
    """What a job prints that PySpark's own spark-submit runs, with this Python on all executors."""
    home = jars.pyspark_home()
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.executor.memory": "512m",
        **SHORT_LIVED_ON_CLUSTERS,
        **conf,
    }
    options = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    done = subprocess.run(
        [str(home / "bin" / "spark-submit"), *options, *arguments],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
            **(environment or {}),
        },
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout
