"""Names of local files that a JVM without a UTF-8 locale can neither write nor find.

Under a POSIX locale (cron, systemd, bare images) Java takes file names for ASCII: ``sortie-é``
becomes ``sortie-??``. (Pictures below a folder have any names: Python lists and reads them.) A JVM
that this process starts gets a UTF-8 locale (:mod:`pyspark_vision.spark.own_jvm`); one that
``spark-submit`` has started stays as it is.
"""

from __future__ import annotations

import argparse
import codecs
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark import connect, internals

# Options of jobs that name what Spark reads and writes; this Python reads the rest itself.
_PATHS = (
    *("input", "images", "glob", "keys", "checkpoint", "dead_letters"),
    *("output", "output_json", "output_events", "output_gcs_path"),
)


def refuse_lost_names(options: argparse.Namespace) -> None:
    """Raise :class:`InvalidOptionError` for a path of a job that its JVM would misname.

    A JVM that is not there yet misnames nothing: see the module. What no JVM can name is refused
    in any case: bytes that are no UTF-8, and a colon in the first part of a path.
    """
    for key in _PATHS:
        _refuse_unnameable(key, getattr(options, key, None))
    if not internals.is_submitted() or connect.is_wanted():
        return
    charset = _charset_of_jvm()
    if same_charset(charset, sys.getfilesystemencoding()):
        return
    why = (
        f"Spark's JVM takes file names for {charset}, for its locale is not UTF-8: "
        "set LC_ALL=C.UTF-8 before spark-submit"
    )
    for what, name in lost_names(options):
        raise InvalidOptionError(
            f"{what} {ascii(name)[1:-1]} would be misnamed or not found. {why}"
        )


def _refuse_unnameable(key: str, value: object) -> None:
    if not isinstance(value, str):
        return
    flag = f"--{key.replace('_', '-')}"
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidOptionError(
            f"{flag} {ascii(value)[1:-1]} holds bytes that are no UTF-8, which Spark cannot name: "
            "choose another name"
        ) from None
    if key.startswith("output") and re.match("[^/:]*:[^/]", value):
        raise InvalidOptionError(
            f"{flag} {value}: Spark takes what stands before the colon for a scheme, as in "
            f"s3a://; give the whole path, {os.path.abspath(value)}, or another name"
        )


def same_charset(name: str, other: str) -> bool:
    """Whether two names mean one encoding; a name that Python does not know is another."""
    try:
        return codecs.lookup(name).name == codecs.lookup(other).name
    except LookupError:
        return name.lower() == other.lower()


def lost_names(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(what it is, name) of each local path beyond ASCII that the job reads or writes by Spark."""
    yield from (("the argument", word) for word in _arguments_as_typed() if not word.isascii())
    paths = dict(_local_paths(options))
    for key, path in paths.items():
        if not path.isascii():
            yield f"--{key.replace('_', '-')}", path
    if any(not os.path.isabs(path) for path in paths.values()) and not os.getcwd().isascii():
        yield "the working folder", os.getcwd()
    for what, folder in (
        ("the folder for temporary files (TMPDIR)", tempfile.gettempdir()),
        ("SPARK_LOCAL_DIRS", os.environ.get("SPARK_LOCAL_DIRS", "")),
    ):
        if not folder.isascii():
            yield what, folder


def _charset_of_jvm() -> str:
    # Without a session: it would be late, for the session writes.
    internals.start_jvm()
    return internals.file_name_charset()


def _arguments_as_typed() -> list[str]:
    """Those of spark-submit's JVM, our parent; in ours it has put ``?`` for what it lacks."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")
    except OSError:  # no Linux: the options must do
        return []
    is_main = [word.startswith(internals.SUBMIT_CLASS) for word in words]
    main = is_main.index(True) if any(is_main) else len(words)
    return [os.fsdecode(word) for word in words[main:]]


def _local_paths(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for key in _PATHS:
        value = getattr(options, key, None)
        if isinstance(value, str) and _is_local(value):
            yield key, value


def _is_local(value: str) -> bool:
    scheme = urlsplit(value).scheme if ":" in value.split("/")[0] else ""
    return scheme in ("", "file", "local")
