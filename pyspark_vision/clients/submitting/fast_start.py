"""An archive of Spark's classes, for JVMs that start on this machine: ``--fast-start``.

A JVM reads and checks twenty thousand classes before a job's first row. From an archive (Java's
AppCDS) it takes them as they were in an earlier JVM. The archive is made once for a Spark and a
Java, by a small job, and is 180 MB in the cache folder. A JVM that it does not fit goes without.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pyspark_vision.clients import carried
from pyspark_vision.clients.local_services import jars
from pyspark_vision.spark.internals import SUBMIT_JAVA_OPTIONS

# Beside Spark's jars they are on the JVM's class path, where an archive allows empty folders only.
_FOLDERS = ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_DIST_CLASSPATH")
# Of why hundreds of classes cannot be archived, or that an archive does not fit.
_QUIET = "-Xlog:cds*=off"
_TIMEOUT_S = 300.0


class NoArchiveError(RuntimeError):
    """There can be none here; the message says why."""


def with_archive(variables: Mapping[str, str], *, makes: bool = True) -> dict[str, str]:
    """The environment of a spark-submit whose JVM uses the archive.

    Where there is none yet, it is made, or unless ``makes`` the environment stays as it is. Raises
    :class:`NoArchiveError`.
    """
    if not makes and not _is_there(variables):
        return dict(variables)
    return _added(variables, options(archived(variables)))


def _is_there(variables: Mapping[str, str]) -> bool:
    try:
        return archive_file(variables).is_file()
    except (NoArchiveError, OSError):
        return False


def archived(variables: Mapping[str, str]) -> Path:
    """The archive for this Spark and this Java, made now if this machine has none yet.

    Raises :class:`NoArchiveError`.
    """
    try:
        archive = archive_file(variables)
        if not archive.is_file():
            make(archive, variables)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoArchiveError(str(error)) from None
    return archive


def options(archive: Path) -> str:
    """Of a JVM that uses it, for SUBMIT_JAVA_OPTIONS."""
    return f"-XX:SharedArchiveFile={shlex.quote(str(archive))} {_QUIET}"


def archive_file(variables: Mapping[str, str]) -> Path:
    """Its place: another for other jars of Spark, and for another Java.

    ``variables``: as :func:`~pyspark_vision.clients.submitting.surroundings.surroundings` gives
    them. Raises
    :class:`NoArchiveError` where a JVM could not use one.
    """
    if "SPARK_HOME" not in variables:
        raise NoArchiveError("SPARK_HOME is not set, and there is no PySpark beside this Python")
    home, java = Path(variables["SPARK_HOME"]), _java(variables)
    if "-Xshare" in variables.get(SUBMIT_JAVA_OPTIONS, "") or "SharedArchive" in variables.get(
        SUBMIT_JAVA_OPTIONS, ""
    ):
        raise NoArchiveError(f"{SUBMIT_JAVA_OPTIONS} says already which archive is used")
    for name in _FOLDERS:
        if variables.get(name):
            raise NoArchiveError(f"{name} is set, and an archive holds no folder of settings")
    if any((home / "conf").glob("*")):
        raise NoArchiveError(f"{home / 'conf'} has files, and an archive holds no such folder")
    known = [java, home / "jars", *sorted((home / "jars").glob("*.jar"))]
    said = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in known]
    key = hashlib.sha256("\n".join(said).encode(errors="surrogateescape")).hexdigest()[:16]
    archive = jars.cache_folder() / "classes" / f"{key}.jsa"
    if ":" in str(archive):  # Java would take it for two
        raise NoArchiveError(f"Java takes no archive with a colon in its path: {archive}")
    return archive


def make(archive: Path, variables: Mapping[str, str]) -> None:
    """Run a job whose JVM archives its classes when it ends; made beside, and renamed.

    Raises :class:`NoArchiveError`, with what the job said last.
    """
    print(
        f"== classes: a small job archives what Spark loads, in {archive} (once, half a minute)",
        file=sys.stderr,
        flush=True,
    )
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Without what the user has set for other jobs, which may keep a JVM from archiving.
    variables = {k: v for k, v in variables.items() if k not in (*_FOLDERS, SUBMIT_JAVA_OPTIONS)}
    with tempfile.TemporaryDirectory(prefix=f".{archive.name}-", dir=archive.parent) as folder:
        work = Path(folder)
        archive_path = work / archive.name
        _draw_frames(work / "frames")
        at_exit = f"-XX:ArchiveClassesAtExit={shlex.quote(str(archive_path))}"
        python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
        _run(
            [
                *(
                    str(Path(variables["SPARK_HOME"], "bin", "spark-submit")),
                    "--master",
                    "local[2]",
                ),
                *("--conf", "spark.ui.enabled=false", str(carried.path("jobs/stream_detect.py"))),
                *("--input", str(work / "frames"), "--trigger", "available-now"),
                *("--model", str(carried.path("models/demo-detector"))),
                *("--sink", "parquet", "console", "--output", str(work / "detections")),
                *("--checkpoint", str(work / "checkpoint")),
            ],
            {
                **_added(variables, f"-XX:TieredStopAtLevel=1 {at_exit} {_QUIET}"),
                **python,
                "SPARK_LOCAL_IP": "127.0.0.1",
            },
        )
        if not archive_path.is_file():
            raise NoArchiveError(f"{_java(variables)} wrote none")
        os.replace(archive_path, archive)


def _draw_frames(folder: Path) -> None:
    from pyspark_vision.clients.scenes import draw_frame  # numpy, which submitting needs not

    folder.mkdir()
    for number in range(4):
        draw_frame(number + 1, 0)[0].save(folder / f"{number}.jpg")


def _added(variables: Mapping[str, str], options: str) -> dict[str, str]:
    return {
        **variables,
        SUBMIT_JAVA_OPTIONS: f"{variables.get(SUBMIT_JAVA_OPTIONS, '')} {options}".strip(),
    }


def _java(variables: Mapping[str, str]) -> Path:
    home = variables.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        raise NoArchiveError("there is no java")
    return Path(java).resolve()


def _run(command: list[str], variables: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise NoArchiveError(f"the small job failed: {' '.join(done.stderr.split())[-500:]}")
