"""Hadoop's file systems, by which Spark reaches every store: local disks, HDFS, S3."""

from __future__ import annotations

import os
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark_vision.errors import InvalidOptionError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")

# Where a file is made in one step or not at all. In an object store two may make it at the same
# time, and the last one's stays: whose it is shows when both have been written.
_ATOMIC = ("file", "hdfs", "viewfs")
_SETTLED_AFTER_S = 2.0


def hadoop_path(session: SparkSession, uri: str) -> tuple[Any, Any]:
    """(Hadoop file system of ``uri``, its path) in the JVM."""
    jvm: Any = session.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(uri)
    conf = session._jsc.hadoopConfiguration()
    return path.getFileSystem(conf), path


def local_path(session: SparkSession | None, uri: str) -> Path | None:
    """``uri`` on the disks of this machine; ``None`` if it is elsewhere.

    Without a session (before the JVM starts) a path without a scheme is on this machine's disks
    unless a Hadoop configuration may say otherwise.
    """
    scheme, colon, rest = uri.partition(":")
    if colon and scheme in ("file", "local"):
        path = rest[2:] if rest.startswith("//") else rest
        return Path(path.removeprefix("localhost") if path.startswith("localhost/") else path)
    if colon and _SCHEME.fullmatch(scheme) and rest.startswith("/"):
        return None
    if session is None:
        is_local = not any(name in os.environ for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"))
    else:
        jvm: Any = session.sparkContext._jvm
        default = jvm.org.apache.hadoop.fs.FileSystem.getDefaultUri(
            session._jsc.hadoopConfiguration()
        )
        is_local = default.getScheme() == "file"
    return Path(uri).absolute() if is_local else None


def qualified(session: SparkSession, uri: str) -> str:
    """``uri`` with the scheme and the authority that Hadoop's default file system gives it."""
    if uri.partition("://")[2].partition("/")[0]:
        return uri
    local = local_path(session, uri)
    if local is not None:
        return f"file://{local}"
    file_system, path = hadoop_path(session, uri)
    return str(file_system.makeQualified(path))


def literal(path: str) -> str:
    """A path that Spark's readers take as it is: they read ``[ ]``, ``*`` and such as patterns."""
    return re.sub(r"([][{}*?\\])", r"\\\1", path)


def list_names(session: SparkSession | None, folder: str) -> list[str] | None:
    """The names in a folder, in no order; ``None`` if there is no folder.

    ``session`` may be ``None`` for a :func:`local_path`. Raises :class:`InvalidOptionError` for a
    file.
    """
    local = local_path(session, folder)
    if local is not None:
        try:
            return os.listdir(local)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            if not local.is_file():  # what it is to lie in is one
                return None
            raise InvalidOptionError(f"{folder} is a file; it must be a folder") from None
    assert session is not None
    file_system, path = hadoop_path(session, folder)
    try:
        if file_system.getFileStatus(path).isFile():
            raise InvalidOptionError(f"{folder} is a file; it must be a folder")
        return [status.getPath().getName() for status in file_system.listStatus(path)]
    except _java_exception() as error:
        if is_java_error(error, "FileNotFoundException"):
            return None
        raise


def read_text(session: SparkSession | None, uri: str) -> str | None:
    """The text of a small UTF-8 file; ``None`` if there is no file.

    ``session`` may be ``None`` for a :func:`local_path`.
    """
    local = local_path(session, uri)
    if local is not None:
        try:
            return local.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
    assert session is not None
    file_system, path = hadoop_path(session, uri)
    jvm: Any = session.sparkContext._jvm
    try:
        if not file_system.getFileStatus(path).isFile():
            return None
        stream = file_system.open(path)
    except _java_exception() as error:
        if is_java_error(error, "FileNotFoundException"):
            return None
        raise
    try:
        return str(jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def create_text(session: SparkSession, uri: str, text: str) -> bool:
    """Make a small UTF-8 file whole; ``False`` if there is one already, which stays as it is.

    On disks and HDFS of two that do this at the same time one succeeds. In an object store both
    may: the caller reads the file again, after :func:`settle`, to see whose it is.
    """
    local = local_path(session, uri)
    if local is not None:
        return _create_local_text(local, text)
    file_system, path = hadoop_path(session, uri)
    if file_system.exists(path):
        return False
    staged = _staged(session, file_system, path, text)
    try:
        if file_system.rename(staged, path):
            return True
    except _java_exception() as error:
        if not is_java_error(error, "FileAlreadyExistsException"):
            raise
    file_system.delete(staged, False)
    return False


def settle(file_system: Any) -> None:
    """Wait until a file that was just made shows whose it is, where two can make one at once."""
    if file_system.getUri().getScheme() not in _ATOMIC:
        time.sleep(_SETTLED_AFTER_S)


def _java_exception() -> type[Exception]:
    """py4j's, imported late: `doctor` runs where it may be missing."""
    from py4j.protocol import Py4JJavaError

    error: type[Exception] = Py4JJavaError
    return error


def is_java_error(error: Exception, name: str) -> bool:
    """Whether the Java exception, or one of its causes, is of a class with this simple name."""
    java: Any = getattr(error, "java_exception", None)
    while java is not None:
        if java.getClass().getSimpleName() == name:
            return True
        # HDFS's own answer, which some calls do not unwrap.
        if java.getClass().getSimpleName() == "RemoteException":
            return str(java.getClassName()).endswith(f".{name}")
        java = java.getCause()
    return False


def _create_local_text(path: Path, text: str) -> bool:
    """By a link: a rename on a disk replaces what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"_{path.name}.{uuid.uuid4().hex}")
    staged.write_text(text, encoding="utf-8")
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    except OSError:  # a disk without links: some shared folders, FAT
        return _create_in_place(path, text)
    finally:
        staged.unlink()
    return True


def _create_in_place(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _staged(session: SparkSession, file_system: Any, path: Any, text: str) -> Any:
    """A new file beside ``path`` under a name that readers ignore."""
    jvm: Any = session.sparkContext._jvm
    name = f"_{path.getName()}.{uuid.uuid4().hex}"
    staged = jvm.org.apache.hadoop.fs.Path(path.getParent(), name)
    stream = file_system.create(staged, False)
    try:
        stream.write(text.encode())
    finally:
        stream.close()
    return staged
