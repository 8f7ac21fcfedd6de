"""What lies in a folder, wherever that is: each file is listed, or counted with its reason.

The driver lists by itself. What Spark's own listing leaves out (names that begin with ``_`` or
``.``, empty files, names that a locale cannot spell), or reads in another way than it is written
(``[ ]``, ``:``), is a file like any other here.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pyspark_vision.columns.options import fetch_options
from pyspark_vision.sources import hadoop_folder, local_folder, object_keys
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.linked_folders import LinkedFolders
from pyspark_vision.sources.listed_files import ListedFile, Tally, key_of
from pyspark_vision.spark.hadoop import default_scheme, hadoop_path, local_path
from pyspark_vision.spark.hadoop_settings import hadoop_setting, set_by
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# By the package that executors fetch with.
_STORES = {"s3": "boto3", "s3a": "boto3", "gs": "google.cloud.storage"}
# Ways of Hadoop's to find credentials that executors go, too.
_GCS_OF_EXECUTORS = ("APPLICATION_DEFAULT", "COMPUTE_ENGINE", "UNAUTHENTICATED")
# A path may hold a colon, too: a scheme is followed by a slash.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


class Way(Enum):
    """How the files of a folder are listed and read."""

    LOCAL = "local"  # by executors, from disks that they share with the driver
    STORE = "store"  # by executors, with their own credentials
    HADOOP = "hadoop"  # by Hadoop's file systems in the JVM
    SPARK = "spark"  # by Spark's own listing: a Connect session has no other for such stores


@dataclass(frozen=True)
class Folder:
    """A folder of files, or one file: its URI or path taken as it is, and how it is read.

    ``barred``: folders of this machine that the job writes. A link may lead to them.
    """

    uri: str
    way: Way
    barred: tuple[str, ...] = ()

    @property
    def fetched(self) -> bool:
        """Whether executors fetch its files by their URIs."""
        return self.way in (Way.LOCAL, Way.STORE)

    @property
    def prefixes(self) -> list[str]:
        """Where those URIs may lie."""
        return [local_folder.allowed_prefix(self.uri)] if self.way is Way.LOCAL else []


def folder(session: SparkSession, uri: str, barred: Sequence[str] = ()) -> Folder:
    """The folder of a URI, or of a path on Spark's default file system.

    ``barred``: URIs of what the job writes, which no link leads into.

    Raises :class:`InvalidOptionError` if it is not there.
    """
    own = tuple(place for place in barred if local_path(session, place) is not None)
    place_of_uri = Folder(uri, _way(session, uri), own)
    if place_of_uri.way is Way.LOCAL:
        local_folder.check(uri)
    elif place_of_uri.way is Way.HADOOP:
        hadoop_folder.check(session, uri)
    return place_of_uri


def full_name(session: SparkSession, place: Folder) -> str:
    """One name for a folder, in whatever way it was given."""
    if place.way is Way.LOCAL:
        path = local_folder.folder_path(place.uri)
        return f"file:{local_folder.text_of(path)}"
    if place.way is Way.HADOOP:
        file_system, path = hadoop_path(session, place.uri)
        return key_of(str(file_system.makeQualified(path).toString()))
    return key_of(place.uri.rstrip("/"))


def check_before_spark(uri: str) -> None:
    """Raise :class:`InvalidOptionError` for a ``file:`` URI that names nothing."""
    if uri.startswith("file:"):
        local_folder.check(uri)


def files(
    session: SparkSession, place: Folder, names: Names, tally: Tally, linked: LinkedFolders
) -> Iterator[ListedFile]:
    """The files of a folder and all below it that ``names`` take; ``tally`` counts all.

    ``linked``: what links lead out of it, on disks.
    """
    if place.way is Way.LOCAL:
        barred = [local_folder.folder_path(own) for own in place.barred]
        path = local_folder.folder_path(place.uri)
        return local_folder.files_below(path, names, tally, barred, linked)
    if place.way is Way.STORE:
        return _objects(session, place.uri, names, tally)
    return hadoop_folder.files_below(session, place.uri, names, tally)


def look(session: SparkSession, place: Folder, file: ListedFile) -> tuple[int, int] | None:
    """Size and time of a listed file as they are now; ``None`` if it is not there."""
    if place.way is Way.LOCAL:
        return local_folder.look(file.uri)
    if place.way is Way.HADOOP:
        return hadoop_folder.look(session, file.uri)
    # An object is there when it is whole.
    assert file.size is not None
    assert file.modified_ms is not None
    return file.size, file.modified_ms


def _objects(session: SparkSession, uri: str, names: Names, tally: Tally) -> Iterator[ListedFile]:
    options = fetch_options(session)
    bare = uri.rstrip("/")
    is_empty = True
    # Without its end a prefix would also stand for s3://bucket/images-of-others.
    for file in object_keys.list_keys(f"{bare}/", options, names, tally):
        is_empty = False
        yield file
    if is_empty and not tally.seen and "/" in bare.partition("://")[2]:
        yield from object_keys.list_object(bare, options, tally)


def _way(session: SparkSession, uri: str) -> Way:
    scheme = _SCHEME.match(uri)
    name = scheme[1].lower() if scheme else _default_scheme(session)
    if name == "file":
        return Way.LOCAL
    if scheme and name in _STORES and not _has_own_credentials(session, name, uri):
        return Way.STORE
    return Way.SPARK if is_connect(session) else Way.HADOOP


def _default_scheme(session: SparkSession) -> str:
    if is_connect(session):
        return str(session.conf.get("spark.hadoop.fs.defaultFS", None) or "file:").partition(":")[0]
    return default_scheme(session)


def _has_own_credentials(session: SparkSession, scheme: str, uri: str) -> bool:
    """Whether Hadoop alone can read a bucket: executors have credentials of their own, or none."""
    if is_connect(session):
        return False
    if not _is_installed(_STORES[scheme]):
        return True
    if scheme == "gs":
        return hadoop_setting(session, "fs.gs.auth.type") not in (None, *_GCS_OF_EXECUTORS)
    bucket = uri.partition("://")[2].partition("/")[0]
    is_local = str(session.sparkContext.master).startswith("local[")
    for key in ("access.key", "aws.credentials.provider"):
        for name in (f"fs.s3a.{key}", f"fs.s3a.bucket.{bucket}.{key}"):
            # Hadoop's own defaults say which providers there are. Spark passes on what the driver
            # has in AWS_ACCESS_KEY_ID, which local workers have, too.
            source = set_by(session, name)
            if source is not None and not (is_local and _from_environment(source)):
                return True
    return False


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # what it lies in is none
        return False


def _from_environment(source: str) -> bool:
    return source.startswith("Set by Spark on") and "AWS_" in source
