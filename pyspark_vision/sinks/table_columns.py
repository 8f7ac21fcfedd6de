"""Whether rows go into a table that is there, whatever its format: its columns, its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql.types import ArrayType, MapType, StructType

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import delta_log
from pyspark_vision.spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

FLAG = "`table`"


def refuse_partitions(partition_by: Sequence[str], schema: StructType) -> None:
    """Raise :class:`InvalidOptionError` if a table of such rows cannot have these partitions.

    Spark would say so when the first batch is written.
    """
    kinds = {field.name: field.dataType for field in schema}
    plain = sorted(name for name, kind in kinds.items() if not _is_nested(kind))
    choice = f"choose from {', '.join(plain)}"
    for name in partition_by:
        if name not in kinds:
            raise InvalidOptionError(
                f"`table_partition_by` {name}: the rows have no such column; {choice}"
            )
        if _is_nested(kinds[name]):
            raise InvalidOptionError(
                f"`table_partition_by` {name}: it is {kinds[name].typeName()}, and a partition has "
                f"one plain value; {choice}"
            )
        if list(partition_by).count(name) > 1:
            raise InvalidOptionError(f"`table_partition_by` {name} is named twice; name it once")
    if set(partition_by) == set(kinds):
        raise InvalidOptionError(
            f"`table_partition_by` {' '.join(partition_by)}: these are all columns of the rows, "
            "and none is left for the files in the partitions; leave at least one out"
        )


def refuse_differences(
    uri: str,
    there: StructType,
    rows: StructType,
    *,
    adds_columns: bool,
    filled: frozenset[str] = frozenset(),
) -> None:
    """Raise :class:`InvalidOptionError` if the table has not the columns of the rows.

    ``filled``: columns that the table's format fills where rows have none.
    """
    if differences := _differences(there, rows, adds_columns=adds_columns, filled=filled):
        raise InvalidOptionError(
            f"{FLAG} {uri} has other columns than the rows: {'; '.join(differences)}. "
            "Nothing was written. Choose another table, or change this one"
        )


def refuse_null_in(uri: str, there: StructType, rows: StructType) -> None:
    """Raise :class:`InvalidOptionError` for a NOT NULL column to which the rows may bring null.

    For a format that refuses such rows by their schema, whatever is in them.
    """
    nullable = {field.name.lower() for field in rows if field.nullable}
    refused = [f.name for f in there if not f.nullable and f.name.lower() in nullable]
    if refused:
        raise InvalidOptionError(
            f"{FLAG} {uri}: {', '.join(refused)} is NOT NULL there, and may be null in the rows. "
            "Nothing was written. Choose another table, or take it from this one (ALTER TABLE … "
            "ALTER COLUMN … DROP NOT NULL)"
        )


def refuse_other_partitions(uri: str, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise :class:`InvalidOptionError` if other partitions are wanted than the table has."""
    if wanted and tuple(there) != tuple(wanted):
        raise InvalidOptionError(
            f"{FLAG} {uri} is partitioned by {', '.join(there) or 'nothing'}, not by "
            f"{', '.join(wanted)}; leave `table_partition_by` out, or choose another table"
        )


def refuse_other_content(session: SparkSession, uri: str, kind: str) -> None:
    """Raise :class:`InvalidOptionError` if a folder that is no table of this kind holds files."""
    names = hadoop.list_names(session, uri) or []
    others = sorted(
        name for name in names if name == delta_log.FOLDER or not name.startswith(("_", "."))
    )
    if others:
        raise InvalidOptionError(
            f"{FLAG} {uri} holds {others[0]} and is no {kind} table; choose a new folder, or a "
            "table"
        )


def refuse_older_checkpoint(uri: str, newest: int, checkpoint: str, planned: int) -> None:
    """Raise :class:`InvalidOptionError` if the table's newest batch is beyond those planned."""
    if newest > planned:
        last = f"its last batch is {planned}" if planned >= 0 else "it has no batch yet"
        raise InvalidOptionError(
            f"{FLAG} {uri} holds batches up to {newest} of `checkpoint` {checkpoint}, which "
            f"does not know them: {last} (was it restored from a copy?). Restore the newer "
            "checkpoint, or begin a new one where that one ended (`starting_offsets`)"
        )


def _differences(
    there: StructType, rows: StructType, *, adds_columns: bool, filled: frozenset[str]
) -> Sequence[str]:
    """What of a table's columns keeps such rows from being appended, in words."""
    known = {field.name.lower(): field for field in there}
    said = []
    for field in rows:
        column = known.pop(field.name.lower(), None)
        if column is None and not adds_columns:
            said.append(
                f"it lacks {field.name} {field.dataType.simpleString()} (`table_add_columns` adds "
                "it)"
            )
        elif column is not None and _plain(column.dataType) != _plain(field.dataType):
            said.append(
                f"{field.name} is {column.dataType.simpleString()} there and "
                f"{field.dataType.simpleString()} in the rows"
            )
    # What the rows have not is null there: a table may have more than one writer.
    said += [
        f"they have no {field.name}, which is NOT NULL"
        for field in known.values()
        if not field.nullable and field.name not in filled
    ]
    return said


def _plain(kind: DataType) -> str:
    """A type without what is nullable in it."""
    return kind.simpleString().lower()


def _is_nested(kind: DataType) -> bool:
    return isinstance(kind, ArrayType | MapType | StructType)
