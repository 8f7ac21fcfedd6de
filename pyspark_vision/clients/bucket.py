"""Where the simulator's objects go: a bucket, or a folder in its place, by one small door."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pyspark_vision.clients.whole_file import write_whole
from pyspark_vision.errors import InvalidOptionError, MissingDependencyError

# Of one object; the pictures that come meanwhile wait behind it.
_TIMEOUT_S = 10.0


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


class GcsBucket:
    """A bucket of Google Cloud Storage: google-cloud-storage's, where no object is replaced."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket

    def upload(self, name: str, data: bytes) -> None:
        from google.api_core.exceptions import GoogleAPICallError, PreconditionFailed, RetryError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.retry import DEFAULT_RETRY
        from requests import RequestException

        blob = self._bucket.blob(name)
        try:
            blob.upload_from_string(
                data,
                "image/jpeg",
                if_generation_match=0,
                timeout=_TIMEOUT_S,
                retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_S),
            )
        except PreconditionFailed:
            pass  # it is there: an answer to an earlier attempt was lost
        except (GoogleAPICallError, RetryError, GoogleAuthError, RequestException) as error:
            raise OSError(_reason(error)) from None


def open_bucket(flag: str, place: str, prefix: str) -> Bucket:
    """The bucket that ``place`` names, which objects below ``prefix`` can be written to.

    ``place``: a bucket of Google Cloud Storage (``name`` or ``gs://name``), or
    ``file:///path/to/folder``. Raises :class:`InvalidOptionError`, and
    :class:`MissingDependencyError` where google-cloud-storage is not installed.
    """
    parts = urlsplit(place)
    if parts.scheme != "file":
        return _gcs_bucket(flag, place)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidOptionError(f"{flag} {place} must be file:///path/to/folder")
    if ".." in Path(prefix).parts or Path(prefix).is_absolute():
        raise InvalidOptionError(f"--gcs-prefix {prefix} must lie within the bucket")
    folder = Path(unquote(parts.path))
    try:
        (folder / prefix).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # the second: a zero byte (%00)
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidOptionError(f"{flag} {place}: {why}") from None
    return FolderBucket(folder)


def _gcs_bucket(flag: str, place: str) -> GcsBucket:
    name = place.removeprefix("gs://").removesuffix("/")
    if "://" in name or "/" in name:
        raise InvalidOptionError(
            f"{flag} {place} must be a bucket's name (a prefix goes to --gcs-prefix) or "
            "file:///path/to/folder"
        )
    try:
        from google.api_core.exceptions import Forbidden, GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
        from google.cloud.storage.retry import DEFAULT_RETRY
        from requests import RequestException
    except ImportError:
        raise MissingDependencyError(
            f"{flag} {place} needs google-cloud-storage: pip install pyspark_vision[gcp]"
        ) from None
    try:
        # Without a project: that is asked for only by who makes buckets.
        bucket = storage.Client(project="none").bucket(name)
        is_there = bucket.exists(timeout=_TIMEOUT_S, retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_S))
    except Forbidden:
        is_there = True  # a right of its own, which who may write objects need not have
    except (GoogleAPICallError, RetryError, GoogleAuthError, RequestException, ValueError) as error:
        raise InvalidOptionError(f"{flag} {place}: {_reason(error)}") from None
    if not is_there:
        raise InvalidOptionError(
            f"{flag} {place}: there is no such bucket. Make it first, or name a folder, "
            f"{flag} file:///path/to/folder"
        )
    return GcsBucket(bucket)


def _reason(error: Exception) -> str:
    """One line of what Google's libraries say."""
    cause = getattr(error, "cause", None) or error
    return str(cause).strip().partition("\n")[0]
