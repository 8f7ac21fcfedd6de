"""The errors a caller can meet, and the codes and reasons a row can carry.

::

    PysparkVisionError (Exception)
    ├── InvalidModelError (ValueError)      a spec, bundle, label file or model that does not fit
    ├── InvalidOptionError (ValueError)     an argument or flag out of its range
    ├── MissingDependencyError (ImportError)  a package that an extra brings is not installed
    ├── CheckpointInUseError (RuntimeError) another job works on this checkpoint or output
    ├── IncompleteInputError (RuntimeError) a batch job that has no row or reason for some input
    ├── StreamError (RuntimeError)          a running stream that ended before its work was done
    ├── WorkerEnvironmentError (RuntimeError) executors cannot run Python as the driver does
    └── WorkerKilledError (RuntimeError)    a job whose Python workers were killed, most likely for
                                            want of memory

All but ``IncompleteInputError``, ``StreamError`` and ``WorkerKilledError`` are raised on the
driver, before a job starts, and name the value, the rule and the choices. A column of the wrong
type is Spark's own ``AnalysisException``, with our words (``columns/type_checks.py`` says why).
A bad *row* never raises: it carries an :class:`ErrorCode` in its ``error`` field. A row whose
result lacks something carries a :class:`WarningCode` in its ``warnings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pyspark_vision.executor.row_errors import ErrorCode, WarningCode

__all__ = [
    "CheckpointInUseError",
    "DropReason",
    "ErrorCode",
    "IncompleteInputError",
    "InvalidModelError",
    "InvalidOptionError",
    "MissingDependencyError",
    "PysparkVisionError",
    "StreamError",
    "WarningCode",
    "WorkerEnvironmentError",
    "WorkerKilledError",
    "by_reason",
]


class DropReason(StrEnum):
    """Every reason that stands in ``dropped`` of a row that was left out on purpose."""

    STALE = "stale"
    SUPERSEDED = "superseded"
    DUPLICATE = "duplicate"
    OTHER_EVENT = "other_event"
    OWN_FILE = "own_file"


class PysparkVisionError(Exception):
    """Base of the errors that this library raises on the driver."""


class InvalidModelError(PysparkVisionError, ValueError):
    """A spec, bundle, label file or model that does not exist, does not fit or is refused."""


class InvalidOptionError(PysparkVisionError, ValueError):
    """An argument, flag or setting out of its range; the message names the choices."""


class MissingDependencyError(PysparkVisionError, ImportError):
    """A package is not installed; the message names the extra that brings it."""


class WorkerEnvironmentError(PysparkVisionError, RuntimeError):
    """The executors' Python lacks what the job needs; the message names the setting."""


class WorkerKilledError(PysparkVisionError, RuntimeError):
    """Python workers were killed again and again; the message says what they need and have."""


class CheckpointInUseError(PysparkVisionError, RuntimeError):
    """Another job works on this checkpoint or output; the message says which, and where."""


class StreamError(PysparkVisionError, RuntimeError):
    """A stream that ended before its work was done; the message says how to go on."""


class IncompleteInputError(PysparkVisionError, RuntimeError):
    """A batch job found nothing to read, or not all that it found has a row or a reason."""


def by_reason(counted: Mapping[str, int]) -> str:
    """``3 (hidden 2, not_matching 1)``"""
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counted.items()))
    return f"{sum(counted.values())}" + (f" ({reasons})" if reasons else "")
