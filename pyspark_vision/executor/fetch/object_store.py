"""URIs of objects -> their bytes, fetched in the worker while the model runs on earlier ones.

One client and one bounded thread pool per process, whatever the number of UDFs and batches. A
missing, forbidden or unreachable object is that row's error; nothing else is raised.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from pyspark_vision.executor.fetch import gcs_objects, s3_objects
from pyspark_vision.executor.fetch.fetched import Fetched, FetchOptions, Reference, check_size
from pyspark_vision.executor.row_errors import ErrorCode, RowError

# Fetched bytes that wait for the model: above this no further object is asked for. The objects
# under way come on top, at most `concurrency` of them.
MAX_WAITING_BYTES = 64 * 1024 * 1024

# Of Cloud Storage: a positive 64-bit number.
_GENERATION = re.compile("0*[1-9][0-9]{0,18}")
SCHEMES = ("s3", "s3a", "gs", "file")


def fetch_ahead(references: Iterable[Reference], options: FetchOptions) -> Iterator[Fetched]:
    """The objects in the order of ``references``.

    Null stays null. Later objects are fetched while the caller works on an earlier one: at most
    twice ``concurrency`` of them, and none beyond ``MAX_WAITING_BYTES``.
    """
    waiting: deque[Future[Fetched]] = deque()
    source = iter(references)
    ended = False
    try:
        while True:
            while not ended and len(waiting) < 2 * options.concurrency and not _is_full(waiting):
                try:
                    reference = next(source)
                except StopIteration:
                    ended = True
                    break
                waiting.append(_pool(options.concurrency).submit(_fetched, reference, options))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # the query stopped early (limit, failure elsewhere)
            future.cancel()


def fetch(uri: str, options: FetchOptions, generation: str | None = None) -> Fetched:
    """One object, of a ``gs://`` URI also one generation of it; raises nothing."""
    try:
        return _fetch(uri, options, generation)
    except RowError as error:
        return Fetched(error)


def _fetch(uri: str, options: FetchOptions, generation: str | None) -> Fetched:
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
    if generation is not None and (scheme != "gs" or not _GENERATION.fullmatch(generation)):
        what = f"generation {generation!r} is no whole number of at least 1"
        why = what if scheme == "gs" else "only objects of gs:// have generations"
        raise RowError(ErrorCode.FETCH_FAILED, f"{uri}: {why}")
    if scheme == "file":
        return Fetched(_read_file(file_path(uri), options))
    # Keys may hold ? and #: everything behind the bucket is the key, as Hadoop and the CLI have it.
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    if not bucket or not key:
        raise RowError(ErrorCode.FETCH_FAILED, f"{uri} has no bucket or no key")
    if scheme == "gs":
        return gcs_objects.get_object(bucket, key, generation, options)
    return s3_objects.get_object(bucket, key, options)


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


def _fetched(reference: Reference, options: FetchOptions) -> Fetched:
    if reference.uri is None:
        return Fetched(None)
    return fetch(reference.uri, options, reference.generation)


def _read_file(path: bytes, options: FetchOptions) -> bytes:
    name = path.decode("utf-8", "backslashreplace")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RowError(ErrorCode.FETCH_FAILED, f"{name} is not a file")
            check_size(status.st_size, options)
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
