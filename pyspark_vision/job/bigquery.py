"""The flags of a table in BigQuery, and what they mean."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job.places import Place
from pyspark_vision.sinks.bigquery import service, table
from pyspark_vision.sinks.bigquery.sink import (
    LOAD,
    STORAGE,
    Target,
    bigquery_sink,
    refuse_own_disk,
)
from pyspark_vision.sinks.bigquery.table_name import TableName, parse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sinks.bigquery.table import Table, Wanted

FLAG = "--output-bq-table"

# Google's limit of changes to a table in a day. Of one that is partitioned it is 30,000.
_LOAD_JOBS_PER_DAY = 1500
_SHORTEST_TRIGGER_S = 24 * 60 * 60 / _LOAD_JOBS_PER_DAY


def add_bigquery(group: argparse._ArgumentGroup) -> None:
    """``--output-bq-table``, ``--bq-write``, ``--bq-staging`` and ``--bq-add-columns``."""
    group.add_argument(
        FLAG,
        metavar="TABLE",
        help="the table in BigQuery, as PROJECT.DATASET.TABLE, or DATASET.TABLE and --project-id. "
        "It is made if it is not there, its dataset is not",
    )
    group.add_argument(
        "--bq-write",
        choices=[LOAD, STORAGE],
        default=LOAD,
        help="bring rows in by load jobs, or by the Storage Write API, which costs by the byte and "
        "takes as many batches as come",
    )
    group.add_argument(
        "--bq-staging",
        metavar="URI",
        help="the folder for rows on their way, usually of gs://. The default is the checkpoint",
    )
    group.add_argument(
        "--bq-add-columns",
        nargs="*",
        metavar="COLUMN",
        help="add columns that the table lacks: those of a new table, and other ones of the "
        "results that are named here",
    )


def table_name(options: argparse.Namespace) -> TableName | None:
    """The table of ``--output-bq-table``; ``None`` without it.

    Raises :class:`InvalidOptionError` for what is no table, and for flags that lack one.
    """
    if options.output_bq_table:
        return parse(options.output_bq_table, options.project_id)
    others = {
        "--bq-write storage": options.bq_write == STORAGE,
        "--bq-staging": options.bq_staging is not None,
        "--bq-add-columns": options.bq_add_columns is not None,
    }
    for flag, is_given in others.items():
        if is_given:
            raise InvalidOptionError(f"{flag} is for {FLAG}, which is missing")
    return None


def places(options: argparse.Namespace) -> list[Place]:
    """The folder that ``--bq-staging`` names: what lies there must be nobody else's."""
    if options.bq_staging is None:
        return []
    return [Place("--bq-staging", options.bq_staging, is_written=True)]


def added(options: argparse.Namespace) -> tuple[str, ...] | None:
    """The columns of ``--bq-add-columns``, as :class:`~table.Wanted` takes them."""
    return None if options.bq_add_columns is None else tuple(options.bq_add_columns)


def check(options: argparse.Namespace, wanted: Wanted) -> None:
    """Raise what is wrong with the table, before Spark starts; nothing is made yet."""
    name = table_name(options)
    if name is not None:
        table.check(service.client(_project(options, name)), name, wanted, FLAG)


def ready(options: argparse.Namespace, wanted: Wanted, trigger: str) -> Table | None:
    """The table, which is there from now on; ``None`` if none is asked for.

    ``trigger`` is the stream's; BigQuery's limit is said if its batches come too fast for it.
    """
    name = table_name(options)
    if name is None:
        return None
    existing = table.ready(service.client(_project(options, name)), name, wanted, FLAG)
    seconds, _, unit = trigger.partition(" ")
    is_often = unit == "seconds" and float(seconds) < _SHORTEST_TRIGGER_S
    if is_often and options.bq_write == LOAD and not existing.is_partitioned:
        print(
            f"{FLAG} {name} is not partitioned: BigQuery takes {_LOAD_JOBS_PER_DAY:,} load jobs a "
            "day for it, one in 58 s. Have batches that far apart, or say --bq-write storage",
            file=sys.stderr,
            flush=True,
        )
    return existing


def sink(
    session: SparkSession, options: argparse.Namespace, destination: Table, wanted: Wanted
) -> Sink:
    """The sink of ``--output-bq-table``."""
    refuse_own_disk(session, options.checkpoint, options.bq_staging)
    client = service.client(_project(options, destination.name))
    target = Target(
        destination,
        client,
        options.checkpoint,
        options.bq_write,
        service.write_client() if options.bq_write == STORAGE else None,
        options.bq_staging,
    )
    return bigquery_sink(
        session, target, lambda: table.refuse_changed(client, destination, wanted, FLAG)
    )


def _project(options: argparse.Namespace, name: TableName) -> str:
    """Where jobs run, and who pays: the table may be in another project."""
    return str(options.project_id or name.project)
