"""Tables that Hive's metastore knows: the DDL of folders that a job writes, and saved tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pyspark_vision.sinks import Sink
    from pyspark_vision.sinks.owner import Mark

# An option that Spark keeps with the table: whose it is.
_OWNER = "pyspark_vision.owner"

_IN_MEMORY = "in-memory"


def external_table(
    name: str, columns: Sequence[tuple[str, str]], folder: str, partition: str | None = None
) -> str:
    """DDL for Hive and Spark of a folder of Parquet files; ``partition``: of its folders, as
    ``"batch_id int"``.

    Raises :class:`InvalidOptionError` for a folder that is not absolute: Hive has another one.

    >>> print(external_table("hits", [("timestamp", "timestamp")], "hdfs:///hits"))
    create external table if not exists `hits` (
      `timestamp` timestamp
    )
    stored as parquet
    location 'hdfs:///hits';
    """
    if not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*:", folder):
        raise InvalidOptionError(
            f"{folder} is no absolute path or URI; Hive does not know this folder from others"
        )
    listed = ",\n".join(f"  {_quoted(column)} {kind}" for column, kind in columns)
    location = folder.replace("\\", "\\\\").replace("'", "\\'")
    lines = [f"create external table if not exists {_quoted(name)} (", listed, ")"]
    if partition is not None:
        column, _, kind = partition.partition(" ")
        lines.append(f"partitioned by ({_quoted(column)} {kind})")
    lines += ["stored as parquet", f"location '{location}';"]
    if partition is not None:
        lines.append(f"msck repair table {_quoted(name)};")
    return "\n".join(lines)


def refuse_without_metastore(session: SparkSession) -> None:
    """Raise :class:`InvalidOptionError` if tables would be forgotten when the session ends."""
    if session.conf.get("spark.sql.catalogImplementation", _IN_MEMORY) == _IN_MEMORY:
        raise InvalidOptionError(
            "`save_as_table`: this session has no metastore. Submit with "
            "--conf spark.sql.catalogImplementation=hive (and the hive-site.xml of yours)"
        )


def saved_table_sink(session: SparkSession, table: str, mark: Mark) -> Sink:
    """A sink that makes its results the metastore's table, in place of the last run's, whole.

    ``table``: ``database.name``.
    """

    def sink(results: DataFrame, batch_id: int) -> None:
        refuse_others_table(session, table, mark)
        writer = results.write.mode("overwrite").format("parquet")
        writer.option(_OWNER, str(mark)).saveAsTable(table)

    return sink


def refuse_others_table(session: SparkSession, table: str, mark: Mark) -> None:
    """Raise :class:`InvalidOptionError` if there is a table that a job with this mark did not save,
    or no such database."""
    database = table.partition(".")[0]
    if not session.catalog.databaseExists(database):
        raise InvalidOptionError(
            f"`save_as_table` {database}: the metastore has no such database; create it"
        )
    if not session.catalog.tableExists(table):
        return
    described = session.sql(f"describe table extended {'.'.join(map(_quoted, table.split('.')))}")
    said = [str(row["data_type"]) for row in described.collect()]
    if not any(f"{_OWNER}={mark}" in text for text in said):
        raise InvalidOptionError(
            f"`save_as_table`: {table} was not saved by this job from the same topics; choose "
            "another database, or drop it"
        )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
