"""The newest good version of a bundle: a stream takes a new model without a restart."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark_vision.bundles import digest
from pyspark_vision.bundles.registry import is_registered, registered_version
from pyspark_vision.bundles.scratch import discarded_on_error
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import (
    is_on_this_machine,
    keep_published,
    local_copy,
    publish,
)
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.spark.hadoop import hadoop_path
from pyspark_vision.spark.internals import GatewayError, JavaError, java_exception

_log = logging.getLogger(__name__)

# Names, sizes, times and rights of a bundle's files: what tells, without reading them, that they
# changed, or that they can be read now.
_Listing = tuple[tuple[str, int, int, str], ...]

# What is said about, each line once.
_FILES, _LISTING, _VERSION = "files", "listing", "version"

# A refused version that lies in a store costs a download each time it is tried.
_FETCHED_AGAIN_AFTER_S = 10.0


@dataclass(frozen=True)
class Version:
    """A model as its files were when it was loaded."""

    listing: _Listing
    spec: ModelSpec


def load_before_spark(uri: str | None, load: Callable[[], ModelSpec]) -> Version | None:
    """``load()`` where it needs no session: a mistake is said before the JVM starts.

    ``None`` for a model that lies elsewhere, which Spark fetches.
    """
    if uri is not None and not is_on_this_machine(uri):
        return None
    listing: _Listing = ()
    with contextlib.suppress(OSError):  # what is wrong is said where it is loaded
        listing = _files_here(uri)()
    return Version(listing, load())


class WatchedBundle:
    """A bundle (folder or zip, any Hadoop URI) that may be replaced while a job runs.

    A new version must be of the same task, whole (every sha256 as its ``model.json`` says) and fit
    its own spec; then it is published, and used from the next batch. A broken one, or one that
    cannot be read now, is refused with one line in the log, and the last good one stays. Write
    ``model.json`` last, or rename a whole folder into place: until then the files do not fit
    together, and the old version stays too.
    """

    def __init__(
        self,
        session: Any,
        uri: str | None,
        load: Callable[[], ModelSpec] | None = None,
        first: Version | None = None,
    ) -> None:
        """``load`` makes the spec (default: ``ModelSpec.load(uri)``); without ``uri`` it is final.

        ``first``: what :func:`load_before_spark` gave, which counts unless it was replaced since.

        Raises :class:`InvalidModelError` if the version that is there now is not good.
        """
        self._session = session
        self._uri = uri
        self._files, self._is_local = _lister(session, uri)
        self._load = load or functools.partial(ModelSpec.load, uri or "")
        self._seen: _Listing = ()
        with contextlib.suppress(OSError, GatewayError):  # what is wrong is said where it is loaded
            self._seen = self._files()
        is_first = first is not None and first.listing == self._seen
        self._good = first.spec if first is not None and is_first else self._load()
        self._refused: _Listing | None = None
        self._refused_at = 0.0
        self._said: dict[str, str] = {}

    def newest(self) -> ModelSpec:
        """The spec to use for the next batch; called between batches.

        Whatever keeps a new version from being used, the last good one stays, and the stream goes
        on: that is tried again before later batches.
        """
        self._keep_files()
        listing = self._listing()
        if listing is None or (listing == self._refused and self._is_too_soon()):
            return self._good
        if listing in (self._seen, ()):
            self._said.pop(_VERSION, None)
            return self._good
        try:
            with discarded_on_error():
                spec = self._load()
                if spec.task != self._good.task:
                    raise InvalidModelError(
                        f"its task is {spec.task!r}, and this job's is {self._good.task!r}"
                    )
                publish(spec, self._session)
        # A disk that is full, a store that is away, a package that is missing, an engine that
        # chokes on the file: none of them is a reason to end what runs.
        except Exception as error:
            self._refused, self._refused_at = listing, time.monotonic()
            new, old = f"the new version of {self._uri}", self._good.sha256
            self._say(_VERSION, f"{new} is refused, {old} stays: {_line(error)}")
            return self._good
        self._seen, self._refused = listing, None
        self._said.pop(_VERSION, None)
        # Of the same answers under the same name it is no other model, whatever its licence says.
        if (spec.digest, spec.name) != (self._good.digest, self._good.name):
            changed = digest.differences(digest.identity(self._good), digest.identity(spec))
            _log.info(
                "model %r: version %s from now on: %s",
                spec.name,
                spec.sha256,
                changed or "another name",
            )
            self._good = spec
        return self._good

    def _keep_files(self) -> None:
        """Executors that come later fetch the files of all versions that were published."""
        try:
            keep_published(self._session)
        except OSError as error:
            self._say(_FILES, f"files that new executors need cannot be made again: {error}")
        else:
            self._said.pop(_FILES, None)

    def _listing(self) -> _Listing | None:
        try:
            listing = self._files()
        except (OSError, GatewayError) as error:
            old = self._good.sha256
            self._say(_LISTING, f"{self._uri} cannot be seen now, {old} stays: {_line(error)}")
            return None
        self._said.pop(_LISTING, None)
        return listing

    def _is_too_soon(self) -> bool:
        """For a version that must be fetched to be tried again."""
        is_soon = time.monotonic() - self._refused_at < _FETCHED_AGAIN_AFTER_S
        return is_soon and not self._is_local

    def _say(self, about: str, line: str) -> None:
        """Once, though it is met before each batch."""
        if line != self._said.get(about):
            _log.warning("%s", line)
        self._said[about] = line


def _line(error: Exception) -> str:
    """Why, in one line: of a Java exception its own words, not where it came from."""
    text = str(java_exception(error) or error)
    words = text.partition("\n\tat ")[0].split()
    return " ".join(words) or type(error).__name__


def _lister(session: Any, uri: str | None) -> tuple[Callable[[], _Listing], bool]:
    """How to list the bundle's files, and whether they are on this machine.

    There not by Hadoop, which starts a process (``ls``) for each file: longer than a batch of a few
    frames takes.
    """
    if uri is None or is_on_this_machine(uri):
        return _files_here(uri), True
    if is_registered(uri):
        return functools.partial(_version, uri), False
    try:
        file_system, path = hadoop_path(session, uri)
    except JavaError:  # what is wrong with it is said where it is loaded
        return tuple, True
    return functools.partial(_hadoop_files, file_system, path), False


def _version(uri: str) -> _Listing:
    """A registry's model changes when its alias is given to another version."""
    return ((uri, 0, 0, registered_version(uri)),)


def _files_here(uri: str | None) -> Callable[[], _Listing]:
    """What lies on every node (``local:``) is not looked at again: nothing is listed."""
    if uri is None or uri.startswith("local:"):
        return tuple
    return functools.partial(_local_files, str(local_copy(uri)))


def _hadoop_files(file_system: Any, path: Any) -> _Listing:
    files = file_system.listFiles(path, True)
    entries = []
    while files.hasNext():
        status = files.next()
        rights = f"{status.getOwner()} {status.getPermission().toString()}"
        times = status.getModificationTime()
        entries.append((str(status.getPath()), status.getLen(), times, rights))
    return tuple(sorted(entries))


def _local_files(path: str) -> _Listing:
    files = [path]  # a zip
    if os.path.isdir(path):
        folders = os.walk(path, onerror=_raise)
        files = [os.path.join(folder, name) for folder, _, names in folders for name in names]
    entries = [(file, os.stat(file)) for file in files]
    return tuple(
        sorted(
            (file, stat.st_size, stat.st_mtime_ns, f"{stat.st_uid} {stat.st_mode:o}")
            for file, stat in entries
        )
    )


def _raise(error: OSError) -> None:
    raise error
