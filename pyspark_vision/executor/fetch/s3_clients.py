"""Clients of S3, made once per process: boto3's, and obstore's for one bucket.

obstore gets whole objects. It cannot be the only client; boto3 does what obstore 0.12 does not:

- Keys. ``obstore.get(store, "a//b")`` raises ``ValueError`` (empty path segment), as it does for
  ``.`` and ``..`` between slashes and for control characters; ``"/a"`` and ``"a/"`` get ``a``.
- Listing. One such key ends ``obstore.list(store)`` with ``InvalidPathError``: the keys of its page
  are lost. A prefix is a folder: ``list(store, "images/2026")`` leaves out ``images/2026-01.jpg``.
- Addresses and credentials. obstore reads no profiles, no SSO, no endpoint or region of a
  configuration file, no ARNs; and it does not follow a bucket to its region
  (``301 PermanentRedirect`` is a ``GenericError``).
- Answers. Every status but 401, 403 and 404 is a ``GenericError`` whose code (``400 ExpiredToken``,
  which is ``fetch_denied``) stands in its text only. With retries of its own, an object that came
  does not say how often it was asked for (``attempts``).
"""

from __future__ import annotations

import functools
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from pyspark_vision.executor.fetch.fetched import FetchOptions

# botocore renews credentials when ten minutes are left of them.
_CREDENTIALS_TTL = timedelta(minutes=10)
# Of a whole object: however long it is, it may take its time as long as it moves.
_NO_TIMEOUT = timedelta(days=1)
_MAKING = threading.Lock()


def s3_client(options: FetchOptions) -> Any:
    """boto3's client for these settings, made once per process (making one costs 50 ms and more).

    Raises ``ImportError`` where boto3 is not installed.
    """
    return _session_and_client(options)[1]


def _session_and_client(options: FetchOptions) -> tuple[Any, Any]:
    with _MAKING:  # a process's first objects are asked for by several threads at once
        return _made_for(
            options.endpoint_url,
            options.region,
            options.path_style,
            options.concurrency,
            options.max_attempts,
            options.timeout_s,
        )


@functools.lru_cache(maxsize=4)
def _made_for(
    endpoint_url: str | None,
    region: str | None,
    path_style: bool,
    concurrency: int,
    max_attempts: int,
    timeout_s: float,
) -> tuple[Any, Any]:
    import boto3
    from botocore.config import Config

    session = boto3.Session()

    def client_with(addressing_style: str) -> Any:
        config = Config(
            signature_version="s3v4",  # or addresses are signed as newer stores refuse it
            # botocore's own backoff with jitter for throttling, 5xx and lost connections.
            retries={"mode": "standard", "total_max_attempts": max_attempts},
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=concurrency,
            s3={"addressing_style": addressing_style},
        )
        return session.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)

    client = client_with("path" if path_style else "auto")
    if not path_style and client.meta.endpoint_url.endswith(
        (".amazonaws.com", ".amazonaws.com.cn")
    ):
        # It asks at the same addresses; but those that it signs are the region's own, and not those
        # that all regions share, which a private network may not reach.
        client = client_with("virtual")
    return session, client


def bucket_store(bucket: str, options: FetchOptions) -> Any:
    """obstore's client for one bucket; ``None`` where only boto3 knows the way.

    It stands where boto3, which reads endpoints, regions and ARNs, would ask for the bucket's
    objects: an address that boto3 signs says so. Credentials are those of boto3's chain.
    """
    from botocore.exceptions import BotoCoreError

    session, client = _session_and_client(options)
    try:
        with _MAKING:
            return _store_for(bucket, session, client, options.timeout_s)
    except (BotoCoreError, KeyError, OSError, ValueError):
        return None  # boto3 meets the same when it asks, and knows what to call it


@functools.lru_cache(maxsize=64)
def _store_for(bucket: str, session: Any, client: Any, timeout_s: float) -> Any:
    import botocore.session

    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store
    except ImportError:
        return None
    if session.get_credentials() is None:
        return None
    placeholder = "key"
    signed = client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": placeholder}
    )
    url, _, query = signed.partition("?")
    fields = parse_qs(query)
    _, _, region, service, _ = fields["X-Amz-Credential"][0].rsplit("/", 4)
    # Directory buckets and access points of several regions have signatures of their own.
    if fields["X-Amz-Algorithm"] != ["AWS4-HMAC-SHA256"] or service != "s3":
        return None
    authorities = botocore.session.get_session().get_config_variable("ca_bundle")
    timeout = timedelta(seconds=timeout_s)
    return S3Store(
        bucket,
        endpoint=url.removesuffix(f"/{placeholder}"),
        virtual_hosted_style_request=True,  # the endpoint is the bucket's own
        region=region,
        credential_provider=Boto3CredentialProvider(session, ttl=_CREDENTIALS_TTL),
        client_options={
            "allow_http": url.startswith("http:"),
            "connect_timeout": timeout,
            "read_timeout": timeout,
            "timeout": _NO_TIMEOUT,
            **({"root_certificate": Path(authorities).read_bytes()} if authorities else {}),
        },
        retry_config={"max_retries": 0},
    )
