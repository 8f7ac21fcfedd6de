"""Jobs submitted to a cluster, as a user does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from job_environment import SHORT_LIVED_ON_CLUSTERS
from local_services import jars

SMALL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.executor.cores": "1",
    **SHORT_LIVED_ON_CLUSTERS,
}


def submit(
    root: Path,
    *arguments: object,
    conf: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """What scripts/submit prints, run from another folder than the checkout."""
    settings = {**SMALL, **(conf or {})}
    options = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    unset = ("PYTHONPATH", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_HOME")
    done = subprocess.run(
        [sys.executable, str(root / "scripts" / "submit"), *options, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=jars.pyspark_home(),
        env={
            **{name: value for name, value in os.environ.items() if name not in unset},
            "SPARK_LOCAL_IP": "127.0.0.1",
            **(variables or {}),
        },
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout
