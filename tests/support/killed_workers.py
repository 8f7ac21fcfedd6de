"""Jobs as processes of their own whose Python workers are killed as by a kernel without memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from job_environment import job_environment

_KILLS_WORKERS = """
import hashlib, os, signal
if {"PYTHON_WORKER_FACTORY_SECRET", "PYTHON_UNIX_DOMAIN_ENABLED"} & set(os.environ):
    # Where a worker looks at the model before it loads it.
    hashlib.file_digest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


def last_line(
    root: Path, folder: Path, name: str, *flags: str, conf: Mapping[str, str] | None = None
) -> str:
    """The job's last line on stderr, of a run that ended with exit code 1."""
    (folder / "sitecustomize.py").write_text(_KILLS_WORKERS)
    done = subprocess.run(
        [sys.executable, str(root / "jobs" / f"{name}.py"), *flags],
        env={**job_environment(conf), "PYTHONPATH": f"{folder}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-3000:]
    return [line for line in done.stderr.splitlines() if line.startswith(f"{name}: ")][-1]
