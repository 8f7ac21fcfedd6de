"""A table in BigQuery: whether its dataset answers, whether it is there, and what may be done."""

from __future__ import annotations

from pyspark_vision.sinks.bigquery import service
from pyspark_vision.sinks.bigquery.service import refused
from pyspark_vision.sinks.bigquery.table_name import TableName
from pyspark_vision.spark.java_errors import Problem

_FLAG = "--output-bq-table"
# What a job does with a table that is there, and with one that it makes.
_WRITES = ("bigquery.tables.get", "bigquery.tables.updateData")
# A doctor says soon that nothing answers.
_PATIENCE_S = 15.0


def dataset(name: TableName, project: str) -> str:
    """BigQuery answers, and the dataset is there."""
    client = service.client(project)
    with refused(f"the dataset {name.project}.{name.dataset}", _FLAG):
        there = client.get_dataset(f"{name.project}.{name.dataset}", retry=_retry())
    return f"{name.project}.{name.dataset}, in {there.location}"


def table(name: TableName, project: str) -> str:
    """The table is there, or will be made."""
    from google.api_core import exceptions

    client = service.client(project)
    with refused(f"the table {name}", _FLAG):
        try:
            there = client.get_table(str(name), retry=_retry())
        except exceptions.NotFound:
            return f"{name} is not there yet: the job makes it"
    if there.table_type not in ("TABLE", None):
        raise Problem(f"{name} is a {there.table_type.lower()}", "Choose a table")
    by = there.time_partitioning
    partitioned = f", a partition by {by.type_.lower()} of {by.field}" if by else ""
    return f"{name}, {len(there.schema)} columns{partitioned}"


def rights(name: TableName, project: str) -> str:
    """This account may run jobs in the project, and write to the table if it is there."""
    from google.api_core import exceptions
    from google.cloud import bigquery

    client = service.client(project)
    dry_run = bigquery.QueryJobConfig(dry_run=True)
    with refused(f"jobs in the project {project}", _FLAG):
        client.query("SELECT 1", job_config=dry_run, retry=_retry(), job_retry=None)
    with refused(f"the table {name}", _FLAG):
        try:
            given = client.test_iam_permissions(str(name), _WRITES, retry=_retry())
        except exceptions.NotFound:
            return f"jobs may run in {project}"
        except exceptions.MethodNotAllowed:  # an emulator
            return f"jobs may run in {project}; rights to the table are not told here"
    lacking = [right for right in _WRITES if right not in given.get("permissions", ())]
    if lacking:
        raise Problem(
            f"this account lacks {' and '.join(lacking)} on {name}",
            "Give it roles/bigquery.dataEditor on the dataset",
        )
    return f"jobs may run in {project}, rows may be written to {name}"


def _retry() -> object:
    from google.cloud import bigquery

    return bigquery.DEFAULT_RETRY.with_timeout(_PATIENCE_S)
