"""The objects below a prefix of a bucket, page by page: in S3 and in Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.fetch.fetched import FetchOptions
from pyspark_vision.executor.fetch.gcs_clients import (
    NO_TOKEN,
    check_bucket,
    gcs_client,
    payer_hint,
    user_project,
    why_no_token,
)
from pyspark_vision.executor.fetch.s3_clients import s3_client

# What both stores give at most.
_KEYS_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object; ``modified_ms``: when it was written, since 1970."""

    key: str
    size: int
    modified_ms: int


def objects_below(prefix: str, options: FetchOptions) -> Iterator[ListedObject]:
    """Every object whose URI begins with ``prefix`` (``s3://bucket/start``, ``s3a://``, ``gs://``).

    In the store's order, page by page, as the iterator is used. Raises :class:`InvalidOptionError`
    where the prefix cannot be listed.
    """
    scheme, _, place = prefix.partition("://")
    bucket, _, start = place.partition("/")
    if scheme == "gs":
        return _in_gcs(prefix, bucket, start, options)
    return _in_s3(prefix, bucket, start, options)


def _in_s3(prefix: str, bucket: str, start: str, options: FetchOptions) -> Iterator[ListedObject]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError

        pages = s3_client(options).get_paginator("list_objects_v2")
    except ImportError:
        raise MissingDependencyError(
            "listing keys needs boto3: pip install pyspark_vision[s3]"
        ) from None
    try:
        for page in pages.paginate(Bucket=bucket, Prefix=start):
            for entry in page.get("Contents", ()):
                written_ms = round(entry["LastModified"].timestamp() * 1000)
                yield ListedObject(entry["Key"], entry["Size"], written_ms)
    except (ClientError, BotoCoreError) as error:
        raise InvalidOptionError(f"cannot list {prefix}: {error}") from None


def _in_gcs(prefix: str, bucket: str, start: str, options: FetchOptions) -> Iterator[ListedObject]:
    try:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from requests import RequestException

        client_of = gcs_client
    except ImportError:
        raise MissingDependencyError(
            "listing gs:// needs google-cloud-storage: pip install pyspark_vision[gcp]"
        ) from None
    try:
        check_bucket(bucket)
        client = client_of(options.gcs)
        place = client.bucket(bucket, user_project=user_project(bucket, options.gcs))
        listed = client.list_blobs(
            place,
            prefix=start or None,
            page_size=_KEYS_PER_PAGE,
            fields="items(name,size,timeCreated),nextPageToken",
            timeout=options.timeout_s,
        )
        for blob in listed:
            # Of this generation: of what has been written over, when that was.
            yield ListedObject(blob.name, blob.size, round(blob.time_created.timestamp() * 1000))
    except GoogleAuthError as error:
        raise InvalidOptionError(f"cannot list {prefix}: {why_no_token(error)}") from None
    except (GoogleAPICallError, RetryError, RequestException, *NO_TOKEN) as error:
        raise InvalidOptionError(f"cannot list {prefix}: {error}{payer_hint(error)}") from None
