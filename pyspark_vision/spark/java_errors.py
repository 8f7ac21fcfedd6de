"""Classes of the session's JVM, and its exceptions as one line with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyspark_vision.spark.internals import JavaError, java_class, java_exception

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Pairs of words that an exception says, and what to do about it; the first that fits counts.
Remedies = Sequence[tuple[tuple[str, ...], str]]


class Problem(Exception):
    """A check that failed: what is wrong, and what to do about it."""

    def __init__(self, what: str, to_do: str) -> None:
        super().__init__(f"{what}. {to_do}")


def has_class(session: SparkSession | None, name: str) -> bool:
    """Whether the JVM finds a class, in Spark's own jars or those of --jars.

    ``session`` is ``None`` where there is none yet, but a JVM.
    """
    loader = java_class(session, "java.lang.Thread").currentThread().getContextClassLoader()
    try:
        java_class(session, "java.lang.Class").forName(name, False, loader)
    except JavaError:
        return False
    return True


@contextmanager
def explained(what: str, remedies: Remedies) -> Iterator[None]:
    """Raise :class:`Problem` for what the JVM raises about ``what``."""
    from pyspark.errors import PySparkException

    try:
        yield
    except (JavaError, PySparkException) as error:
        said = in_a_line(error)
        to_do = remedy(said, what, remedies)
        raise Problem(f"{what}: {said[:300]}", to_do) from None


def remedy(said: str, what: str, remedies: Remedies) -> str:
    """What to do about ``said``; names and paths in it, those of ``what`` among them, say nothing.

    A bucket may be called 403-forbidden.

    >>> remedies = ((("Forbidden",), "Give the right to it"), (("NoSuchBucket",), "Create it"))
    >>> remedy("NoSuchBucketException: Forbidden is not there", "s3a://Forbidden/out", remedies)
    'Create it'
    """
    parts = urlsplit(what)
    paths = [PurePosixPath(parts.path), PurePosixPath(unquote(parts.path))]
    folders = [str(folder) for path in paths for folder in (path, *path.parents)]
    names = {what, parts.netloc, *folders} - {"/", "."}
    for name in sorted(filter(None, names), key=len, reverse=True):
        said = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", " ", said)
    said = re.sub(r"\S*/\S*", " ", said)
    return next((do for signs, do in remedies if any(sign in said for sign in signs)), "")


def in_a_line(error: Exception) -> str:
    """The exception and what caused it, without the stack."""
    exception = java_exception(error)
    if exception is None:
        return str(error).strip().splitlines()[0]
    lines: list[str] = []
    while exception is not None and len(lines) < 5:
        lines.append(str(exception.toString()).splitlines()[0])
        exception = exception.getCause()
    return " <- ".join(dict.fromkeys(lines))
