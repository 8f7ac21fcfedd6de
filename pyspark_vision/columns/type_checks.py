"""Columns of the wrong type are refused when the query is made, not in a worker.

The error is Spark's ``AnalysisException``, of the condition ``FIELD_NOT_FOUND``, with our words in
it. A class of our own would need our code to run while Spark analyzes, and no public means brings
it there: a Column does not know its DataFrame's types when a function makes it, PySpark chooses the
class of an error by the JVM's, and Python that Spark calls in analysis (``analyze`` of a table
function) serves tables only. What else was tried, on Spark 3.5.9 and 4.3.0:

- ``raise_error``: our words alone (``USER_RAISED_EXCEPTION``), but it is never folded, so it comes
  from a task;
- a ``from_json`` whose schema is the message: ``PARSE_SYNTAX_ERROR``; fails for right types on 3.5;
- ``date_part`` of a field that is the message: ``INVALID_EXTRACT_FIELD``, and the text ends with a
  date.

SQL functions (``register``) get their columns from Spark without a chance to look at them before:
there the worker raises, and Spark's ``PythonException`` ends with our words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pyspark_vision import schemas

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class Accepted:
    """Types that a function takes, as ``typeof`` spells them, and the words for them."""

    types: tuple[str, ...]
    described: str


# Spark quotes the words as a name: no dots and backticks in them.
_BYTES = "BINARY (encoded images, as the binaryFile source gives)"
_TEXT = "STRING (base64 or data URIs)"
_ENCODED_TYPES = (
    "binary",
    "string",
    *(struct.simpleString() for struct in (schemas.ENCODED, schemas.FETCHED, schemas.SPARK_IMAGE)),
)

_URI = "STRING (URIs of objects)"
URI = Accepted(("string",), _URI)
GENERATION = Accepted(
    ("bigint", "int", "string"), "BIGINT or STRING (generations of objects of gs://)"
)
# What fetch_object makes of the two.
REFERENCE = Accepted(("string", "struct<uri:string,generation:string>"), _URI)
ENCODED = Accepted(
    _ENCODED_TYPES, f"{_BYTES}, {_TEXT}, the struct of fetch_object or of Spark's image source"
)
# What decode_image gave before it had warnings: tables have it.
_IMAGE_TYPES = (
    schemas.IMAGE.simpleString(),
    StructType([field for field in schemas.IMAGE if field.name != "warnings"]).simpleString(),
)
IMAGES = Accepted(
    (*_ENCODED_TYPES, *_IMAGE_TYPES),
    f"{_BYTES}, {_TEXT}, the struct of fetch_object or an image struct (as decode_image or "
    "Spark's image source gives)",
)
TEXT = Accepted(("string",), "STRING (texts)")

_RIGHT, _OTHER = "image or uri", "another type"


def or_arrays(accepted: Accepted) -> Accepted:
    """The same types, and arrays of them."""
    arrays = tuple(f"array<{name}>" for name in accepted.types)
    return Accepted((*accepted.types, *arrays), f"{accepted.described}, or an ARRAY of such")


def checked(function: str, col: Column | str, accepted: Accepted) -> Column:
    """The column itself, in a plan that cannot be analyzed if its type is wrong.

    A UDF's input type is not Spark's concern, and an error in a worker comes late and from far
    away. So the column is tied to a field of a struct. The struct's only field has the name that is
    looked for if the column's type is right, and else our message for its name, which Spark then
    gives as all the fields there are: field names are known in analysis, so the error comes from
    the line that made the query. The optimizer folds all of it away; the plan keeps the bare
    column.
    """
    column = F.col(col) if isinstance(col, str) else col
    type_name = F.typeof(column)
    message = F.concat(
        F.lit(f"{function}: the column is "),
        F.translate(type_name, ".`", "_'"),
        F.lit(f"; it must be {accepted.described}"),
    )
    # One text of all the types: a list of them is some calls of the JVM for each, 0.1 s in all.
    types = F.lit("".join(f"|{accepted_type}|" for accepted_type in accepted.types))
    is_right = types.contains(F.concat(F.lit("|"), type_name, F.lit("|")))
    name = F.when(is_right, F.lit(_RIGHT)).otherwise(message)
    probe = F.named_struct(name, F.lit(0)).getField(_RIGHT)
    return F.when(probe.isNull() | probe.isNotNull(), column)


def by_array(column: Column, for_arrays: Column, for_others: Column) -> Column:
    """The one result for a column of arrays, the other for other columns.

    They may be of two types: which of them is meant is known in analysis, as in :func:`checked`,
    and the optimizer leaves nothing of the other.
    """
    is_array = F.typeof(column).startswith("array<")
    return F.named_struct(
        F.when(is_array, F.lit(_RIGHT)).otherwise(F.lit(_OTHER)),
        for_arrays,
        F.when(is_array, F.lit(_OTHER)).otherwise(F.lit(_RIGHT)),
        for_others,
    ).getField(_RIGHT)


def named(function: str, col: Column | str, result: Column) -> Column:
    """A readable name for an unaliased result, instead of the whole checked expression."""
    return result.alias(f"{function}({col})" if isinstance(col, str) else function)
