"""Input, output and checkpoint, through Spark's own Hadoop file systems.

What is written is a probe under a name of its own, and is gone afterwards, with the folders that
were made for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyspark_vision.spark import error_texts, gcs_connector
from pyspark_vision.spark.hadoop import literal, own_file_system
from pyspark_vision.spark.java_errors import Problem, Remedies, explained, has_class
from pyspark_vision.spark.secrets import has_credentials

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Readers pass over names that begin with an underscore.
_PROBE = "_pyspark_vision_doctor"

# Clients wait and try again for minutes by default; a doctor says soon that nothing answers.
_IMPATIENT = {
    "ipc.client.connect.timeout": "5000",
    "ipc.client.connect.max.retries": "1",
    "ipc.client.connect.max.retries.on.timeouts": "1",
    "dfs.client.failover.max.attempts": "2",
    "fs.s3a.attempts.maximum": "1",
    "fs.s3a.retry.limit": "1",
    "fs.s3a.connection.establish.timeout": "5s",
    "fs.s3a.connection.timeout": "10s",
    "fs.gs.http.max.retry": "1",
    "fs.gs.http.connect-timeout": "5000",
    "fs.gs.http.read-timeout": "10000",
}

# By scheme, the class and where it comes from.
_CONNECTORS = {
    "s3a": (
        "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "--packages org.apache.hadoop:hadoop-aws in the version of Spark's own hadoop-client jars",
    ),
    "gs": (
        gcs_connector.CONNECTOR,
        "--jars with com.google.cloud.bigdataoss:gcs-connector, classifier shaded",
    ),
}

# What to do, by what the JVM's exception says; the first that fits.
_REMEDIES: Remedies = (
    (
        error_texts.NO_CONNECTOR,
        "The connector's jars are missing: scripts/submit brings kafka, s3a and gs, --packages "
        "others",
    ),
    (
        error_texts.NOTHING_ANSWERS,
        "Nothing answers there: check host and port, for s3a also fs.s3a.endpoint, for gs "
        "fs.gs.storage.root.url",
    ),
    (error_texts.NOT_ALLOWED, "Give this user, or the role of executors, the right to it"),
    (
        error_texts.NO_AWS_CREDENTIALS,
        "Give executors a role, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (error_texts.NOT_OURS, "Choose a folder of yours"),
    (
        error_texts.NO_GOOGLE_CREDENTIALS,
        "Give this machine and the executors application-default credentials (docs/gcs.md)",
    ),
    (error_texts.NOT_THERE, "Create it, or correct the path"),
)


def connector(session: SparkSession, scheme: str) -> str:
    """Hadoop's file system of ``s3a`` or ``gs`` is on the class path."""
    name, origin = _CONNECTORS[scheme]
    if not has_class(session, name):
        raise Problem(
            f"this Spark has no {scheme}:// file system",
            f"Submit through scripts/submit, or with {origin}",
        )
    return name


def refuse_credentials(uri: str) -> None:
    """Raise :class:`Problem` for a user and a password in a URI."""
    if has_credentials(uri):
        raise Problem(
            f"{uri} holds credentials, which every log would show and s3a:// refuses",
            "Leave them out; executors find theirs by a role, a profile or AWS_* variables",
        )


def readable(session: SparkSession, uri: str) -> str:
    """The driver lists the folder (or glob), an executor reads a file of it."""
    with _explained(uri), _file_system(session, uri) as (file_system, path):
        matches = file_system.globStatus(path)
        if not matches:
            raise Problem(f"{uri} does not exist", "Create it, or correct --input")
        name = _first_file(file_system, matches[0])
        if name is None:
            return f"{uri} is there, and holds no file yet"
        length = _read_on_executor(session, name)
    return f"{uri}: an executor read {length} bytes of {name}"


def writable(session: SparkSession, uri: str) -> str:
    """An executor writes a row, the driver commits it, both as the job's sinks do; it is read back.

    A folder of one machine's disk is found out here: executors elsewhere write their own.
    """
    with _explained(uri), _probe(session, uri) as (_, probe):
        written = str(probe.toString())
        session.range(1).coalesce(1).write.parquet(written)
        try:
            read = session.read.parquet(literal(written)).count()
        except Exception:
            read = 0
        if read != 1:
            raise Problem(
                f"{uri}: what an executor wrote is not to be seen from here",
                "A path without scheme or with file: is each machine's own disk: give one that all "
                "reach (hdfs://…, s3a://…)",
            )
    return f"{uri}: an executor wrote a row, and it was read back"


def checkpoint(session: SparkSession, uri: str) -> str:
    """The driver creates, renames and deletes a file, as Spark does for each micro-batch."""
    with _explained(uri), _probe(session, uri) as (file_system, probe):
        written, renamed = probe.suffix("/written"), probe.suffix("/renamed")
        stream = file_system.create(written, False)
        stream.write(bytearray(b"pyspark-vision doctor\n"))
        stream.close()
        if not file_system.rename(written, renamed) or not file_system.exists(renamed):
            raise Problem(f"{uri}: a file could not be renamed", "Choose hdfs://… or s3a://…")
    return f"{uri}: written, renamed and deleted{_remark(session, uri)}"


def _remark(session: SparkSession, uri: str) -> str:
    scheme = urlsplit(uri).scheme
    if scheme == "file" and not (session.sparkContext.master or "").startswith("local"):
        return "; it is this machine's disk: a driver elsewhere would begin anew"
    if scheme in _CONNECTORS:
        return f"; {scheme} renames by copying: never run two drivers on one checkpoint"
    return ""


def _file_system(session: SparkSession, uri: str) -> AbstractContextManager[tuple[Any, Any]]:
    """(Hadoop file system, path) with short timeouts, apart from those that the session uses."""
    return own_file_system(session, uri, _IMPATIENT)


def _first_file(file_system: Any, status: Any) -> str | None:
    """The first file at or below it, without listing the rest."""
    if status.isFile():
        return str(status.getPath().toString())
    files = file_system.listFiles(status.getPath(), True)
    while files.hasNext():
        path = files.next().getPath()
        if not path.getName().startswith(("_", ".")):
            return str(path.toString())
    return None


def _read_on_executor(session: SparkSession, name: str) -> int:
    from pyspark.sql import functions as F

    rows = session.read.format("binaryFile").load(literal(name))
    row = rows.select(F.length("content")).first()
    return int(row[0]) if row else 0


@contextmanager
def _probe(session: SparkSession, uri: str) -> Iterator[tuple[Any, Any]]:
    """A path below ``uri`` for what is written; it goes, with the folders made for it."""
    name = f"{_PROBE}_{uuid.uuid4().hex}"
    with _file_system(session, f"{uri.rstrip('/')}/{name}") as (file_system, probe):
        new_folders = []
        folder = probe.getParent()
        while folder is not None and not file_system.exists(folder):
            new_folders.append(folder)
            folder = folder.getParent()
        try:
            yield file_system, probe
        finally:
            file_system.delete(probe, True)
            for folder in new_folders:  # the deepest first, and only while nobody else uses it
                if file_system.exists(folder) and not file_system.listStatus(folder):
                    file_system.delete(folder, False)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """What the JVM says about ``uri``, which must not hold credentials."""
    refuse_credentials(uri)
    with explained(uri, _REMEDIES):
        yield
