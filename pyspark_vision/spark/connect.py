"""Jobs on a Spark Connect server: which one, and what its executors need of this machine.

Without a session of its own here: :func:`pyspark_vision.spark.session.job_session` calls these.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
import weakref
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from pyspark_vision.errors import MissingDependencyError
from pyspark_vision.spark import internals

# A worker stuck in native code is found by its stack trace and replaced, as in a classic job;
# these are the names that a session may set. Servers that do not know one ignore it.
_RUNTIME_DEFAULTS = {
    "spark.sql.execution.pyspark.udf.idleTimeoutSeconds": "300",
    "spark.sql.execution.pyspark.udf.killOnIdleTimeout": "true",
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
}

_PACKAGE_ZIP = "pyspark_vision.zip"

_shipped_to: weakref.WeakSet[Any] = weakref.WeakSet()


def is_wanted() -> bool:
    """Whether the job was started for Spark Connect: ``--remote``, ``SPARK_REMOTE`` or a setting.

    ``SparkSession.builder`` alone does not see what ``spark-submit --remote`` says to a script.
    """
    submitted = internals.connect_settings()
    named = {"SPARK_REMOTE", internals.CONNECT_SESSION} & set(os.environ)
    return (
        bool(named)
        or "spark.remote" in submitted
        or submitted.get("spark.api.mode", "").lower() == "connect"
    )


def refuse_old_version(version: str) -> None:
    """Raise :class:`MissingDependencyError` for a PySpark with which Connect was not tried."""
    if version.startswith("3."):
        raise MissingDependencyError(
            f"Spark Connect needs PySpark 4.0 or later, and this is {version}: use a classic "
            "session (without --remote and SPARK_REMOTE), or install a later PySpark"
        )


def make_session(name: str, local_defaults: Mapping[str, str]) -> Any:
    """The Connect session of a job, with the package and the files of spark-submit shipped.

    ``local_defaults`` go to the server where this process starts it (``local[2]``); on one that
    runs already, its administrator and spark-submit have said what is to be said.
    """
    refuse_old_version(pyspark.__version__)
    submitted = internals.connect_settings()
    address = submitted.get("spark.remote") or os.environ.get("SPARK_REMOTE", "")
    builder = SparkSession.builder
    if address:
        builder = builder.remote(address)
    if not address.startswith("sc://"):
        internals.leave_submitted_jvm()
        for key, value in {"spark.app.name": name, **local_defaults, **submitted}.items():
            builder = builder.config(key, value)
    with warnings.catch_warnings():
        # PySpark tries once more what it has given to its local server already.
        warnings.filterwarnings("ignore", "Failed to set", UserWarning)
        session: Any = builder.getOrCreate()
    known = session.conf.getAll
    for key, value in _RUNTIME_DEFAULTS.items():
        if key not in known:
            session.conf.set(key, value)
    _ship(session, submitted)
    return session


def _ship(session: Any, submitted: Mapping[str, str]) -> None:
    """Send the package, ``--py-files``, ``--archives`` and ``--files``, once per session.

    spark-submit itself sends them to classic clusters only. The package always: what executors
    may have installed can be of another version than this one.
    """
    if session in _shipped_to:
        return
    py_files = _listed(submitted, "spark.submit.pyFiles")
    with tempfile.TemporaryDirectory() as folder:
        path_before = list(sys.path)
        if not any(Path(file).name == _PACKAGE_ZIP for file in py_files):
            session.addArtifacts(str(_package_zip(Path(folder))), pyfile=True)
        for file in py_files:
            session.addArtifacts(file, pyfile=True)
        # addArtifacts puts them before this process's own modules, too.
        sys.path[:] = path_before
    for archive in _listed(submitted, "spark.archives"):
        session.addArtifacts(archive, archive=True)
    names = {Path(file).name for file in py_files}
    for file in _listed(submitted, "spark.files"):  # spark-submit lists the py-files here again
        if Path(file).name not in names:
            session.addArtifacts(file, file=True)
    _shipped_to.add(session)


def _listed(settings: Mapping[str, str], key: str) -> list[str]:
    return [entry for entry in settings.get(key, "").split(",") if entry]


def _package_zip(folder: Path) -> Path:
    """The modules of this package as a zip: the one that they come from, or a fresh one."""
    package = Path(__file__).parents[1]
    if package.parent.is_file():
        return package.parent
    target = folder / _PACKAGE_ZIP
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for module in sorted(set(package.rglob("*.py")) - set(package.glob("clients/**/*.py"))):
            archive.write(module, module.relative_to(package.parent))
    return target
