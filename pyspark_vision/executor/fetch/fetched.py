"""How objects are asked for, and what came: shared by the stores that :mod:`object_store` knows."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from pyspark_vision.executor.row_errors import ErrorCode, RowError

# First pause before an object is asked for again, doubled each time, with jitter.
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
# What no further request would change.
ANSWERS = (
    ErrorCode.FETCH_NOT_FOUND,
    ErrorCode.FETCH_DENIED,
    ErrorCode.FETCH_REPLACED,
    ErrorCode.TOO_MANY_BYTES,
)


@dataclass(frozen=True)
class GcsOptions:
    """Where Google Cloud Storage is, and as whom it is asked.

    - ``endpoint_url``: of another server or a private address; ``None``: that of
      ``STORAGE_EMULATOR_HOST`` (without credentials, as Google's clients have it), else Google's.
    - ``anonymous``: without credentials, for public buckets and test servers.
    - ``user_project``: the project that pays for requests (requester pays), of the buckets in
      ``paid_buckets``; ``None`` there: of all.
    """

    endpoint_url: str | None = None
    anonymous: bool = False
    user_project: str | None = None
    paid_buckets: frozenset[str] | None = None


@dataclass(frozen=True)
class FetchOptions:
    """Where the store is and how hard to try; credentials come from the executor's own chain.

    - ``endpoint_url``, ``region``, ``path_style``: of the S3 service; ``None``: boto3's own.
    - ``prefixes``: if not empty, only URIs under one of these folders (``s3://bucket/images/``) are
      fetched. ``file:`` URIs are read only under a prefix that names them.
    - ``max_bytes``: larger objects become ``too_many_bytes`` before their body is read.
    - ``concurrency``: objects under way at a time in one worker.
    - ``max_attempts``: for throttling, 5xx answers, lost connections and short bodies together.
      Where bodies come short and connections are lost in turn, up to twice as many.
    - ``timeout_s``: to connect, and between two pieces of an answer.
    - ``gcs``: what only Google Cloud Storage asks for.
    """

    endpoint_url: str | None
    region: str | None
    path_style: bool
    prefixes: tuple[str, ...]
    max_bytes: int
    concurrency: int
    max_attempts: int
    timeout_s: float
    gcs: GcsOptions = GcsOptions()


@dataclass(frozen=True)
class Reference:
    """The name of an object, and the generation of it that is meant; ``None``: any."""

    uri: str | None
    generation: str | None = None


@dataclass(frozen=True)
class Fetched:
    """An object's bytes, or why there are none (``None``: no URI); how often it was asked for.

    ``attempts`` counts requests, those within boto3 too where it says how many there were.
    """

    content: bytes | RowError | None
    attempts: int = 1


def check_size(size: int, options: FetchOptions) -> None:
    """Raise :class:`RowError` for an object above ``max_bytes``."""
    if size > options.max_bytes:
        raise RowError(
            ErrorCode.TOO_MANY_BYTES, f"{size} bytes; the limit is max_bytes={options.max_bytes}"
        )


def failed(name: str, error: Exception, attempts: int) -> Fetched:
    """No object after so many requests, for want of an answer."""
    why = f"{name}: {error} ({attempts} attempts)"
    return Fetched(RowError(ErrorCode.FETCH_FAILED, why), attempts)


def pause(attempts: int) -> None:
    """Wait before a request that comes after so many others."""
    pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempts - 1))
    time.sleep(pause_s * random.uniform(0.5, 1.0))
