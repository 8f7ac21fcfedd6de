"""A function of ``executor.pipeline`` with its arguments, and the Column that it makes of another.

Most have a second form for rows with several pictures, whose result is an array of the first's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType

from pyspark_vision.columns.type_checks import Accepted, by_array, checked, or_arrays
from pyspark_vision.columns.udf import vision_udf
from pyspark_vision.executor.decode.images import FIRST

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.udf import UserDefinedFunction

    from pyspark_vision.columns.read_columns import ReadColumn


@dataclass(frozen=True)
class WorkerFunction:
    """``entry``, ``lists_entry``: names in ``executor.pipeline``; ``name`` stands in plans."""

    name: str
    entry: str
    arguments: object
    result: DataType
    lists_entry: str | None = None
    is_deterministic: bool = True

    def udf(self) -> UserDefinedFunction:
        """For a picture in each row."""
        return self._udf(self.entry, self.result)

    def lists_udf(self) -> UserDefinedFunction:
        """For several in each row: an array of results."""
        assert self.lists_entry is not None
        return self._udf(self.lists_entry, ArrayType(self.result))

    def _udf(self, entry: str, result: DataType) -> UserDefinedFunction:
        udf = vision_udf(entry, self.arguments, result, name=self.name)
        return udf if self.is_deterministic else udf.asNondeterministic()


def applied(function: WorkerFunction, read: ReadColumn, accepted: Accepted | None = None) -> Column:
    """The function's result of the column read: an array for arrays of pictures and for frames.

    ``accepted``: the types that the column may have, by default what an image function takes.
    """
    accepted = read.accepted if accepted is None else accepted
    if read.decode.frames != FIRST:
        return function.lists_udf()(checked(function.name, read.col, accepted))
    if read.fetch is not None or function.lists_entry is None:
        return function.udf()(checked(function.name, read.col, accepted))
    column = checked(function.name, read.col, or_arrays(accepted))
    return by_array(column, function.lists_udf()(column), function.udf()(column))


def once(result: Column) -> Column:
    """The same column, in a plan that runs the model once, however often the column is used.

    Two things are wanted of Spark. Calls that stand beside each other (``r["label"], r["score"]``)
    become one only where they are deterministic, which ours are. Deterministic ones it runs again
    for a filter on the result, which it pushes below; so what is around them is not, though its
    value is always true. (``rand() >= 0`` would be: Spark's optimizer knows that.)
    """
    return F.when(F.spark_partition_id() >= 0, result)
