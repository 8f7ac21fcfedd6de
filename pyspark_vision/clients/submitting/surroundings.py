"""The environment variables of spark-submit, without what the user has set for other projects."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pyspark_vision.clients.submitting.errors import SubmitError
from pyspark_vision.doctor.machine import PYSPARK
from pyspark_vision.errors import WorkerEnvironmentError
from pyspark_vision.spark import internals, own_jvm

# spark-submit's own scripts run the first of these for a Python, whatever --conf says: jupyter, or
# a Python that another project needs. --python and --conf spark.pyspark.python name ours.
_PYTHONS = ("PYSPARK_DRIVER_PYTHON", "PYSPARK_PYTHON")
_LEFT_OUT = (*_PYTHONS, "PYSPARK_DRIVER_PYTHON_OPTS", "PYTHONHOME")


@dataclass(frozen=True)
class Surroundings:
    """``variables`` of spark-submit; ``remarks``: what was left out that a user may have meant."""

    variables: Mapping[str, str]
    remarks: tuple[str, ...] = ()


def surroundings(given: Mapping[str, str]) -> Surroundings:
    """Those given, without what would break a submission.

    Raises :class:`SubmitError` where Spark cannot start for this user at all.
    """
    try:
        own_jvm.refuse_nameless_user()
    except WorkerEnvironmentError as error:
        raise SubmitError(str(error)) from None
    variables = {name: value for name, value in given.items() if name not in _LEFT_OUT}
    remarks = [
        f"{name}={given[name]} is left out: --python PATH names executors' Python"
        for name in _PYTHONS
        if given.get(name, sys.executable) != sys.executable
    ]
    home = given.get("SPARK_HOME")
    if home and (why := _unfit(Path(home))):
        remarks.append(f"SPARK_HOME={home} is left out: {why}")
        del variables["SPARK_HOME"]
    if "SPARK_HOME" not in variables and (own := _own_spark()):
        variables["SPARK_HOME"] = str(own)
    return Surroundings({**variables, **own_jvm.utf8_locale()}, tuple(remarks))


def _unfit(home: Path) -> str | None:
    """Why a ``SPARK_HOME`` cannot be used; an edge node's own Spark can."""
    version = internals.spark_version(home)
    if version is None or not (home / "bin" / "spark-submit").is_file():
        return "there is no Spark"
    first, below = PYSPARK
    if not _parts(first) <= _parts(version) < _parts(below or "99"):
        return f"it is Spark {version}, and this package runs on {first} and later, below {below}"
    return None


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:2] if part.isdigit()]


def _own_spark() -> Path | None:
    """PySpark beside this very Python; its scripts would ask the first ``python3`` on the path."""
    spec = find_spec("pyspark")
    return Path(spec.origin).parent if spec and spec.origin else None
