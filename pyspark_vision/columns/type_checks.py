"""Columns of the wrong type are refused when the query is made, not in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision import schemas

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class Accepted:
    """Types that a function takes, as ``typeof`` spells them, and the words for them."""

    types: tuple[str, ...]
    described: str


_BYTES = "BINARY (encoded images, as spark.read.format('binaryFile') gives)"
_ENCODED_TYPES = ("binary", schemas.ENCODED.simpleString(), schemas.FETCHED.simpleString())

URI = Accepted(("string",), "STRING (URIs of objects)")
ENCODED = Accepted(_ENCODED_TYPES, f"{_BYTES} or the struct of fetch_object")
IMAGES = Accepted(
    (*_ENCODED_TYPES, schemas.IMAGE.simpleString()),
    f"{_BYTES}, the struct of fetch_object or an image struct (as decode_image gives)",
)


def checked(function: str, col: Column | str, accepted: Accepted) -> Column:
    """The column itself, in a plan that cannot be analyzed if its type is wrong.

    A UDF's input type is not Spark's concern, and an error in a worker comes late and from far
    away. So the column is tied to a ``from_json`` of nothing, whose schema is a legal one if the
    column's type is right, and else our message: Spark evaluates schemas during analysis, so the
    message comes as an AnalysisException from the line that made the query. The optimizer then
    folds all of it away; the plan keeps the bare column.
    """
    column = F.col(col) if isinstance(col, str) else col
    found = F.typeof(column)
    message = F.concat(
        F.lit(f"a `{function}: the column is "),
        found,
        F.lit(f"; it must be {accepted.described}`"),
    )
    schema = F.when(found.isin(*accepted.types), F.lit("a INT")).otherwise(message)
    # By its name, because F.from_json of Spark 3.5 evaluates a schema before its column has a type.
    probe = F.call_function("from_json", F.lit("{}"), schema)
    return F.when(probe.isNull() | probe.isNotNull(), column)


def named(function: str, col: Column | str, result: Column) -> Column:
    """A readable name for an unaliased result, instead of the whole checked expression."""
    return result.alias(f"{function}({col})" if isinstance(col, str) else function)
