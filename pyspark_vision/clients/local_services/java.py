"""Where Java is, and how the daemons run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Small machines run several daemons beside the tests: little memory, few threads, a quick start.
SMALL_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# Log4j's own default prints errors only.
LOG_WARNINGS = "-Dorg.apache.logging.log4j.level=WARN"


def java() -> str:
    """The command that runs Java."""
    if home := os.environ.get("JAVA_HOME"):
        return str(Path(home) / "bin" / "java")
    executable = shutil.which("java")
    if executable is None:
        raise FileNotFoundError("Java 17 is missing: install it, or set JAVA_HOME")
    return executable


def java_home() -> str:
    """What ``JAVA_HOME`` is or should be; Java itself is asked, for ``java`` may be a script."""
    asked = subprocess.run(
        [java(), "-XshowSettings:properties", "-version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    match = re.search(r"^\s*java\.home = (.+)$", asked.stderr, re.MULTILINE)
    assert match is not None, asked.stderr
    return match.group(1)


def write_properties(path: Path, settings: Mapping[str, str]) -> None:
    """Write a Java properties file that only this user may read, for passwords are in it."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
