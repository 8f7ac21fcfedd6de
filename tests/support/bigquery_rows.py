"""What is in a table of BigQuery's emulator, by Google's own client."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as google
from local_services.bigquery import BigQuery


@dataclass(frozen=True)
class PredictionTable:
    """A table of predictions in a dataset that no other test has; the job makes the table."""

    service: BigQuery
    dataset: str = field(default_factory=lambda: f"d{uuid.uuid4().hex}")

    def __post_init__(self) -> None:
        self.service.make_dataset(self.dataset)

    @property
    def name(self) -> str:
        """As ``--output-bq-table`` takes it."""
        return f"{self.service.project}.{self.dataset}.image_predictions"

    def rows(self) -> list[dict[str, Any]]:
        """``prediction_id`` and ``object_name`` of each row."""
        client: Any = google.Client(
            project=self.service.project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.service.rest_url},
        )
        query = f"SELECT prediction_id, object_name FROM `{self.dataset}.image_predictions`"
        return [dict(row) for row in client.query(query).result()]
