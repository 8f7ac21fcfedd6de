"""Files below a folder of HDFS, Google Cloud Storage and such, which the JVM lists and reads.

Executors have no client for these stores but Spark's own reader, ``binaryFile``, to which each file
is named. What it leaves out by its name (``_DSC0001.JPG``) is read by the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from pyspark_vision import schemas
from pyspark_vision.errors import ErrorCode, InvalidOptionError
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.listed_files import ListedFile, Tally
from pyspark_vision.spark import hadoop
from pyspark_vision.spark.internals import LISTING_TASKS, JavaError, java_exception
from pyspark_vision.spark.session import parallelism

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROW = StructType([StructField("origin", StringType()), StructField("picture", schemas.ENCODED)])

Problem = tuple[ErrorCode, str]


def check(session: SparkSession, folder: str) -> None:
    """Raise :class:`InvalidOptionError` unless the folder, or file, is there."""
    if not hadoop.exists(session, folder):
        raise InvalidOptionError(f"there is no {folder}")


def files_below(
    session: SparkSession, folder: str, names: Names, tally: Tally
) -> Iterator[ListedFile]:
    """All files below a folder (any Hadoop URI), or the one file that it is."""
    folders = [hadoop.qualified(session, folder)]
    is_top = True
    while folders:
        folder = folders.pop()
        try:
            entries = hadoop.statuses(session, folder)
        except JavaError as error:
            if hadoop.is_java_error(error, "FileNotFoundException") and not is_top:
                continue  # it went meanwhile
            tally.unreadable(folder, _said(error))
            continue
        for entry in entries:
            if not entry.is_folder and tally.takes(names, entry.name):
                yield ListedFile(entry.uri, entry.uri, entry.size, entry.modified_ms)
        folders.extend(entry.uri for entry in reversed(entries) if entry.is_folder)
        is_top = False


def look(session: SparkSession, uri: str) -> tuple[int, int] | None:
    """Size and time of a file as it is now; ``None`` if it is not there."""
    try:
        now = hadoop.status(session, uri)
    except JavaError:
        return None
    return None if now is None else (now.size, now.modified_ms)


def read(session: SparkSession, files: Sequence[ListedFile]) -> DataFrame:
    """``origin, picture`` (``struct<content, error>``) of each file, persisted.

    One that has gone, or cannot be read, has its error: a read that fails as a whole is looked into
    and done again.
    """
    statuses = {file.origin: look(session, file.uri) for file in files}
    problems = {file.origin: _gone(file) for file in files if statuses[file.origin] is None}
    # What Spark's reader leaves out.
    unread = {
        origin for origin, now in statuses.items() if _is_hidden(origin) or (now and not now[0])
    }
    while True:
        pictures = _pictures(session, files, unread, problems).persist()
        try:
            there = {row.origin for row in pictures.select("origin").collect()}
        # Of many classes; whether it is a file's fault is found out here.
        except Exception:
            pictures.unpersist()
            unreadable = _unreadable(
                session, [file for file in files if file.origin not in problems]
            )
            if not unreadable:
                raise
            problems.update(unreadable)
            continue
        went = {file.origin: _gone(file) for file in files if file.origin not in there}
        if not went:
            return pictures
        pictures.unpersist()
        problems.update(went)


def _pictures(
    session: SparkSession,
    files: Sequence[ListedFile],
    unread: Set[str],
    problems: Mapping[str, Problem],
) -> DataFrame:
    good = [file.origin for file in files if file.origin not in problems]
    own = [(uri, _read_by_driver(session, uri)) for uri in good if uri in unread]
    own += [(uri, _failed(*problem)) for uri, problem in problems.items()]
    rows = session.createDataFrame(own, _ROW)
    if len(own) > 1:
        rows = rows.repartition(min(len(own), parallelism(session)))
    shown = [uri for uri in good if uri not in unread]
    return _read_by_executors(session, shown).unionByName(rows) if shown else rows


def _gone(file: ListedFile) -> Problem:
    return ErrorCode.FETCH_NOT_FOUND, f"no file {file.origin}"


def _unreadable(session: SparkSession, files: Iterable[ListedFile]) -> dict[str, Problem]:
    """The files that cannot be read to their end, by their origins."""
    unreadable = {}
    for file in files:
        try:
            hadoop.read_through(session, file.uri)
        except JavaError as error:
            unreadable[file.origin] = _problem(error)
    return unreadable


def _read_by_executors(session: SparkSession, uris: Sequence[str]) -> DataFrame:
    before = session.conf.get(LISTING_TASKS, None)
    # Spark has a task look at each path otherwise.
    session.conf.set(LISTING_TASKS, str(parallelism(session)))
    try:
        reader = session.read.format("binaryFile").option("ignoreMissingFiles", True)
        files = reader.load([hadoop.literal(uri) for uri in uris])
    finally:
        if before is None:
            session.conf.unset(LISTING_TASKS)
        else:
            session.conf.set(LISTING_TASKS, before)
    content = F.struct(F.col("content"), F.lit(None).alias("error")).cast(schemas.ENCODED)
    return files.select(F.col("path").alias("origin"), content.alias("picture"))


def _is_hidden(uri: str) -> bool:
    """Whether Spark's readers leave a file out by its name."""
    return uri.rpartition("/")[2].startswith(("_", "."))


def _read_by_driver(session: SparkSession, uri: str) -> dict[str, Any]:
    try:
        return {"content": bytearray(hadoop.read_bytes(session, uri)), "error": None}
    except JavaError as error:
        return _failed(*_problem(error))


def _failed(code: ErrorCode, message: str) -> dict[str, Any]:
    return {"content": None, "error": {"code": code.value, "message": message}}


def _problem(error: Exception) -> Problem:
    code = ErrorCode.FETCH_FAILED
    if hadoop.is_java_error(error, "FileNotFoundException"):
        code = ErrorCode.FETCH_NOT_FOUND
    elif hadoop.is_java_error(error, "AccessControlException"):
        code = ErrorCode.FETCH_DENIED
    return code, _said(error)


def _said(error: Exception) -> str:
    return str(java_exception(error).getMessage()).partition("\n")[0][:200]
