"""Where the simulator's objects go: a bucket, by one small door."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pyspark_vision.clients.whole_file import write_whole
from pyspark_vision.errors import InvalidOptionError


class Bucket(Protocol):
    """``upload`` puts a whole object under a name that has slashes; raises :class:`OSError`."""

    def upload(self, name: str, data: bytes) -> None: ...


class FolderBucket:
    """A folder of this machine in a bucket's place: an object is a file below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def upload(self, name: str, data: bytes) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, data)


def open_bucket(flag: str, place: str, prefix: str) -> Bucket:
    """The bucket that ``place`` names, which objects below ``prefix`` can be written to.

    Raises :class:`InvalidOptionError`.
    """
    parts = urlsplit(place)
    if parts.scheme != "file":
        raise InvalidOptionError(
            f"{flag} {place}: writing to Google's buckets is not built yet. Name a folder, "
            f"{flag} file:///path/to/folder, and copy it with `gcloud storage rsync`"
        )
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidOptionError(f"{flag} {place} must be file:///path/to/folder")
    if ".." in Path(prefix).parts or Path(prefix).is_absolute():
        raise InvalidOptionError(f"--gcs-prefix {prefix} must lie within the bucket")
    folder = Path(unquote(parts.path))
    try:
        (folder / prefix).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidOptionError(f"{flag} {place}: {error.strerror}") from None
    return FolderBucket(folder)
