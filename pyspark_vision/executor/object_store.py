"""URIs of objects -> their bytes, fetched in the worker while the model runs on earlier ones.

One client and one bounded thread pool per process, whatever the number of UDFs and batches. A
missing, forbidden or unreachable object is that row's error; nothing else is raised.
"""

from __future__ import annotations

import functools
import os
import random
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.executor.s3_clients import bucket_store, s3_client

# Fetched bytes that wait for the model: above this no further object is asked for. The objects
# under way come on top, at most `concurrency` of them.
MAX_WAITING_BYTES = 64 * 1024 * 1024

# First pause before an object is asked for again, doubled each time, with jitter.
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0

_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchBucket", "NotFound", "404"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "Forbidden",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AllAccessDisabled",
        "401",
        "403",
    }
)
# What no further request would change.
_ANSWERS = (ErrorCode.FETCH_NOT_FOUND, ErrorCode.FETCH_DENIED, ErrorCode.TOO_MANY_BYTES)
SCHEMES = ("s3", "s3a", "file")


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
    """

    endpoint_url: str | None
    region: str | None
    path_style: bool
    prefixes: tuple[str, ...]
    max_bytes: int
    concurrency: int
    max_attempts: int
    timeout_s: float


@dataclass(frozen=True)
class Fetched:
    """An object's bytes, or why there are none (``None``: no URI); how often it was asked for.

    ``attempts`` counts requests, those within boto3 too where it says how many there were.
    """

    content: bytes | RowError | None
    attempts: int = 1


def fetch_ahead(uris: Iterable[str | None], options: FetchOptions) -> Iterator[Fetched]:
    """The objects in the order of ``uris``.

    Null stays null. Later objects are fetched while the caller works on an earlier one: at most
    twice ``concurrency`` of them, and none beyond ``MAX_WAITING_BYTES``.
    """
    waiting: deque[Future[Fetched]] = deque()
    source = iter(uris)
    ended = False
    try:
        while True:
            while not ended and len(waiting) < 2 * options.concurrency and not _is_full(waiting):
                try:
                    uri = next(source)
                except StopIteration:
                    ended = True
                    break
                waiting.append(_pool(options.concurrency).submit(_fetched, uri, options))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # the query stopped early (limit, failure elsewhere)
            future.cancel()


def fetch(uri: str, options: FetchOptions) -> Fetched:
    """One object; raises nothing."""
    try:
        return _fetch(uri, options)
    except RowError as error:
        return Fetched(error)


def _fetch(uri: str, options: FetchOptions) -> Fetched:
    # By hand: urlsplit takes brackets for an address, and leaves out line breaks.
    scheme = uri.partition(":")[0]
    if scheme not in SCHEMES or (scheme != "file" and "://" not in uri):
        raise RowError(
            ErrorCode.FETCH_FAILED,
            f"{uri!r} is not a URI that executors fetch; schemes are {', '.join(SCHEMES)}",
        )
    known_by = canonical(uri)
    # Dots would leave a prefix that was allowed.
    escapes = ".." in (known_by if scheme == "file" else unquote(known_by)).split("/")
    allowed = any(known_by.startswith(prefix) for prefix in options.prefixes) and not escapes
    if (options.prefixes or scheme == "file") and not allowed:
        known = ", ".join(options.prefixes) or "none"
        raise RowError(
            ErrorCode.FETCH_DENIED, f"{uri} is under none of the allowed prefixes: {known}"
        )
    if scheme == "file":
        return Fetched(_read_file(file_path(uri), options))
    # Keys may hold ? and #: everything behind the bucket is the key, as Hadoop and the CLI have it.
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    if not bucket or not key:
        raise RowError(ErrorCode.FETCH_FAILED, f"{uri} has no bucket or no key")
    return _get_object(bucket, key, options)


def canonical(uri: str) -> str:
    """One spelling of a place, to compare URIs: ``s3a://b/k`` -> ``s3://b/k``, ``file:/a%20b`` ->
    ``file:///a b``."""
    if uri.startswith("file:"):
        # As the system names files: bytes that are no UTF-8 stay what they are.
        return "file://" + file_path(uri).decode("utf-8", "surrogateescape")
    return "s3://" + uri[len("s3a://") :] if uri.startswith("s3a://") else uri


def file_path(uri: str) -> bytes:
    """The path of a ``file:`` URI, which may hold ``?`` and ``#``: a file has no query.

    In bytes: a name is what it is, in whatever locale this worker runs.
    """
    rest = uri.removeprefix("file:")
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    return unquote_to_bytes(rest)


@functools.lru_cache(maxsize=2)
def _pool(concurrency: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(concurrency, thread_name_prefix="fetch")


def _is_full(waiting: Iterable[Future[Fetched]]) -> bool:
    results = (future.result().content for future in waiting if future.done())
    return sum(len(data) for data in results if isinstance(data, bytes)) > MAX_WAITING_BYTES


def _fetched(uri: str | None, options: FetchOptions) -> Fetched:
    return Fetched(None) if uri is None else fetch(uri, options)


def _read_file(path: bytes, options: FetchOptions) -> bytes:
    name = path.decode("utf-8", "backslashreplace")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RowError(ErrorCode.FETCH_FAILED, f"{name} is not a file")
            _check_size(status.st_size, options)
            return bytes(file.read())
    except FileNotFoundError:
        raise RowError(ErrorCode.FETCH_NOT_FOUND, f"no file {name}") from None
    except PermissionError:
        raise RowError(ErrorCode.FETCH_DENIED, f"{name} may not be read") from None
    except OSError as error:
        raise RowError(ErrorCode.FETCH_FAILED, f"{name}: {error.strerror}") from None
    except ValueError as error:  # a zero byte
        raise RowError(ErrorCode.FETCH_FAILED, f"{name}: {error}") from None


def _without_waiting(path: Any, flags: int) -> int:
    # A name may have become a pipe since it was listed, whose writer never comes.
    return os.open(path, flags | os.O_NONBLOCK)


def _get_object(bucket: str, key: str, options: FetchOptions) -> Fetched:
    # With one attempt there is no second one that could say what is wrong.
    store = bucket_store(bucket, options) if options.max_attempts > 1 else None
    # obstore takes slashes off a key's ends.
    if store is None or key != key.strip("/"):
        return _get_with_retries(bucket, key, options)
    content = _get_at_once(store, key, options)
    if content is not None:
        return Fetched(content)
    options = replace(options, max_attempts=options.max_attempts - 1)
    fetched = _get_with_retries(bucket, key, options)
    if isinstance(fetched.content, RowError) and fetched.content.code in _ANSWERS:
        return fetched  # the second look was for what the store's no means
    return replace(fetched, attempts=1 + fetched.attempts)


def _get_at_once(store: Any, key: str, options: FetchOptions) -> bytes | None:
    """The object by one GET of obstore's; ``None``: not a whole object at once.

    A fraction of what boto3's get_object costs the worker (benchmarks/one_get.py), most of it not
    under Python's lock. Whatever else comes back is asked for again by boto3, which knows retries,
    redirects and what answers mean.
    """
    import obstore
    from obstore.exceptions import BaseError

    try:
        answer = obstore.get(store, key)
        _check_size(answer.meta["size"], options)
        return bytes(answer.bytes())
    except (BaseError, OSError, ValueError):
        return None


def _get_with_retries(bucket: str, key: str, options: FetchOptions) -> Fetched:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from urllib3.exceptions import HTTPError

    client = s3_client(options)
    name = f"s3://{bucket}/{key}"
    made = 0  # requests, boto3's own repeats among them
    while True:
        try:
            answer = client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return Fetched(_refused(name, error), made + 1 + _repeats(error.response))
        except (NoCredentialsError, PartialCredentialsError) as error:
            why = f"{name}: {error}; give executors a role, a profile or AWS_* variables"
            return Fetched(RowError(ErrorCode.FETCH_DENIED, why), made + 1)
        except (BotoCoreError, HTTPError, OSError) as error:
            # No answer at all, in as many attempts as boto3 may make.
            return _failed(name, error, made + options.max_attempts)
        made += 1 + _repeats(answer)
        try:
            with answer["Body"] as body:
                _check_size(answer["ContentLength"], options)
                return Fetched(bytes(body.read()), made)
        except RowError as error:
            return Fetched(error, made)
        # A body that is cut short or stalls comes after the answer, behind which boto3 does not
        # look.
        except (BotoCoreError, HTTPError, OSError) as error:
            if made >= options.max_attempts:
                return _failed(name, error, made)
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (made - 1))
            time.sleep(pause_s * random.uniform(0.5, 1.0))


def _failed(name: str, error: Exception, attempts: int) -> Fetched:
    why = f"{name}: {error} ({attempts} attempts)"
    return Fetched(RowError(ErrorCode.FETCH_FAILED, why), attempts)


def _repeats(answer: Any) -> int:
    return int(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0))


def _refused(name: str, error: Any) -> RowError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code in _NOT_FOUND or status == "404":
        return RowError(ErrorCode.FETCH_NOT_FOUND, f"{name}: {code}")
    if code in _DENIED or status in _DENIED:
        return RowError(ErrorCode.FETCH_DENIED, f"{name}: {code}")
    return RowError(ErrorCode.FETCH_FAILED, f"{name}: {error}")


def _check_size(size: int, options: FetchOptions) -> None:
    if size > options.max_bytes:
        raise RowError(
            ErrorCode.TOO_MANY_BYTES, f"{size} bytes; the limit is max_bytes={options.max_bytes}"
        )
