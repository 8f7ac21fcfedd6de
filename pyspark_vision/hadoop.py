"""Hadoop's file systems, by which Spark reaches every store: local disks, HDFS, S3."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def hadoop_path(session: SparkSession, uri: str) -> tuple[Any, Any]:
    """(Hadoop file system of ``uri``, its path) in the JVM."""
    jvm: Any = session.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(uri)
    conf = session._jsc.hadoopConfiguration()
    return path.getFileSystem(conf), path


def literal(path: str) -> str:
    """A path that Spark's readers take as it is: they read ``[ ]``, ``*`` and such as patterns."""
    return re.sub(r"([][{}*?\\])", r"\\\1", path)


def read_text(session: SparkSession, uri: str) -> str | None:
    """The text of a small UTF-8 file; ``None`` if there is no file."""
    file_system, path = hadoop_path(session, uri)
    jvm: Any = session.sparkContext._jvm
    try:
        stream = file_system.open(path)
    except Py4JJavaError as error:
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
    may: the caller reads the file again after a moment to see whose it is.
    """
    file_system, path = hadoop_path(session, uri)
    if file_system.exists(path):
        return False
    if file_system.getUri().getScheme() == "file":
        return _create_local_text(Path(str(path.toUri().getPath())), text)
    staged = _staged(session, file_system, path, text)
    try:
        if file_system.rename(staged, path):
            return True
    except Py4JJavaError as error:
        if not is_java_error(error, "FileAlreadyExistsException"):
            raise
    file_system.delete(staged, False)
    return False


def is_java_error(error: Py4JJavaError, name: str) -> bool:
    """Whether the Java exception, or one of its causes, is of a class with this simple name."""
    java: Any = error.java_exception
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
