"""Files below a folder of HDFS, Google Cloud Storage and such, which the JVM lists and reads.

Executors have no client for these stores but Spark's own reader, ``binaryFile``, to which each file
is named. What it leaves out by its name (``_DSC0001.JPG``) is read by the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from pyspark_vision import schemas
from pyspark_vision.errors import ErrorCode, InvalidOptionError
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.listed_files import ListedFile, Tally
from pyspark_vision.spark.hadoop import hadoop_path, is_java_error, literal
from pyspark_vision.spark.session import parallelism

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# How a status prints itself. A name may hold anything, so its end is the last that fits.
_STATUS = re.compile(
    r"\w+\{path=(?P<path>.*); isDirectory=(?P<folder>true|false);(?: length=(?P<size>\d+);.*?)?"
    r" modification_time=(?P<time>\d+);",
    re.DOTALL,
)

_LOOKS = "spark.sql.sources.parallelPartitionDiscovery.parallelism"

_ROW = StructType([StructField("origin", StringType()), StructField("picture", schemas.ENCODED)])

Problem = tuple[ErrorCode, str]


def check(session: SparkSession, folder: str) -> None:
    """Raise :class:`InvalidOptionError` unless the folder, or file, is there."""
    file_system, path = hadoop_path(session, folder)
    if not file_system.exists(path):
        raise InvalidOptionError(f"there is no {folder}")


def files_below(
    session: SparkSession, folder: str, names: Names, tally: Tally
) -> Iterator[ListedFile]:
    """All files below a folder (any Hadoop URI), or the one file that it is."""
    file_system, path = hadoop_path(session, folder)
    folders = [file_system.makeQualified(path)]
    is_top = True
    while folders:
        path = folders.pop()
        try:
            statuses = file_system.listStatus(path)
        except Py4JJavaError as error:
            if is_java_error(error, "FileNotFoundException") and not is_top:
                continue  # it went meanwhile
            tally.unreadable(str(path.toString()), _said(error))
            continue
        below = []
        for index, (name, is_folder, size, modified_ms) in enumerate(_statuses(session, statuses)):
            if is_folder:
                below.append(statuses[index].getPath())
            elif tally.takes(names, name.rpartition("/")[2]):
                yield ListedFile(name, name, size, modified_ms)
        folders.extend(reversed(below))
        is_top = False


def look(session: SparkSession, uri: str) -> tuple[int, int] | None:
    """Size and time of a file as it is now; ``None`` if it is not there."""
    file_system, path = hadoop_path(session, uri)
    try:
        status = file_system.getFileStatus(path)
    except Py4JJavaError:
        return None
    return int(status.getLen()), int(status.getModificationTime())


def read(session: SparkSession, files: Sequence[ListedFile]) -> DataFrame:
    """``origin, picture`` (``struct<content, error>``) of each file, persisted.

    One that has gone, or cannot be read, has its error: a read that fails as a whole is looked into
    and done again.
    """
    seen = {file.origin: look(session, file.uri) for file in files}
    problems = {file.origin: _gone(file) for file in files if seen[file.origin] is None}
    # What Spark's reader leaves out.
    unread = {origin for origin, now in seen.items() if _is_hidden(origin) or (now and not now[0])}
    while True:
        pictures = _pictures(session, files, unread, problems).persist()
        try:
            there = {row.origin for row in pictures.select("origin").collect()}
        # Of many classes; whether it is a file's fault is found out here.
        except Exception:
            pictures.unpersist()
            found = _unreadable(session, [file for file in files if file.origin not in problems])
            if not found:
                raise
            problems.update(found)
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
    found = {}
    for file in files:
        try:
            _consume(session, file.uri)
        except Py4JJavaError as error:
            found[file.origin] = _problem(error)
    return found


def _statuses(session: SparkSession, statuses: Any) -> Iterator[tuple[str, bool, int, int]]:
    """(path, is a folder, bytes, time) of each, by a few calls into the JVM for all of them.

    One by one they take six calls each: minutes for a hundred thousand files.
    """
    jvm: Any = session.sparkContext._jvm
    gateway: Any = session.sparkContext._gateway
    # Of the type that Java's methods are declared for: py4j looks for no other.
    objects = gateway.new_array(jvm.java.lang.Object, len(statuses))
    jvm.java.lang.System.arraycopy(statuses, 0, objects, 0, len(statuses))
    # No name has a zero byte.
    texts = jvm.org.apache.commons.lang3.StringUtils.join(objects, "\0").split("\0")
    for status, text in zip(range(len(statuses)), texts, strict=False):
        known = _STATUS.match(text)
        if known is None:  # another version of Hadoop prints it otherwise
            one = statuses[status]
            yield (
                str(one.getPath().toString()),
                bool(one.isDirectory()),
                int(one.getLen()),
                int(one.getModificationTime()),
            )
        else:
            size = int(known["size"] or 0)
            yield known["path"], known["folder"] == "true", size, int(known["time"])


def _read_by_executors(session: SparkSession, uris: Sequence[str]) -> DataFrame:
    before = session.conf.get(_LOOKS, None)
    # Spark has a task look at each path otherwise.
    session.conf.set(_LOOKS, str(parallelism(session)))
    try:
        reader = session.read.format("binaryFile").option("ignoreMissingFiles", True)
        files = reader.load([literal(uri) for uri in uris])
    finally:
        if before is None:
            session.conf.unset(_LOOKS)
        else:
            session.conf.set(_LOOKS, before)
    content = F.struct(F.col("content"), F.lit(None).alias("error")).cast(schemas.ENCODED)
    return files.select(F.col("path").alias("origin"), content.alias("picture"))


def _is_hidden(uri: str) -> bool:
    """Whether Spark's readers leave a file out by its name."""
    return uri.rpartition("/")[2].startswith(("_", "."))


def _read_by_driver(session: SparkSession, uri: str) -> dict[str, Any]:
    jvm: Any = session.sparkContext._jvm
    file_system, path = hadoop_path(session, uri)
    try:
        stream = file_system.open(path)
        try:
            content = bytearray(jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
            return {"content": content, "error": None}
        finally:
            stream.close()
    except Py4JJavaError as error:
        return _failed(*_problem(error))


def _consume(session: SparkSession, uri: str) -> None:
    jvm: Any = session.sparkContext._jvm
    file_system, path = hadoop_path(session, uri)
    stream = file_system.open(path)
    try:
        nowhere = jvm.java.io.OutputStream.nullOutputStream()
        jvm.org.apache.commons.io.IOUtils.copyLarge(stream, nowhere)
    finally:
        stream.close()


def _failed(code: ErrorCode, message: str) -> dict[str, Any]:
    return {"content": None, "error": {"code": code.value, "message": message}}


def _problem(error: Py4JJavaError) -> Problem:
    code = ErrorCode.FETCH_FAILED
    if is_java_error(error, "FileNotFoundException"):
        code = ErrorCode.FETCH_NOT_FOUND
    elif is_java_error(error, "AccessControlException"):
        code = ErrorCode.FETCH_DENIED
    return code, _said(error)


def _said(error: Py4JJavaError) -> str:
    return str(error.java_exception.getMessage()).partition("\n")[0][:200]
