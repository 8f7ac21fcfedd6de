"""Google's clients, each made when it is first used: a dry run needs no login."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .plan import DeployError


@dataclass(frozen=True)
class Services:
    """``dataproc_channel``: a gRPC channel for Dataproc, which has no emulator's variable."""

    project_id: str
    region: str
    dataproc_channel: Any = None

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
