"""Google's clients, each made when it is first used: a dry run needs no login."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .plan import DeployError

_EMULATORS = ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
NO_LOGIN = "no login for Google Cloud"
LOG_IN = "Log in with `gcloud auth application-default login`"


@dataclass(frozen=True)
class Services:
    """``dataproc_channel``: a gRPC channel for Dataproc, which has no emulator's variable."""

    project_id: str
    region: str
    dataproc_channel: Any = None

    def check(self) -> None:
        """Raise :class:`DeployError` where there is no login, or one service is not Google's.

        Dataproc has no emulator: with a test server for the rest, only the machines would be real.
        """
        if self.dataproc_channel is not None:
            return
        named = [name for name in _EMULATORS if os.environ.get(name)]
        if named:
            raise DeployError(
                f"{named[0]}={os.environ[named[0]]} names a test server, and the cluster would be "
                f"made at Google: unset {' '.join(named)}"
            )
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        try:
            google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        # A folder, and JSON that is no object: google-auth does not look.
        except (GoogleAuthError, OSError, AttributeError, TypeError, ValueError) as error:
            raise DeployError(
                f"{NO_LOGIN}: {error.args[0] if error.args else error}. {LOG_IN}"
            ) from None

    @cached_property
    def storage(self) -> Any:
        from google.cloud import storage

        return storage.Client(self.project_id, self._credentials("STORAGE_EMULATOR_HOST"))

    @cached_property
    def publisher(self) -> Any:
        from google.cloud import pubsub_v1

        # The library itself goes without credentials to PUBSUB_EMULATOR_HOST.
        return pubsub_v1.PublisherClient()

    @cached_property
    def subscriber(self) -> Any:
        from google.cloud import pubsub_v1

        return pubsub_v1.SubscriberClient()

    @cached_property
    def bigquery(self) -> Any:
        from google.cloud import bigquery

        return bigquery.Client(self.project_id, self._credentials("BIGQUERY_EMULATOR_HOST"))

    @cached_property
    def clusters(self) -> Any:
        from google.cloud import dataproc_v1
        from google.cloud.dataproc_v1.services.cluster_controller import transports

        return self._of_dataproc(
            dataproc_v1.ClusterControllerClient, transports.ClusterControllerGrpcTransport
        )

    @cached_property
    def jobs(self) -> Any:
        from google.cloud import dataproc_v1
        from google.cloud.dataproc_v1.services.job_controller import transports

        return self._of_dataproc(
            dataproc_v1.JobControllerClient, transports.JobControllerGrpcTransport
        )

    def _of_dataproc(self, client: Any, transport: Any) -> Any:
        if self.dataproc_channel is not None:
            return client(transport=transport(channel=self.dataproc_channel))
        # Dataproc's global address knows no clusters of a region.
        endpoint = f"{self.region}-dataproc.googleapis.com:443"
        return client(client_options={"api_endpoint": endpoint})

    def _credentials(self, emulator: str) -> Any:
        if not os.environ.get(emulator):
            return None  # application-default
        from google.auth.credentials import AnonymousCredentials

        return AnonymousCredentials()  # type: ignore[no-untyped-call]


def refuse_missing_packages() -> None:
    """Raise :class:`DeployError` unless the extra `gcp` is installed."""
    try:
        from google.cloud import bigquery, dataproc_v1, pubsub_v1, storage  # noqa: F401
    except ImportError as error:
        raise DeployError(
            f"it needs {error.name}: pip install 'pyspark_vision[gcp]' (or, in a checkout, "
            "pip install -c conf/constraints.txt -e '.[gcp]')"
        ) from None
