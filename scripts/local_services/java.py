"""Where Java is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def java_home() -> Path:
    """``JAVA_HOME``, or the folder of the ``java`` on the path."""
    if home := os.environ.get("JAVA_HOME"):
        return Path(home)
    found = shutil.which("java")
    if found is None:
        raise FileNotFoundError("Java 17 is missing: install it, or set JAVA_HOME")
    return Path(found).resolve().parents[1]


def java() -> str:
    """The command that runs Java."""
    return str(java_home() / "bin" / "java")

# Small machines run several daemons beside the tests: little memory, few threads, a quick start.
SMALL_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
