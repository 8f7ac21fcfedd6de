"""Spark sessions: what the library asks of one, and how jobs make theirs."""

from __future__ import annotations

import os
import sys
from typing import Any

from pyspark.sql import SparkSession

from pyspark_vision.errors import WorkerEnvironmentError


def active_session() -> Any:
    """The session that functions publish models to: the active one, classic or Connect."""
    session = SparkSession.getActiveSession()
    if session is None:
        try:
            from pyspark.sql.connect.session import SparkSession as ConnectSession
        except ImportError:
            ConnectSession = None  # type: ignore[assignment, misc]
        session = ConnectSession.getActiveSession() if ConnectSession is not None else None
    if session is None:
        raise WorkerEnvironmentError(
            "no active SparkSession: models are shipped to executors through one. Start it first "
            "with SparkSession.builder.getOrCreate()"
        )
    use_own_python_locally(session)
    return session


def is_connect(session: Any) -> bool:
    """Whether the session speaks Spark Connect (no JVM on this side)."""
    return not hasattr(session, "_jsparkSession")


def use_own_python_locally(session: Any) -> None:
    """In local mode, let workers run this very Python.

    With ``PYSPARK_PYTHON`` unset PySpark starts them with the ``python3`` on the path, which is
    not that of a virtual environment that was not activated, and lacks its packages.
    """
    if is_connect(session) or "PYSPARK_PYTHON" in os.environ:
        return
    context = session.sparkContext
    if context.master.startswith("local") and not context.getConf().get("spark.pyspark.python"):
        context.pythonExec = sys.executable
