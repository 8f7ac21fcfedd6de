"""This machine, without Spark: Java, Python and its packages."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata

from pyspark_vision.spark.java_errors import Problem

OLDEST_JAVA = 17

# From the first of a range to below its second. As in setup.py, which a test compares: a zip on
# the path has no metadata that could be asked.
NEEDED: dict[str, tuple[str, str | None]] = {
    "numpy": ("1.26", None),
    "pandas": ("2.2", "3"),
    "pyarrow": ("15", None),
    "pillow": ("13", None),
}
PYSPARK: tuple[str, str | None] = ("3.5", "4.4")
# Which of these a job needs depends on its model and source; `model` and `input` find out.
OPTIONAL = ("ai-edge-litert", "tensorflow", "boto3")


def java() -> str:
    """The Java that Spark will start: that of ``JAVA_HOME``, else the one on the path."""
    home = os.environ.get("JAVA_HOME")
    command = os.path.join(home, "bin", "java") if home else "java"
    to_do = (
        f"Install Java {OLDEST_JAVA} or 21 (Debian: apt-get install openjdk-17-jre-headless) and "
        "set JAVA_HOME to its folder"
    )
    try:
        done = subprocess.run(
            [command, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except OSError as error:
        why = f"JAVA_HOME={home}: " if home else ""
        raise Problem(f"{why}cannot run {command}: {error.strerror}", to_do) from None
    said = done.stderr or done.stdout
    version = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', said)
    if version is None:
        raise Problem(f"{command} -version says {said[:200]!r}", to_do)
    if int(version[2]) < OLDEST_JAVA:
        raise Problem(f"{command} is Java {version[1]}, too old for Spark 4", to_do)
    return f"{version[1]}, {command}"


def python() -> str:
    """The Python that runs this, and so the driver."""
    if sys.version_info < (3, 11):  # noqa: UP036 (who runs a checkout is not asked by pip)
        raise Problem(
            f"{sys.executable} is Python {python_version()}",
            "This package needs Python 3.11 or later",
        )
    return f"{python_version()}, {sys.executable}"


def python_version() -> str:
    """``3.11.7``."""
    return platform.python_version()


def packages() -> str:
    """Versions of the packages here; a missing or unfit one is a problem."""
    installed = versions()
    check_versions(installed, "this Python", "pip install 'pyspark_vision[spark,litert]' there")
    return ", ".join(f"{name} {version}" for name, version in installed.items() if version)


def versions() -> dict[str, str | None]:
    """Versions by package, of this process; ``None`` for those that are not installed."""
    return {"pyspark": _pyspark(), **{name: _installed(name) for name in (*NEEDED, *OPTIONAL)}}


def _pyspark() -> str | None:
    """PySpark is asked itself: on executors, Spark puts it on the path as a zip."""
    try:
        import pyspark
    except ImportError:
        return None
    return pyspark.__version__


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_versions(installed: Mapping[str, str | None], where: str, to_do: str) -> None:
    """Raise :class:`Problem` for a package that is missing, too old or too new."""
    wrong = []
    for name, (first, below) in {"pyspark": PYSPARK, **NEEDED}.items():
        version = installed.get(name)
        needed = f">={first}" + (f",<{below}" if below else "")
        if version is None:
            wrong.append(f"no {name} (needed: {needed})")
        elif _parts(version) < _parts(first) or (below and _parts(version) >= _parts(below)):
            wrong.append(f"{name} {version} (needed: {needed})")
    if wrong:
        raise Problem(f"{where} has {', '.join(wrong)}", to_do)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
