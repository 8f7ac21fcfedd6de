"""Where results lie: a local path, ``s3://``, ``gs://`` or ``hdfs://``, in pyarrow's terms."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from pyspark_vision.errors import InvalidOptionError, PysparkVisionError

KAFKA_SCHEME = "kafka:"
# The NameNode's own default for its pages, where WebHDFS answers (dfs.namenode.http-address).
WEBHDFS_PORT = 9870


class PlaceError(PysparkVisionError, RuntimeError):
    """A place that cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Place:
    """``shown``: as the user wrote it; ``path``: of the folder or file, in ``system``."""

    shown: str
    system: Any
    path: str


def find_place(where: str) -> Place:
    """The file system of a path or URI; nothing is read yet.

    ``s3://`` and ``s3a://`` take credentials, region and ``AWS_ENDPOINT_URL`` from the environment,
    ``gs://`` application-default credentials, or ``STORAGE_EMULATOR_HOST`` and none.
    ``hdfs://`` goes by Hadoop's own library where there is one, else by WebHDFS, as ``webhdfs://``
    always does. Raises :class:`InvalidOptionError` for other schemes, :class:`PlaceError` where the
    file system cannot be had.
    """
    scheme, colon, _ = where.partition("://")
    if not colon:
        local = where.removeprefix("file:")
        return Place(where, fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(local)))
    try:
        parts = urlsplit(where)
        _ = parts.port
    except ValueError as error:
        raise InvalidOptionError(f"{where}: it is no address: {str(error).lower()}") from None
    if scheme == "file":
        return Place(where, fs.LocalFileSystem(), unquote(parts.path))
    if scheme in ("s3", "s3a"):
        return Place(where, _s3(where), f"{parts.netloc}{parts.path}".rstrip("/"))
    if scheme == "gs":
        return Place(where, _gcs(where), where.removeprefix("gs://").rstrip("/"))
    if scheme in ("hdfs", "webhdfs"):
        return Place(where, _hdfs(where), unquote(parts.path) or "/")
    raise InvalidOptionError(
        f"{where}: {scheme}:// is not read here. Give a local path, s3://, gs://, hdfs:// or "
        "webhdfs://, or copy the results here first"
    )


def why_unreadable(place: Place, error: Exception) -> str:
    """What a file system's error means, in one line."""
    if isinstance(error, FileNotFoundError):
        return f"{place.shown} is not there"
    if isinstance(error, PermissionError):
        return f"{place.shown} may not be read by this user"
    said = " ".join(str(error).split())
    if "PERMISSION_DENIED" in said or "access token" in said:
        return f"{place.shown}: access denied. Google's application-default credentials say who"
    if "ACCESS_DENIED" in said or "403" in said or "InvalidAccessKeyId" in said:
        return f"{place.shown}: access denied. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say who"
    return f"{place.shown} cannot be listed: {said[:300]}"


def _s3(where: str) -> Any:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    given: dict[str, Any] = {"region": region} if region else {}
    if endpoint:
        address = urlsplit(endpoint)
        given |= {"endpoint_override": address.netloc, "scheme": address.scheme}
    try:
        # A page waits for it: the client's own minute is too long.
        return fs.S3FileSystem(connect_timeout=5, request_timeout=30, **given)
    except (pa.ArrowException, OSError) as error:
        raise PlaceError(f"{where}: {' '.join(str(error).split())}") from None


def _gcs(where: str) -> Any:
    given: dict[str, Any] = {}
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        scheme, _, address = emulator.rpartition("://")
        given = {"anonymous": True, "scheme": scheme or "http"}
        given["endpoint_override"] = address.rstrip("/")
    try:
        # A page waits for it: the client's own quarter of an hour is too long.
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=10), **given)
    except (pa.ArrowException, OSError) as error:
        raise PlaceError(f"{where}: {' '.join(str(error).split())}") from None


def _hdfs(where: str) -> Any:
    parts = urlsplit(where)
    if parts.scheme == "hdfs":
        try:
            return fs.HadoopFileSystem(parts.hostname or "default", parts.port or 8020)
        except (pa.ArrowException, OSError):
            pass  # no libhdfs, no JVM for it: the rule outside a Hadoop installation
    try:
        from fsspec.implementations.webhdfs import WebHDFS
    except ModuleNotFoundError as error:
        raise PlaceError(
            f"{where}: it needs {error.name}: pip install 'pyspark_vision[clients]'"
        ) from None
    host, port = _webhdfs_address(parts.scheme, parts.hostname, parts.port)
    user = parts.username or os.environ.get("HADOOP_USER_NAME") or os.environ.get("USER")
    system = WebHDFS(host, port=port, user=user, use_listings_cache=False, skip_instance_cache=True)
    return fs.PyFileSystem(fs.FSSpecHandler(system))


def _webhdfs_address(scheme: str, host: str | None, port: int | None) -> tuple[str, int]:
    """Of ``webhdfs://`` as written; of ``hdfs://`` as hdfs-site.xml says, else the default port."""
    if scheme == "webhdfs":
        return host or "localhost", port or WEBHDFS_PORT
    configured = _configured("hdfs-site.xml", "dfs.namenode.http-address")
    if configured:
        name, _, number = configured.rpartition(":")
        if number.isdigit():
            return (host or "localhost") if name in ("", "0.0.0.0") else name, int(number)
    return host or "localhost", WEBHDFS_PORT


def _configured(file: str, name: str) -> str | None:
    folder = os.environ.get("HADOOP_CONF_DIR")
    if not folder:
        return None
    try:
        root = ElementTree.parse(Path(folder) / file).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    for entry in root.iter("property"):
        if entry.findtext("name") == name:
            return entry.findtext("value")
    return None
