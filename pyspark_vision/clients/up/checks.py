"""What must be there before anything starts; each lack is one line that says what to do."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from pyspark_vision.clients import listening_socket
from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.submitting.errors import SubmitError
from pyspark_vision.clients.submitting.surroundings import Surroundings, surroundings
from pyspark_vision.doctor import machine
from pyspark_vision.errors import (
    MissingDependencyError,
    WorkerEnvironmentError,
)
from pyspark_vision.spark.java_errors import Problem

# What the parts import that the extra `clients`, which this command needs itself, does not bring.
_MODULES = {
    "pyspark": "spark",
    "ai_edge_litert": "litert",
    "prometheus_client": "metrics",
}


def refuse_lacks(port: int | None) -> Surroundings:
    """The environment of Spark, where Python, packages, Java, user, cache and ``port`` are fit.

    Raises a :class:`~pyspark_vision.errors.PysparkVisionError`.
    """
    os.getcwd()  # without it Java does not start, nor say why in a way to act on; cli.main does
    lacking = [name for name in _MODULES if find_spec(name) is None]
    if lacking:
        extras = ",".join(_MODULES[name] for name in lacking)
        raise MissingDependencyError(
            f"it needs {', '.join(lacking)}, which this Python has not: pip install "
            f"'pyspark_vision[{extras},clients]'"
        )
    try:
        machine.java()
        machine.packages()
        lacks = surroundings(os.environ)
    except (Problem, SubmitError) as error:
        raise WorkerEnvironmentError(str(error)) from None
    _refuse_unwritable_cache()
    if port:
        listening_socket.listen("127.0.0.1", port, port).close()
    return lacks


def fetch_jars() -> None:
    """The jars of Spark's Kafka source and of the broker; minutes, where this machine has none.

    Raises :class:`WorkerEnvironmentError`.
    """
    try:
        jars.files("kafka", "kafka-broker")
    except (jars.JarsNotFetchedError, OSError) as error:
        raise WorkerEnvironmentError(str(error)) from None


def _refuse_unwritable_cache() -> None:
    try:
        folder = jars.cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK)
        why = "you may not write it"
    except (jars.JarsNotFetchedError, OSError) as error:
        folder, is_writable, why = Path(getattr(error, "filename", "") or "~/.cache"), False, ""
        why = getattr(error, "strerror", None) or str(error)
    if not is_writable:
        raise WorkerEnvironmentError(
            f"the jars of Spark's Kafka source and of the broker cannot be kept in {folder} "
            f"({why}): set PYSPARK_VISION_CACHE to a folder that you may write"
        )
