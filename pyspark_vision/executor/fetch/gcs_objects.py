"""Whole objects of Cloud Storage: by obstore at once, or by Google's client, which knows more."""

from __future__ import annotations

import io
import re
import threading
from dataclasses import replace
from typing import Any

from pyspark_vision.executor.fetch.fetched import (
    ANSWERS,
    Fetched,
    FetchOptions,
    check_size,
    failed,
    pause,
)
from pyspark_vision.executor.fetch.gcs_clients import (
    NO_TOKEN,
    bucket_store,
    check_bucket,
    gcs_client,
    payer_hint,
    user_project,
    why_no_token,
)
from pyspark_vision.executor.row_errors import ErrorCode, RowError

# What obstore refuses or takes for another key: control characters; empty, . and .. segments.
_ODD_KEY = re.compile(r"[\x00-\x1f\x7f]|(^|/)(\.{0,2})(/|$)")
# Connections that requests keep (its DEFAULT_POOLSIZE): with more it warns for each that it closes.
_SECOND_LOOKS = threading.BoundedSemaphore(10)


def get_object(bucket: str, key: str, generation: str | None, options: FetchOptions) -> Fetched:
    """One object of a bucket, or why there is none; raises nothing.

    With ``generation`` it is that one or none: in a bucket that keeps old versions also one that
    has been replaced since.
    """
    try:
        check_bucket(bucket)
    except ValueError as error:
        return Fetched(RowError(ErrorCode.FETCH_FAILED, f"gs://{bucket}/{key}: {error}"))
    # With one attempt there is no second one that could say what is wrong.
    store = bucket_store(bucket, options) if options.max_attempts > 1 else None
    if store is None or _ODD_KEY.search(key):
        return _get_with_retries(bucket, key, generation, options)
    content = _get_at_once(store, key, generation, options)
    if content is not None:
        return Fetched(content)
    options = replace(options, max_attempts=options.max_attempts - 1)
    fetched = _get_with_retries(bucket, key, generation, options)
    if isinstance(fetched.content, RowError) and fetched.content.code in ANSWERS:
        return fetched  # the second look was for what the store's no means
    return replace(fetched, attempts=1 + fetched.attempts)


def _get_at_once(
    store: Any, key: str, generation: str | None, options: FetchOptions
) -> bytes | None:
    """The object by one GET of obstore's; ``None``: not the whole, right object at once."""
    import obstore
    from obstore.exceptions import BaseError

    version = None if generation is None else str(int(generation))
    try:
        answer = obstore.get(store, key, options={"version": version} if version else None)
        # A server in between may not know of generations.
        if version is not None and answer.meta["version"] != version:
            return None
        check_size(answer.meta["size"], options)
        return bytes(answer.bytes())
    except (BaseError, OSError, ValueError):
        return None


def _get_with_retries(
    bucket: str, key: str, generation: str | None, options: FetchOptions
) -> Fetched:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption
    from requests import RequestException

    name = f"gs://{bucket}/{key}"
    attempts = 0
    while True:
        attempts += 1
        try:
            with _SECOND_LOOKS:
                return Fetched(_downloaded(bucket, key, generation, options), attempts)
        except RowError as error:
            return Fetched(error, attempts)
        except (
            GoogleAPICallError,
            GoogleAuthError,
            DataCorruption,
            RequestException,
            *NO_TOKEN,
        ) as error:
            if (refusal := _refusal(name, error)) is not None:
                return Fetched(refusal, attempts)
            if attempts >= options.max_attempts:
                is_token = isinstance(error, NO_TOKEN) and not isinstance(error, RequestException)
                asked = f"{name}: what came for a token is none" if is_token else name
                return failed(asked, error, attempts)
            pause(attempts)


def _refusal(name: str, error: Exception) -> RowError | None:
    """What an answer means for the row; ``None``: another request may get another answer."""
    from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, Unauthorized
    from google.auth.exceptions import GoogleAuthError, TransportError

    if isinstance(error, NotFound):
        return RowError(ErrorCode.FETCH_NOT_FOUND, f"{name}: no such object")
    if isinstance(error, (Forbidden, Unauthorized)):
        return RowError(ErrorCode.FETCH_DENIED, f"{name}: {error}")
    if isinstance(error, GoogleAPICallError):
        return None if _may_pass(error) else _refused(name, error)
    if isinstance(error, GoogleAuthError):
        # Who gives tokens may be away, or busy, like the store itself.
        if isinstance(error, TransportError) or error.retryable:
            return None
        why = f"{name}: {why_no_token(error)}; give executors a service account"
        return RowError(ErrorCode.FETCH_DENIED, why)
    return None


def _downloaded(bucket: str, key: str, generation: str | None, options: FetchOptions) -> bytes:
    """The object by Google's client: what it is first, which says what a 404 means, then its bytes.

    Raises what that raises, and :class:`RowError` for another generation and for too many bytes.
    """
    from google.api_core.exceptions import NotFound

    client = gcs_client(options.gcs)
    place = client.bucket(bucket, user_project=user_project(bucket, options.gcs))
    asked: dict[str, Any] = {"timeout": options.timeout_s, "retry": None}
    wanted = None if generation is None else int(generation)
    blob = place.blob(key, generation=wanted)
    try:
        blob.reload(**asked)
    except NotFound:
        if wanted is None:
            raise
        blob = place.blob(key)
        blob.reload(**asked)
    if wanted is not None and blob.generation != wanted:
        raise RowError(
            ErrorCode.FETCH_REPLACED,
            f"gs://{bucket}/{key}: generation {wanted} is gone; the object's is {blob.generation}",
        )
    check_size(blob.size, options)
    content = _Bounded(options)
    # Without what was read of it: the address that it names there need not be the endpoint's.
    place.blob(key, generation=blob.generation).download_to_file(content, **asked)
    return content.getvalue()


class _Bounded(io.BytesIO):
    """Takes no more than ``max_bytes``: what is stored compressed comes larger than it is said."""

    def __init__(self, options: FetchOptions) -> None:
        super().__init__()
        self._options = options

    def write(self, data: Any) -> int:
        check_size(self.tell() + len(data), self._options)
        return super().write(data)


def _may_pass(error: Any) -> bool:
    # As Google's own clients have it: timeouts, throttling and the server's own faults.
    return error.code in (408, 429) or (error.code or 500) >= 500


def _refused(name: str, error: Any) -> RowError:
    if hint := payer_hint(error):
        return RowError(ErrorCode.FETCH_DENIED, f"{name}: {error}{hint}")
    return RowError(ErrorCode.FETCH_FAILED, f"{name}: {error}")
