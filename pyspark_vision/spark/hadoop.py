"""Hadoop's file systems, by which Spark reaches every store: local disks, HDFS, S3, GCS.

Whatever the package does in them goes through here. A URI is any that Hadoop knows; errors of the
JVM come as :data:`~pyspark_vision.spark.internals.JavaError`.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark import error_texts, gcs_connector
from pyspark_vision.spark.internals import (
    FILE_STATUS,
    JavaError,
    hadoop_configuration,
    java_class,
    java_exception,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_T = TypeVar("_T")

_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")

# Where a file is made in one step or not at all. In an object store two may make it at the same
# time, and the last one's stays: whose it is shows when both have been written.
_ATOMIC = ("file", "hdfs", "viewfs")
_SETTLED_AFTER_S = 2.0

_FILE_SYSTEM = "org.apache.hadoop.fs.FileSystem"
_IO = "org.apache.commons.io.IOUtils"


@dataclass(frozen=True)
class Status:
    """A file or a folder as it is listed: its whole URI, bytes (0 of a folder), time (ms)."""

    uri: str
    is_folder: bool
    size: int
    modified_ms: int

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return self.uri.rpartition("/")[2]


def hadoop_path(session: SparkSession, uri: str) -> tuple[Any, Any]:
    """(Hadoop file system of ``uri``, its path) in the JVM."""
    if uri.startswith("gs://"):
        gcs_connector.prepare(session)
    path = _path(session, uri)
    return path.getFileSystem(hadoop_configuration(session)), path


@contextmanager
def own_file_system(
    session: SparkSession, uri: str, settings: Mapping[str, str]
) -> Iterator[tuple[Any, Any]]:
    """As :func:`hadoop_path`, with settings of its own, apart from those that the session uses."""
    if uri.startswith("gs://"):
        gcs_connector.prepare(session)
    conf = java_class(session, "org.apache.hadoop.conf.Configuration")(
        hadoop_configuration(session)
    )
    for key, value in settings.items():
        conf.set(key, value)
    path = _path(session, uri)
    file_system = java_class(session, _FILE_SYSTEM).newInstance(path.toUri(), conf)
    try:
        yield file_system, path
    finally:
        file_system.close()


def _path(session: SparkSession, uri: str) -> Any:
    return java_class(session, "org.apache.hadoop.fs.Path")(uri)


def default_scheme(session: SparkSession) -> str:
    """The scheme of a URI without one."""
    file_systems = java_class(session, _FILE_SYSTEM)
    return str(file_systems.getDefaultUri(hadoop_configuration(session)).getScheme())


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
        is_local = default_scheme(session) == "file"
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


def exists(session: SparkSession, uri: str) -> bool:
    """Whether there is a file or a folder."""
    file_system, path = hadoop_path(session, uri)
    return bool(file_system.exists(path))


def status(session: SparkSession, uri: str) -> Status | None:
    """A file or a folder as it is now; ``None`` if it is not there."""
    file_system, path = hadoop_path(session, uri)
    return _unless_missing(lambda: _status(file_system.getFileStatus(path)))


def statuses(session: SparkSession, folder: str) -> list[Status]:
    """What is in a folder; ``FileNotFoundException`` of the JVM where there is no folder."""
    file_system, path = hadoop_path(session, folder)
    listed = file_system.listStatus(path)
    if file_system.getUri().getScheme() == "file":
        # As text they have owners, for each of which Hadoop starts a process (`ls`).
        return [_status(java) for java in listed]
    return _by_their_text(session, listed)


def _by_their_text(session: SparkSession, listed: Any) -> list[Status]:
    """By a few calls into the JVM for all.

    One by one they take five calls each: minutes for a hundred thousand files.
    """
    # Of the type that Java's methods are declared for: py4j looks for no other.
    element = java_class(session, "java.lang.Class").forName("java.lang.Object")
    arrays = java_class(session, "java.lang.reflect.Array")
    objects = arrays.newInstance(element, len(listed))
    java_class(session, "java.lang.System").arraycopy(listed, 0, objects, 0, len(listed))
    # No name has a zero byte.
    strings = java_class(session, "org.apache.commons.lang3.StringUtils")
    texts = strings.join(objects, "\0").split("\0")
    known = [FILE_STATUS.match(text) for text in texts[: len(listed)]]
    return [
        Status(text["path"], text["folder"] == "true", int(text["size"] or 0), int(text["time"]))
        if text
        else _status(listed[index])  # another version of Hadoop prints it otherwise
        for index, text in enumerate(known)
    ]


def _status(java: Any) -> Status:
    uri, is_folder = str(java.getPath().toString()), bool(java.isDirectory())
    size = 0 if is_folder else int(java.getLen())
    return Status(uri, is_folder, size, int(java.getModificationTime()))


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
    there = status(session, folder)
    if there is not None and not there.is_folder:
        raise InvalidOptionError(f"{folder} is a file; it must be a folder")
    listed = _unless_missing(lambda: statuses(session, folder))
    return None if listed is None else [entry.name for entry in listed]


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
    there = status(session, uri)  # first: below a file, opening is another error
    if there is None or there.is_folder:
        return None
    content = bytes_if_there(session, uri)
    return None if content is None else content.decode(errors="replace")


def read_bytes(session: SparkSession, uri: str) -> bytes:
    """What is in a file."""
    file_system, path = hadoop_path(session, uri)
    stream = file_system.open(path)
    try:
        return bytes(java_class(session, _IO).toByteArray(stream))
    finally:
        stream.close()


def read_through(session: SparkSession, uri: str) -> None:
    """Read a file to its end and keep nothing, to have the JVM's exception if it cannot be read."""
    file_system, path = hadoop_path(session, uri)
    stream = file_system.open(path)
    try:
        nowhere = java_class(session, "java.io.OutputStream").nullOutputStream()
        java_class(session, _IO).copyLarge(stream, nowhere)
    finally:
        stream.close()


def bytes_if_there(session: SparkSession, uri: str) -> bytes | None:
    """:func:`read_bytes`; ``None`` if there is no file."""
    return _unless_missing(lambda: read_bytes(session, uri))


def create_text(session: SparkSession, uri: str, text: str) -> bool:
    """Make a small UTF-8 file whole; ``False`` if there is one already, which stays as it is.

    On disks and HDFS of two that do this at the same time one succeeds. In an object store both
    may: the caller reads the file again, after :func:`settle`, to see whose it is.
    """
    local = local_path(session, uri)
    if local is not None:
        return _create_local_text(local, text)
    if exists(session, uri):
        return False
    # Beside it, under a name that readers ignore.
    folder, _, name = uri.rpartition("/")
    staged = f"{folder}/_{name}.{uuid.uuid4().hex}"
    write_text(session, staged, text)
    try:
        rename(session, staged, uri)
    except (OSError, JavaError) as error:
        if isinstance(error, JavaError) and not is_java_error(error, "FileAlreadyExistsException"):
            raise
        delete(session, staged)
        return False
    return True


def settle(file_system: Any) -> None:
    """Wait until a file that was just made shows whose it is, where two can make one at once."""
    if file_system.getUri().getScheme() not in _ATOMIC:
        time.sleep(_SETTLED_AFTER_S)


def write_text(session: SparkSession, uri: str, text: str, *, overwrites: bool = False) -> None:
    """Write a UTF-8 file in its place, where others see it grow.

    Raises ``FileAlreadyExistsException`` of the JVM if it is there, unless it ``overwrites``.
    """
    file_system, path = hadoop_path(session, uri)
    _write(file_system, path, text.encode(), overwrites=overwrites)


def create_bytes(session: SparkSession, uri: str, content: bytes) -> bool:
    """Make a file whole; ``False`` if there is one already, which stays as it is.

    Of two that do this at the same time one succeeds, but for stores without conditional writes.
    """
    file_system, path = hadoop_path(session, uri)
    if file_system.exists(path):
        return False
    if file_system.getUri().getScheme() not in _ATOMIC:
        try:
            _write(file_system, path, content, overwrites=False)
        except JavaError as error:
            if is_made_by_another(error):
                return False
            raise
        return True
    staged, staged_path = _beside(session, uri)
    try:
        _write(file_system, staged_path, content, overwrites=True)
        rename(session, staged, uri)
    except (OSError, JavaError):
        file_system.delete(staged_path, False)
        if file_system.exists(path):
            return False
        raise
    return True


def replace_bytes(session: SparkSession, uri: str, content: bytes) -> None:
    """Make a file whole, in place of one that may be there.

    Where a file shows while it is written, it is written beside, under a name that readers ignore.
    """
    file_system, path = hadoop_path(session, uri)
    if file_system.getUri().getScheme() not in _ATOMIC:
        _write(file_system, path, content, overwrites=True)
        return
    staged, staged_path = _beside(session, uri)
    _write(file_system, staged_path, content, overwrites=True)
    file_system.delete(path, False)
    rename(session, staged, uri)


def _beside(session: SparkSession, uri: str) -> tuple[str, Any]:
    """A name of its own, in the same folder, that readers ignore; and its path."""
    folder, _, name = uri.rpartition("/")
    staged = f"{folder}/_{name}.{uuid.uuid4().hex}"
    return staged, hadoop_path(session, staged)[1]


def _write(file_system: Any, path: Any, content: bytes, *, overwrites: bool) -> None:
    stream = file_system.create(path, overwrites)
    try:
        stream.write(content)
    finally:
        stream.close()


def rename(session: SparkSession, source: str, target: str) -> None:
    """Rename a file or a folder; raises ``OSError`` where the file system refuses."""
    file_system, path = hadoop_path(session, source)
    _, target_path = hadoop_path(session, target)
    if not file_system.rename(path, target_path):
        raise OSError(f"cannot rename {source} to {target}")


def delete(session: SparkSession, uri: str) -> None:
    """Remove a file, or a folder and all in it; nothing if it is not there."""
    file_system, path = hadoop_path(session, uri)
    file_system.delete(path, True)


def _unless_missing(call: Callable[[], _T]) -> _T | None:
    try:
        return call()
    except JavaError as error:
        if is_java_error(error, "FileNotFoundException"):
            return None
        raise


def is_made_by_another(error: Exception) -> bool:
    """Whether a file could not be made because another has made it, or is making it."""
    # The second: on HDFS, while the other is still writing it.
    if is_java_error(error, "FileAlreadyExistsException", "AlreadyBeingCreatedException"):
        return True
    return any(error_texts.made_by_another(str(java)) for java in _with_causes(error))


def is_java_error(error: Exception, *names: str) -> bool:
    """Whether the Java exception, or one of its causes, is of a class with such a simple name."""
    for java in _with_causes(error):
        name = java.getClass().getSimpleName()
        if name in names:
            return True
        # HDFS's own answer, which some calls do not unwrap.
        if name == "RemoteException":
            return str(java.getClassName()).rpartition(".")[2] in names
    return False


def _with_causes(error: Exception) -> Iterator[Any]:
    java = java_exception(error)
    while java is not None:
        yield java
        java = java.getCause()


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
