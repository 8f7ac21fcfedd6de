"""The service: clients with the credentials of the application, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark_vision.errors import (
    InvalidOptionError,
    MissingDependencyError,
    PysparkVisionError,
    StreamError,
)

# Google's own client looks here for an emulator's address, as http://127.0.0.1:9050. Its client for
# the Storage Write API has no such variable; this is the one that other emulators' users set.
EMULATOR, STORAGE_EMULATOR = "BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_GRPC_ENDPOINT"

# Of one request: a service that takes a connection and says nothing is asked again. A request that
# makes a job is answered at once, whatever the job has to do.
TIMEOUT_S = 60.0

# Reasons of the service for what may go well a little later. Of a quota that a day's work has used
# up a part comes back within minutes.
PASSING = frozenset(
    {
        *("rateLimitExceeded", "quotaExceeded", "backendError", "internalError"),
        *("badGateway", "jobBackendError", "jobInternalError", "jobRateLimitExceeded"),
        *("tableUnavailable", "timeout"),
    }
)
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})


def client(project: str) -> Any:
    """``google.cloud.bigquery.Client`` of a project, with application-default credentials.

    Raises :class:`MissingDependencyError` without the extra ``gcp``, :class:`InvalidOptionError`
    where there are no credentials.
    """
    try:
        from google.cloud import bigquery
    except ImportError:
        raise MissingDependencyError(
            "BigQuery needs google-cloud-bigquery: pip install 'pyspark_vision[gcp]'"
        ) from None
    return bigquery.Client(project=project, credentials=_credentials())


def write_client() -> Any:
    """``google.cloud.bigquery_storage_v1.BigQueryWriteClient``; raises as :func:`client`."""
    try:
        import grpc
        from google.cloud import bigquery_storage_v1
        from google.cloud.bigquery_storage_v1.services.big_query_write.transports import (
            BigQueryWriteGrpcTransport,
        )
    except ImportError:
        raise MissingDependencyError(
            "`bq_write` storage needs google-cloud-bigquery-storage: "
            "pip install 'pyspark_vision[gcp]'"
        ) from None
    if os.environ.get(EMULATOR) and not os.environ.get(STORAGE_EMULATOR):
        raise InvalidOptionError(
            f"`bq_write` storage: {EMULATOR} names an emulator: set {STORAGE_EMULATOR}, too: "
            "HOST:PORT of its Storage Write API"
        )
    if address := os.environ.get(STORAGE_EMULATOR):
        transport = BigQueryWriteGrpcTransport(channel=grpc.insecure_channel(address))
        how = {"transport": transport}
    else:
        how = {"credentials": _credentials()}
    return bigquery_storage_v1.BigQueryWriteClient(**how)


def _credentials() -> Any:
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    if os.environ.get(EMULATOR):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    try:
        return google.auth.default()[0]
    except google.auth.exceptions.DefaultCredentialsError:
        raise InvalidOptionError(
            "Google Cloud: no credentials were found. On Google's machines give the job a service "
            "account; elsewhere run `gcloud auth application-default login`, or let "
            "GOOGLE_APPLICATION_CREDENTIALS name a file of credentials"
        ) from None


def reason(error: Exception) -> str:
    """The service's own word for an error, as ``notFound``; empty if it gave none."""
    for entry in getattr(error, "errors", None) or ():
        if isinstance(entry, dict) and entry.get("reason"):
            return str(entry["reason"])
    return ""


def is_passing(error: Exception) -> bool:
    """Whether the same request may go well later: quotas, an overload, a connection that broke."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import TransportError

    if isinstance(error, exceptions.GoogleAPICallError):
        return reason(error) in PASSING or error.code in _PASSING_STATUS
    if isinstance(error, requests.exceptions.SSLError):
        return False
    broken = (ConnectionError, requests.exceptions.RequestException, TransportError)
    return isinstance(error, broken)


def first_line(error: Exception) -> str:
    """What an error says, without addresses of requests, in one line."""
    # Google's errors of credentials have the service's whole answer behind their text.
    text = str(error.args[0]) if error.args else str(error)
    said = getattr(error, "message", None) or text or type(error).__name__
    line = " ".join(str(said).splitlines()[0].split())
    # "403 POST http://…/jobs?prettyPrint=false: Quota exceeded": what comes after is for a person.
    _, is_request, rest = line.partition("prettyPrint=false: ")
    return rest if is_request else line


@contextmanager
def refused(what: str, flag: str) -> Iterator[None]:
    """What the service refuses in this block is one line's error, before a stream has begun.

    ``what``: the table or dataset that is asked for. Raises :class:`InvalidOptionError` for what
    does not exist or is not allowed, :class:`StreamError` for a service that does not answer.
    """
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except PysparkVisionError:
        raise
    except exceptions.NotFound:
        raise InvalidOptionError(
            f"{flag}: {what} does not exist. Create it, or correct the name"
        ) from None
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise InvalidOptionError(
            f"{flag}: no right to {what} ({first_line(error)}). Give the job's account the roles "
            "roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project"
        ) from None
    except exceptions.BadRequest as error:
        raise InvalidOptionError(f"{flag}: {what} is refused ({first_line(error)})") from None
    except (
        exceptions.GoogleAPIError,
        requests.exceptions.RequestException,
        GoogleAuthError,
        ConnectionError,
    ) as error:
        cause = getattr(error, "cause", None) or error  # of a RetryError, which names a time alone
        raise StreamError(
            f"{flag}: BigQuery does not answer about {what} ({first_line(cause)}). "
            "Start again when it does"
        ) from None
