"""The folders and topics of a job, held against each other before anything is read or written.

A job that writes where it reads takes its own results for input, or replaces what it was given; two
of its outputs in one folder replace each other's. So no place that is written may be another place
of the job, lie in one, or hold one.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.hadoop import local_path

# One store under several names.
_SAME_SCHEMES = {"s3a": "s3", "s3n": "s3", "viewfs": "hdfs"}
# Of a NameNode, where the URI has none (Hadoop's hdfs-default.xml).
_DEFAULT_PORTS = {"hdfs": ":8020"}


@dataclass(frozen=True)
class Place:
    """A folder or file that a job reads or writes.

    ``is_prefix``: all keys of a store that begin with ``uri``, in the folder of that name or not.
    """

    flag: str
    uri: str
    is_written: bool = False
    is_prefix: bool = False


@dataclass(frozen=True)
class Topic:
    """A Kafka topic that a job reads or writes."""

    flag: str
    name: str
    is_written: bool = False


def refuse_overlaps(places: Sequence[Place], qualified: Callable[[str], str] = str) -> None:
    """Raise :class:`InvalidOptionError` if a place that is written is, holds or lies in another.

    Links of this machine's disks are followed. ``qualified`` adds the scheme and the authority that
    the session's Hadoop gives to a path without.
    """
    canonical = [(place, _canonical(qualified(place.uri))) for place in places]
    for (place, place_path), (other, other_path) in combinations(canonical, 2):
        if not (place.is_written or other.is_written):
            continue
        relation = _relation(place, place_path, other, other_path)
        if relation is not None:
            written, beside = (place, other) if place.is_written else (other, place)
            raise InvalidOptionError(
                f"{place.flag} {place.uri} {relation} {other.flag} {other.uri}: what the job "
                f"writes to {written.flag} would be mixed with {beside.flag}. Choose a folder for "
                f"{written.flag} that lies apart"
            )


def refuse_same_topics(topics: Sequence[Topic]) -> None:
    """Raise :class:`InvalidOptionError` if a topic that is written is read, or written twice."""
    for topic, other in combinations(topics, 2):
        if topic.name == other.name and (topic.is_written or other.is_written):
            written, beside = (topic, other) if topic.is_written else (other, topic)
            raise InvalidOptionError(
                f"{topic.flag} and {other.flag} both name the topic {topic.name}: what the job "
                f"writes to {written.flag} would be mixed with {beside.flag}. Choose another topic "
                f"for {written.flag}"
            )


def _relation(place: Place, path: str, other: Place, other_path: str) -> str | None:
    if path == other_path:
        return "is the same place as"
    if _holds(other, other_path, path):
        return "lies in"
    if _holds(place, path, other_path):
        return "holds"
    return None


def _holds(place: Place, path: str, other_path: str) -> bool:
    is_folder = not place.is_prefix or place.uri.endswith("/")
    return other_path.startswith(path.rstrip("/") + "/" if is_folder else path)


def _canonical(uri: str) -> str:
    """One spelling for all that name a place: ``scheme://authority/path``.

    The path is as the user wrote it: Hadoop takes ``%20`` for these three letters.
    """
    local = local_path(None, uri)
    if local is None and "://" not in uri:  # of the default file system, which has one spelling
        local = Path(uri)
    if local is not None:
        return f"file://{os.path.realpath(local)}"
    scheme, _, rest = uri.partition("://")
    authority, _, path = rest.partition("/")
    scheme = _SAME_SCHEMES.get(scheme.lower(), scheme.lower())
    authority = authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    # normpath keeps two slashes in front, as POSIX does.
    return f"{scheme}://{authority}/{posixpath.normpath(f'/{path}').lstrip('/')}"
