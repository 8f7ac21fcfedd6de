"""Clients of Google Cloud Storage, made once per process: Google's own, and obstore's for a bucket.

obstore gets whole objects. It cannot be the only client; google-cloud-storage does what obstore
0.12 does not:

- Keys. ``obstore.get(store, "a//b")`` raises ``ValueError`` (empty path segment), as it does for
  ``.`` and ``..`` between slashes and for control characters; ``"/a"`` and ``"a/"`` get ``a``.
- Listing. One such key ends ``obstore.list(store)`` with ``InvalidPathError``, and a prefix is a
  folder, as for S3 (:mod:`s3_clients`).
- Answers. An object that was replaced and one that is missing are the same ``404`` to who asks for
  a generation; and what is stored compressed comes without a length, which obstore refuses.

Credentials are google-auth's application-default ones, for both clients: obstore alone knows only
two kinds of them.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import time
from datetime import timedelta
from typing import Any

from pyspark_vision.executor.fetch.fetched import FetchOptions, GcsOptions

# Where Google's clients look for a test server; one that is named so is asked without credentials.
EMULATOR = "STORAGE_EMULATOR_HOST"
_READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"

# Of a whole object: however long it is, it may take its time as long as it moves.
_NO_TIMEOUT = timedelta(days=1)
# A machine without credentials asks Google's metadata server for some, for seconds each time.
_WITHOUT_CREDENTIALS_S = 30.0
_MAKING = threading.Lock()
# What google-auth raises where an answer to a request for a token is none: a proxy's page, say.
NO_TOKEN = (ValueError, TypeError)
# Google's rule for names of buckets, but for their length and their case, which was once free.
_BUCKET = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def gcs_client(options: GcsOptions) -> Any:
    """google-cloud-storage's client for these settings, made once per process.

    Raises ``ImportError`` where the package is not installed, and google-auth's
    ``DefaultCredentialsError`` where the machine has no credentials.
    """
    with _MAKING:  # a process's first objects are asked for by several threads at once
        return _client_for(endpoint_url(options), is_anonymous(options))


def endpoint_url(options: GcsOptions) -> str | None:
    """The server's address without a slash at its end; ``None``: Google's own."""
    url = options.endpoint_url or os.environ.get(EMULATOR)
    if not url:
        return None
    return (url if "://" in url else f"http://{url}").rstrip("/")


def is_anonymous(options: GcsOptions) -> bool:
    """Whether requests go without credentials."""
    return options.anonymous or (not options.endpoint_url and bool(os.environ.get(EMULATOR)))


def user_project(bucket: str, options: GcsOptions) -> str | None:
    """The project that pays for requests to a bucket; ``None``: the bucket's own."""
    is_paid = options.paid_buckets is None or bucket in options.paid_buckets
    return options.user_project if is_paid else None


def check_bucket(bucket: str) -> None:
    """Raise ``ValueError`` for a name that no bucket can have.

    Google's client refuses some of them with an error of its own, and asks for another resource
    where one has a ``?`` or a ``#`` in it.
    """
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"{bucket!r} is no bucket's name: those have a-z, 0-9, '-', '_' and '.', and begin and "
            "end with a letter or a digit"
        )


def why_no_token(error: Exception) -> str:
    """What google-auth says and its cause, a sentence of each: behind come whole answers."""
    what, *causes = error.args or (type(error).__name__,)
    whys = [str(cause) for cause in causes if isinstance(cause, Exception)]
    return ": ".join(str(said).partition(". ")[0] for said in (what, *whys))


def payer_hint(error: object) -> str:
    """What to add to a refusal for want of a payer; empty for another error."""
    # How the service refuses who does not say who pays.
    if "no user project" not in str(error):
        return ""
    return "; fs.gs.requester.pays.mode and ….project.id name who pays"


def bucket_store(bucket: str, options: FetchOptions) -> Any:
    """obstore's client for one bucket; ``None`` where only Google's own knows the way."""
    from google.auth.exceptions import GoogleAuthError

    gcs = options.gcs
    url, payer = endpoint_url(gcs), user_project(bucket, gcs)
    try:
        with _MAKING:
            return _store_for(bucket, url, is_anonymous(gcs), payer, options.timeout_s)
    except (GoogleAuthError, OSError, ValueError):
        return None  # Google's client meets the same when it asks, and knows what to call it


@functools.lru_cache(maxsize=4)
def _client_for(url: str | None, anonymous: bool) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    credentials = (
        AnonymousCredentials()  # type: ignore[no-untyped-call]
        if anonymous
        else _credentials()
    )
    # The project is that of whom buckets are made for.
    return storage.Client(
        "none", credentials, client_options={"api_endpoint": url} if url else None
    )


@functools.lru_cache(maxsize=64)
def _store_for(
    bucket: str, url: str | None, anonymous: bool, payer: str | None, timeout_s: float
) -> Any:
    try:
        from obstore.auth.google import GoogleCredentialProvider
        from obstore.exceptions import BaseError
        from obstore.store import GCSStore
    except ImportError:
        return None
    # With a provider obstore does not look for credentials by itself.
    provider = _no_token if anonymous else GoogleCredentialProvider(_credentials())
    timeout = timedelta(seconds=timeout_s)
    config: Any = {"skip_signature": anonymous}
    if url:
        config["base_url"] = url
    try:
        return GCSStore(
            bucket,
            config=config,
            credential_provider=provider,
            client_options={
                "allow_http": (url or "").startswith("http:"),
                "connect_timeout": timeout,
                "read_timeout": timeout,
                "timeout": _NO_TIMEOUT,
                **({"default_headers": {"x-goog-user-project": payer}} if payer else {}),
            },
            retry_config={"max_retries": 0},
        )
    except BaseError:
        return None


def _no_token() -> Any:
    return {"token": "", "expires_at": None}


_refused_until = 0.0
_refusal: Exception | None = None


def _credentials() -> Any:
    """Application-default credentials; what there are none of is not looked for at each object."""
    global _refusal, _refused_until
    from google.auth.exceptions import DefaultCredentialsError

    if _refusal is not None and time.monotonic() < _refused_until:
        raise _refusal
    try:
        return _found_credentials()
    except DefaultCredentialsError as error:
        _refusal, _refused_until = error, time.monotonic() + _WITHOUT_CREDENTIALS_S
        raise


@functools.lru_cache(maxsize=1)
def _found_credentials() -> Any:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return google.auth.default(scopes=[_READ_ONLY])[0]
    # A file that may not be read, a folder, and JSON that is no object: google-auth does not look.
    except (OSError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, DefaultCredentialsError):
            raise
        file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "gcloud's credentials")
        why = f"{file} has no credentials of Google's: {error}"
        raise DefaultCredentialsError(why) from None  # type: ignore[no-untyped-call]
