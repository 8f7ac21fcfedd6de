"""Whole objects of S3: by obstore at once, or by boto3, which knows what answers mean."""

from __future__ import annotations

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
from pyspark_vision.executor.fetch.s3_clients import bucket_store, s3_client
from pyspark_vision.executor.row_errors import ErrorCode, RowError

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


def get_object(bucket: str, key: str, options: FetchOptions) -> Fetched:
    """One object of a bucket, or why there is none; raises nothing."""
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
    if isinstance(fetched.content, RowError) and fetched.content.code in ANSWERS:
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
        check_size(answer.meta["size"], options)
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
    requests = 0  # requests, boto3's own repeats among them
    while True:
        try:
            answer = client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return Fetched(_refused(name, error), requests + 1 + _repeats(error.response))
        except (NoCredentialsError, PartialCredentialsError) as error:
            why = f"{name}: {error}; give executors a role, a profile or AWS_* variables"
            return Fetched(RowError(ErrorCode.FETCH_DENIED, why), requests + 1)
        except (BotoCoreError, HTTPError, OSError) as error:
            # No answer at all, in as many attempts as boto3 may make.
            return failed(name, error, requests + options.max_attempts)
        requests += 1 + _repeats(answer)
        try:
            with answer["Body"] as body:
                check_size(answer["ContentLength"], options)
                return Fetched(bytes(body.read()), requests)
        except RowError as error:
            return Fetched(error, requests)
        # A body that is cut short or stalls comes after the answer, behind which boto3 does not
        # look.
        except (BotoCoreError, HTTPError, OSError) as error:
            if requests >= options.max_attempts:
                return failed(name, error, requests)
            pause(requests)


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
