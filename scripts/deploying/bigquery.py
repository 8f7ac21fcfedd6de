"""The dataset and the table of results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from google.api_core.exceptions import NotFound

from .parts import Call, Kept, State
from .plan import Plan, is_ours
from .services import Services

# Week 9's: name and type, in its order.
COLUMNS = (
    ("prediction_id", "STRING"),
    ("label", "STRING"),
    ("confidence", "FLOAT64"),
    ("model_name", "STRING"),
    ("processing_time_ms", "INTEGER"),
    ("image_size_bytes", "INTEGER"),
    ("bucket", "STRING"),
    ("object_name", "STRING"),
    ("processed_at", "TIMESTAMP"),
)


@dataclass(frozen=True)
class Dataset:
    plan: Plan
    services: Services
    flag = "--dataset"

    @property
    def title(self) -> str:
        return f"BigQuery dataset {self.plan.dataset}"

    def look(self) -> State:
        try:
            dataset = self.services.bigquery.get_dataset(self.plan.dataset_path)
        except NotFound:
            return State.ABSENT
        return State.OURS if is_ours(self.plan, dict(dataset.labels)) else State.FOREIGN

    def creation(self) -> Iterator[Call]:
        from google.cloud import bigquery

        dataset = bigquery.Dataset(self.plan.dataset_path)
        dataset.location = self.plan.region
        dataset.labels = self.plan.labels
        yield Call(
            "bigquery.datasets.insert",
            dataset.to_api_repr(),
            lambda: self.services.bigquery.create_dataset(dataset),
        )

    def removal(self, *, data: bool) -> Iterator[Call]:
        client, path = self.services.bigquery, self.plan.dataset_path
        if tables := sorted(table.table_id for table in client.list_tables(path)):
            raise Kept(f"it holds {', '.join(tables)}")
        # The service itself refuses if a table has come meanwhile.
        delete = partial(client.delete_dataset, path, delete_contents=False)
        yield Call("bigquery.datasets.delete", {"dataset": path}, delete)


@dataclass(frozen=True)
class Table:
    """Partitioned by the day of ``processed_at``."""

    plan: Plan
    services: Services
    flag = "--table"

    @property
    def title(self) -> str:
        return f"BigQuery table {self.plan.table_path}"

    def look(self) -> State:
        try:
            table = self.services.bigquery.get_table(self.plan.table_path)
        except NotFound:
            return State.ABSENT
        return State.OURS if is_ours(self.plan, dict(table.labels)) else State.FOREIGN

    def creation(self) -> Iterator[Call]:
        from google.cloud import bigquery

        table = bigquery.Table(
            self.plan.table_path, [bigquery.SchemaField(name, kind) for name, kind in COLUMNS]
        )
        table.time_partitioning = bigquery.TimePartitioning(field="processed_at")
        table.labels = self.plan.labels
        yield Call(
            "bigquery.tables.insert",
            table.to_api_repr(),
            lambda: self.services.bigquery.create_table(table),
        )

    def removal(self, *, data: bool) -> Iterator[Call]:
        client, path = self.services.bigquery, self.plan.table_path
        table = client.get_table(path)
        # What was streamed (--bq-write storage) is counted apart for up to 90 minutes, and guessed.
        streamed = table.streaming_buffer
        rows = (table.num_rows or 0) + (streamed.estimated_rows or 0 if streamed else 0)
        if (rows or streamed) and not data:
            raise Kept(f"it holds {rows:,} rows: --delete-data")
        delete = partial(client.delete_table, path)
        yield Call("bigquery.tables.delete", {"table": path}, delete)
