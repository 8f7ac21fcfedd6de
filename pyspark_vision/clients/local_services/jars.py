"""The jars of ``conf/ivy.xml``, fetched once per machine with the Ivy inside PySpark."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pyspark_vision.clients import carried
from pyspark_vision.clients.local_services.java import java
from pyspark_vision.spark import internals

IVY_FILE = carried.path("conf/ivy.xml")
# Registries hiccup: pauses in seconds before the second, the third and the last attempt.
PAUSES_S = (2, 5, 15)
ATTEMPT_TIMEOUT_S = 600
# For a Spark that the configuration without this does not fit.
_OF_A_VERSION = re.compile(r"-\d+\.\d+$")
# Some projects publish their one jar as an OSGi bundle, under these type names.
JAR_TYPES = ("jar", "bundle", "eclipse-plugin")


class JarsNotFetchedError(RuntimeError):
    """Ivy could not bring the jars of a configuration; the message says which, and Ivy's reason."""


def configurations() -> list[str]:
    """The configurations of ``conf/ivy.xml`` that there are for this Spark, in its order."""
    suffix = f"-{_minor_version()}"
    every = _all_configurations()
    named = [name.removesuffix(suffix) for name in every]
    return list(dict.fromkeys(name for name in named if not _OF_A_VERSION.search(name)))


def _all_configurations() -> list[str]:
    configurations = ElementTree.parse(IVY_FILE).findall("configurations/conf")
    return [conf.attrib["name"] for conf in configurations]


def _of_this_spark(configuration: str) -> str:
    """``kafka-4.0`` for ``kafka`` where that is there, and PySpark is a 4.0."""
    own = f"{configuration}-{_minor_version()}"
    return own if own in _all_configurations() else configuration


def _minor_version() -> str | None:
    """``4.2`` of PySpark here; ``None`` if its jars do not say it."""
    version = internals.spark_version(pyspark_home())
    return None if version is None else ".".join(version.split(".")[:2])


def folder(configuration: str) -> Path:
    """The folder with the jars of a configuration, fetched now if this machine has none yet.

    Of the configurations that differ between versions of Spark it is that of PySpark here.
    """
    configuration = _of_this_spark(configuration)
    ready = _jars_root() / configuration
    if not ready.is_dir():
        with _fetching_alone():
            if not ready.is_dir():  # another process may have fetched while this one waited
                _fetch(configuration, ready)
    return ready


def files(*wanted: str) -> list[Path]:
    """Every jar of the configurations, as ``spark.jars`` and ``--jars`` take them."""
    return [jar for configuration in wanted for jar in sorted(folder(configuration).glob("*.jar"))]


def pyspark_home() -> Path:
    """The folder of the pip package PySpark, found without importing it."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise JarsNotFetchedError(
            f"{sys.executable} has no PySpark: pip install 'pyspark_vision[spark]', or, in a "
            "checkout, run `make jars` or enter the environment with `. .venv/bin/activate`"
        )
    return Path(spec.origin).parent


def cache_folder() -> Path:
    """Outside the checkout, so that fresh clones and `make clean` find the jars again.

    Where there is no home (a service's user, a bare container) it is a folder of this user in the
    one for temporary files.
    """
    if own := os.environ.get("PYSPARK_VISION_CACHE"):
        return Path(own).expanduser().absolute()
    common = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(common).absolute() / "pyspark_vision"
    if not common.startswith("~") and (folder.is_dir() or _can_make(folder)):
        return folder
    return _own_folder(Path(tempfile.gettempdir(), f"pyspark_vision-{os.getuid()}"))


def _can_make(folder: Path) -> bool:
    there = next(parent for parent in folder.parents if parent.exists())
    # Root may write to /nonexistent as well, and must not make what the system says is not there.
    home = Path(os.path.expanduser("~"))
    return os.access(there, os.W_OK) and (home.is_dir() or not folder.is_relative_to(home))


def _own_folder(folder: Path) -> Path:
    """``folder``, made for this user alone: others may write beside it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise JarsNotFetchedError(f"{folder} is somebody else's: set PYSPARK_VISION_CACHE")
    return folder


def _jars_root() -> Path:
    """A folder of its own for each content of ``conf/ivy.xml``: a new version never mixes in."""
    return cache_folder() / "jars" / hashlib.sha256(IVY_FILE.read_bytes()).hexdigest()[:16]


@contextmanager
def _fetching_alone() -> Iterator[None]:
    """One process fetches, others wait: Ivy does not guard its own cache against a second one."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(configuration: str, ready: Path) -> None:
    """Fetch beside and rename: a folder that is there is complete, and needs no other stamp."""
    ready.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{configuration}-", dir=ready.parent))
    try:
        _say(f"fetching {configuration} (about a minute the first time)")
        _resolve_with_patience(configuration, unfinished)
        os.rename(unfinished / configuration, ready)
    finally:
        shutil.rmtree(unfinished)
    size_mb = sum(jar.stat().st_size for jar in ready.iterdir()) / 1e6
    _say(f"{configuration}: {len(list(ready.iterdir()))} jars, {size_mb:.0f} MB in {ready}")


def _resolve_with_patience(configuration: str, target: Path) -> None:
    for pause_s in (*PAUSES_S, None):
        failure = _resolve(configuration, target)
        if failure is None:
            return
        if pause_s is not None:
            _say(f"{configuration} failed, again in {pause_s} s ({failure.splitlines()[0]})")
            time.sleep(pause_s)
    raise JarsNotFetchedError(
        f"could not fetch the jars of {configuration!r} in {len(PAUSES_S) + 1} attempts; "
        f"Ivy says:\n{failure}"
    )


def _resolve(configuration: str, target: Path) -> str | None:
    """Run Ivy once. None, or why it failed."""
    command = [
        java(),
        # Ivy's cache below ours; a developer's own ~/.ivy2 must not decide what is fetched.
        f"-Divy.default.ivy.user.dir={cache_folder() / 'ivy'}",
        "-cp",
        f"{pyspark_home() / 'jars'}/*",
        "org.apache.ivy.Main",
        "-ivy",
        str(IVY_FILE),
        "-confs",
        configuration,
        "-retrieve",
        f"{target}/[conf]/[artifact]-[revision](-[classifier]).[ext]",
        "-types",
        *JAR_TYPES,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ATTEMPT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {ATTEMPT_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    return _reasons(done.stdout.splitlines() + done.stderr.splitlines())


def _reasons(output: Sequence[str]) -> str:
    """The lines of Ivy's long report that say what is missing and why."""
    marks = (": not found", "unresolved", "FAILED", "SERVER ERROR", "Exception", "Host ")
    telling = [line.strip() for line in output if any(mark in line for mark in marks)]
    return "\n".join(dict.fromkeys(telling)) or "\n".join(output[-20:]) or "nothing"


def _say(text: str) -> None:
    print(f"== jars: {text}", file=sys.stderr, flush=True)
