"""The newest good version of a bundle: a stream takes a new model without a restart."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from py4j.protocol import Py4JJavaError

from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import publish
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.hadoop import hadoop_path

_log = logging.getLogger(__name__)

# Names, sizes and times of a bundle's files: what tells, without reading them, that they changed.
_Listing = tuple[tuple[str, int, int], ...]


class WatchedBundle:
    """A bundle (folder or zip, any Hadoop URI) that may be replaced while a job runs.

    A new version must be of the same task, whole (every sha256 as its ``model.json`` says) and fit
    its own spec; then it is published, and used from the next batch. A broken one is refused with
    one line in the log, and the last good one stays. Write ``model.json`` last, or rename a whole
    folder into place: until then the files do not fit together, and the old version stays too.
    """

    def __init__(
        self, session: Any, uri: str | None, load: Callable[[], ModelSpec] | None = None
    ) -> None:
        """``load`` makes the spec (default: ``ModelSpec.load(uri)``); without ``uri`` it is final.

        Raises :class:`InvalidModelError` if the version that is there now is not good.
        """
        self._session = session
        self._uri = uri
        self._files = _lister(session, uri)
        self._load = load or functools.partial(ModelSpec.load, uri or "")
        self._seen = self._listing()
        self._good = self._load()
        self._refused: str | None = None

    def newest(self) -> ModelSpec:
        """The spec to use for the next batch; called between batches."""
        listing = self._listing()
        if listing == self._seen or not listing:
            return self._good
        try:
            spec = self._load()
            if spec.task != self._good.task:
                raise InvalidModelError(
                    f"its task is {spec.task!r}, and this job's is {self._good.task!r}"
                )
            publish(spec, self._session)
        except InvalidModelError as error:
            self._refuse(" ".join(str(error).split()))
            return self._good
        self._seen, self._refused = listing, None
        if spec.digest != self._good.digest or spec.name != self._good.name:
            _log.info("model %r: version %s from now on", spec.name, spec.digest)
            self._good = spec
        return self._good

    def _refuse(self, reason: str) -> None:
        # Looked at again before each batch, since it may become whole; said once.
        if reason != self._refused:
            _log.warning(
                "the new version of %s is refused, %s stays: %s",
                self._uri,
                self._good.sha256,
                reason,
            )
        self._refused = reason

    def _listing(self) -> _Listing:
        """Empty where the bundle cannot be seen now, or lies on every node (``local:``)."""
        try:
            return self._files()
        except (OSError, Py4JJavaError):
            return ()


def _lister(session: Any, uri: str | None) -> Callable[[], _Listing]:
    """How to list the bundle's files.

    On this machine not by Hadoop, which starts a process (``ls``) for each file: longer than a
    batch of a few frames takes.
    """
    if uri is None or uri.startswith("local:"):
        return tuple
    try:
        file_system, path = hadoop_path(session, uri)
    except Py4JJavaError:  # what is wrong with it is said where it is loaded
        return tuple
    if file_system.getUri().getScheme() == "file":
        return functools.partial(_local_files, path.toUri().getPath())
    return functools.partial(_hadoop_files, file_system, path)


def _hadoop_files(file_system: Any, path: Any) -> _Listing:
    files = file_system.listFiles(path, True)
    found = []
    while files.hasNext():
        status = files.next()
        found.append((str(status.getPath()), status.getLen(), status.getModificationTime()))
    return tuple(sorted(found))


def _local_files(path: str) -> _Listing:
    folders = os.walk(path, onerror=_raise)
    files = [os.path.join(folder, name) for folder, _, names in folders for name in names]
    found = [(file, os.stat(file)) for file in (files if os.path.isdir(path) else [path])]
    return tuple(sorted((file, stat.st_size, stat.st_mtime_ns) for file, stat in found))


def _raise(error: OSError) -> None:
    raise error
