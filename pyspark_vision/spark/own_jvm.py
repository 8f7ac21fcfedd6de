"""The JVM of a job or command of ours: what it is started with, and how its workers end.

Where ``spark-submit`` has started it, it is there before any Python runs; else PySpark starts it
for the first who asks, from the environment of that moment.
"""

from __future__ import annotations

import atexit
import locale
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark_vision.errors import InvalidOptionError, WorkerEnvironmentError
from pyspark_vision.spark import internals

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Read by spark-submit or by the JVM while it starts, and by nobody later.
_AT_START = re.compile(
    r"spark\.jars(\..+)?|spark\.submit\..+"
    r"|spark\.driver\.(memory|memoryOverhead|defaultJavaOptions|extra(JavaOptions|ClassPath|LibraryPath))"
)

# glibc has the first built in, older Red Hats only the second.
_UTF8_LOCALES = ("C.UTF-8", "en_US.UTF-8")

_DAEMONS_END_S = 2.0


def start(settings: Mapping[str, str]) -> None:
    """Start it with ``settings``, unless it runs already.

    Raises :class:`InvalidOptionError` for a setting that a running JVM cannot take any more, and
    :class:`WorkerEnvironmentError` where Spark cannot start on this machine.
    """
    from pyspark import SparkConf  # not in pyspark-client

    refuse_nameless_user()
    if internals.is_jvm_running():
        internals.start_jvm()  # of spark-submit: PySpark connects to it
        _refuse_too_late(settings, SparkConf())
        return
    _refuse_other_spark()
    # The others count when the session is made; spark-submit would refuse some in words of its own.
    at_start = {key: value for key, value in settings.items() if _AT_START.fullmatch(key)}
    with _environment({internals.SUBMIT_ARGS: submit_args(at_start), **utf8_locale()}):
        internals.start_jvm()


def submit_args(settings: Mapping[str, str]) -> str:
    """``PYSPARK_SUBMIT_ARGS`` with ``settings`` after what is said there, so that they win.

    >>> submit_args({"spark.driver.memory": "2g", "spark.app.name": "a b"})
    "--conf spark.driver.memory=2g --conf 'spark.app.name=a b' pyspark-shell"
    """
    before = shlex.split(os.environ.get(internals.SUBMIT_ARGS, internals.RESOURCE))
    added = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    if internals.RESOURCE in before:
        place = len(before) - 1 - before[::-1].index(internals.RESOURCE)
        return shlex.join([*before[:place], *added, *before[place:]])
    return shlex.join([*before, *added, internals.RESOURCE])


def utf8_locale() -> dict[str, str]:
    """The variable that makes a JVM name files as this Python does; empty where it does already.

    Under a POSIX locale Python takes UTF-8 and Java ASCII, which has no file name with an accent.
    """
    if sys.getfilesystemencoding() != "utf-8" or locale.getencoding().lower() in ("utf-8", "utf8"):
        return {}
    return {"LC_ALL": next(filter(_is_there, _UTF8_LOCALES), _UTF8_LOCALES[0])}


def _is_there(name: str) -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True


def refuse_nameless_user() -> None:
    """Raise :class:`WorkerEnvironmentError` where the system knows no name for this user.

    Hadoop's file systems ask the system for it, whatever ``HADOOP_USER_NAME`` says.
    """
    user = os.getuid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        raise WorkerEnvironmentError(
            f"user id {user} has no name on this machine, and Spark's file systems (Hadoop's) need "
            f"one: add it (echo 'spark:x:{user}:{os.getgid()}::/tmp:/bin/sh' >> /etc/passwd, in an "
            "image or as root), or run as a user that has one"
        ) from None


def _refuse_other_spark() -> None:
    """Raise :class:`WorkerEnvironmentError` for a ``SPARK_HOME`` that PySpark cannot speak with."""
    import pyspark

    home = os.environ.get("SPARK_HOME")
    if not home:
        return
    version = internals.spark_version(Path(home))
    if version is None:
        raise WorkerEnvironmentError(f"SPARK_HOME={home} holds no Spark: unset it, or correct it")
    if version.split(".")[:2] != pyspark.__version__.split(".")[:2]:
        raise WorkerEnvironmentError(
            f"SPARK_HOME={home} is Spark {version}, and {sys.executable} has PySpark "
            f"{pyspark.__version__}: unset SPARK_HOME, or install pyspark=={version}"
        )


def _refuse_too_late(settings: Mapping[str, str], known: Any) -> None:
    for key, value in settings.items():
        if _AT_START.fullmatch(key) and known.get(key) != value:
            raise InvalidOptionError(
                f"--conf {key}={value} counts only before Spark's JVM starts, and it runs already: "
                f"give it to who starts it (scripts/submit --conf {key}=… COMMAND -- …, or "
                f"spark-submit --conf {key}=…)"
            )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end_workers_at_exit(session: SparkSession) -> None:
    """Let :func:`end_workers` run when this process ends, unless the session was stopped before."""
    atexit.register(_end_workers_of, session)


def _end_workers_of(session: SparkSession) -> None:
    from pyspark.sql import SparkSession

    if SparkSession.getActiveSession() is session:
        end_workers(session)


def end_workers(session: SparkSession) -> None:
    """End the idle Python workers of a local session that is about to stop.

    Spark closes their sockets first. On Unix sockets each then fails to say that nothing more came,
    and prints a traceback (``BrokenPipeError``) after the job's last line, if it is quicker than
    the end of its parent. The parent (``pyspark.daemon``) ends them without a word. Only where no
    job runs; executors elsewhere write to logs of their own.
    """
    context: Any = session.sparkContext
    try:
        if not context.master.startswith("local") or context.statusTracker().getActiveJobsIds():
            return
        daemons = internals.worker_daemons(session)
        for daemon in daemons:
            daemon.destroy()
        deadline = time.monotonic() + _DAEMONS_END_S
        while any(daemon.isAlive() for daemon in daemons) and time.monotonic() < deadline:
            time.sleep(0.01)
    except Exception:
        # The JVM is gone, or keeps its processes to itself: what is lost is the tidy end.
        return
