"""The table: made if it is absent, checked if it is there, widened if that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StructField, StructType

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sinks.bigquery import columns as cols
from pyspark_vision.sinks.bigquery.columns import TableColumn
from pyspark_vision.sinks.bigquery.service import TIMEOUT_S, refused

if TYPE_CHECKING:
    from pyspark_vision.sinks.bigquery.table_name import TableName

_Pair = tuple[StructField, TableColumn]

# The start asks for a few small answers; the client's own patience is ten minutes for each.
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Table:
    """A table as it is now. ``pairs``: what the job writes, field and column.

    ``location``: where its dataset is; jobs are looked for there.
    """

    name: TableName
    location: str
    pairs: tuple[_Pair, ...]
    is_partitioned: bool
    largest_row_bytes: int

    @property
    def fields(self) -> StructType:
        """The job's fields that the table has."""
        return StructType([field for field, _ in self.pairs])


@dataclass(frozen=True)
class Wanted:
    """What a job needs of its table.

    - ``required``: the fields that it must have; a new table has these.
    - ``offered``: all that the job has; those that the table has are written, too.
    - ``partitioned_by``: the column by whose day a new table is partitioned.
    - ``largest_row_bytes``: of a row as JSON.
    - ``added``: names of fields that are added where the table lacks them, besides the required
      ones; ``None``: no column is added.
    """

    required: StructType
    offered: StructType
    partitioned_by: str
    largest_row_bytes: int
    added: tuple[str, ...] | None = None


def check(client: Any, name: TableName, wanted: Wanted, flag: str = "`output_bq_table`") -> None:
    """Raise what :func:`ready` does, as far as that can be told without a change to anything."""
    refuse_unknown(wanted)
    with refused(f"the dataset {name.project}.{name.dataset}", flag):
        client.get_dataset(f"{name.project}.{name.dataset}", retry=_retry(), timeout=TIMEOUT_S)
    with refused(f"the table {name}", flag):
        resource = _table(client, name)
        if resource is not None:
            there = _columns(resource, name, flag)
            _lacking(there, name, wanted, flag)
            cols.written(wanted.offered, there, name)


def ready(client: Any, name: TableName, wanted: Wanted, flag: str = "`output_bq_table`") -> Table:
    """The table, made or widened now if it has to be.

    Raises :class:`InvalidOptionError` for a dataset that does not exist, a right that is missing, a
    table that lacks a column (unless ``wanted.added``) or has one of another type, and for a view;
    :class:`StreamError` if the service does not answer.
    """
    check(client, name, wanted, flag)
    with refused(f"the table {name}", flag):
        resource = _table(client, name) or _made(client, name, wanted)
        there = _columns(resource, name, flag)
        if lacking := _lacking(there, name, wanted, flag):
            resource = _widened(client, resource, lacking)
            there = _columns(resource, name, flag)
        location = resource.location
        if not location:  # of an emulator
            location = client.get_dataset(
                f"{name.project}.{name.dataset}", retry=_retry(), timeout=TIMEOUT_S
            ).location
    pairs = cols.written(wanted.offered, there, name)
    partitioning = resource.time_partitioning or resource.range_partitioning
    return Table(name, location, tuple(pairs), partitioning is not None, wanted.largest_row_bytes)


def refuse_changed(client: Any, table: Table, wanted: Wanted, flag: str) -> None:
    """Raise if a table that a stream writes is no longer what :func:`ready` has given.

    :class:`InvalidOptionError` as there if it could not be written any more, :class:`StreamError`
    if the next start could go on with what it is now.
    """
    check(client, table.name, wanted, flag)
    with refused(f"the table {table.name}", flag):
        resource = _table(client, table.name)
    if resource is None:
        raise StreamError(
            f"the table {table.name} was deleted while the stream ran; the next start makes it "
            "anew and sends the batch again"
        )
    now = tuple(cols.written(wanted.offered, _columns(resource, table.name, flag), table.name))
    if changed := _changed(table.pairs, now):
        raise StreamError(
            f"the table {table.name} has got other columns while the stream ran "
            f"({', '.join(changed)}); the next start sends the batch again, for the table as it is"
        )


def _changed(before: Sequence[_Pair], now: Sequence[_Pair]) -> list[str]:
    """The names of columns of one that are not the same in the other, in whatever order."""
    columns = [{column.name: column for _, column in pairs} for pairs in (before, now)]
    names = dict.fromkeys(name for of_one in columns for name in of_one)
    return [name for name in names if columns[0].get(name) != columns[1].get(name)]


def _columns(resource: Any, name: TableName, flag: str) -> list[TableColumn]:
    if resource.table_type not in ("TABLE", None):
        raise InvalidOptionError(
            f"{flag} {name} is a {resource.table_type.lower()}, and rows go to tables alone: "
            "choose another name"
        )
    return [_column(field) for field in resource.schema]


def _lacking(
    there: list[TableColumn], name: TableName, wanted: Wanted, flag: str
) -> list[StructField]:
    """The fields to be added; raises if there are any and none may be."""
    lacking = cols.missing(wanted.required, there)
    if wanted.added is None:
        if lacking:
            names = ", ".join(f"{cols.of_type(field)}" for field in lacking)
            raise InvalidOptionError(
                f"{flag} {name} lacks the columns {names}: add them, say `bq_add_columns` to have "
                "them added, or choose another table"
            )
        return []
    named = StructType([wanted.offered[added] for added in wanted.added])
    return [*lacking, *cols.missing(named, [*there, *map(cols.of_type, lacking)])]


def refuse_unknown(wanted: Wanted) -> None:
    """Raise :class:`InvalidOptionError` for a column to be added that the job does not have."""
    for added in wanted.added or ():
        if added not in wanted.offered.names:
            raise InvalidOptionError(
                f"`bq_add_columns` {added}: the job has no such column; it has "
                f"{', '.join(wanted.offered.names)}"
            )


def _retry() -> Any:
    from google.cloud import bigquery

    return bigquery.DEFAULT_RETRY.with_timeout(_PATIENCE_S)


def _table(client: Any, name: TableName) -> Any:
    from google.api_core import exceptions

    try:
        return client.get_table(str(name), retry=_retry(), timeout=TIMEOUT_S)
    except exceptions.NotFound:
        return None


def _made(client: Any, name: TableName, wanted: Wanted) -> Any:
    from google.cloud import bigquery

    fields = [_schema_field(cols.of_type(field)) for field in wanted.required]
    table = bigquery.Table(str(name), schema=fields)
    table.time_partitioning = bigquery.TimePartitioning(
        type_=bigquery.TimePartitioningType.DAY, field=wanted.partitioned_by
    )
    # Another job may make it in the same moment.
    client.create_table(table, exists_ok=True, retry=_retry(), timeout=TIMEOUT_S)
    return client.get_table(str(name), retry=_retry(), timeout=TIMEOUT_S)


def _widened(client: Any, resource: Any, fields: list[StructField]) -> Any:
    resource.schema = [
        *resource.schema,
        *(_schema_field(cols.of_type(field)) for field in fields),
    ]
    # With the version that was read (an etag): what somebody else has changed since is kept.
    return client.update_table(resource, ["schema"], retry=_retry(), timeout=TIMEOUT_S)


def _schema_field(column: TableColumn) -> Any:
    from google.cloud import bigquery

    return bigquery.SchemaField(column.name, column.type, column.mode)


def _column(field: Any) -> TableColumn:
    return cols.TableColumn(
        field.name,
        cols.api_type(field.field_type),
        (field.mode or cols.NULLABLE).upper(),
        field.max_length,
        field.precision,
        field.scale,
        field.default_value_expression is not None,
    )
