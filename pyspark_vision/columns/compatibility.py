"""What PySpark 3.5 lacks, made of what it has: the same answers on each version.

All of it is public API. A newer PySpark's own function is used where it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyspark.sql.functions as F
from pyspark.sql import Column

from pyspark_vision.columns.names import quoted

if TYPE_CHECKING:
    from pyspark.errors import PySparkException

_HAS_VARIANT = hasattr(F, "try_variant_get")

# As what Spark's JSON reader is to read a field for `typed_fields`.
JSON_VALUE = "VARIANT" if _HAS_VARIANT else "STRING"

# How text begins that was no JSON string, or may have been none.
_MAYBE_NO_STRING = r"^([\[{0-9-]|true$|false$)"


def error_condition(error: PySparkException) -> str | None:
    """The name of an error (``PATH_NOT_FOUND``), which Spark 3.5 calls its class."""
    condition = getattr(error, "getCondition", None) or error.getErrorClass
    return None if (name := condition()) is None else str(name)


def is_valid_utf8(text: Column) -> Column:
    """Whether a string's bytes are UTF-8: from Spark 4.0 ``F.is_valid_utf8``."""
    own: Any = getattr(F, "is_valid_utf8", None)
    if own is not None:
        valid: Column = own(text)
        return valid
    # Before 4.0 `decode` puts a replacement character where bytes are none of UTF-8.
    decoded = F.decode(text.cast("binary"), "UTF-8")
    return decoded.cast("binary") == text.cast("binary")


def try_timestamp(text: Column) -> Column:
    """ISO-8601 text as a timestamp, null where it is none: from Spark 4.0 ``Column.try_cast``."""
    # Of the class: to a Column each name is that of a field.
    if hasattr(Column, "try_cast"):
        return text.try_cast("timestamp")
    return F.try_to_timestamp(text)


def typed_fields(
    json: Column, fields: Mapping[str, Column], types: Mapping[str, str]
) -> tuple[dict[str, Column], dict[str, Column]]:
    """Fields of JSON objects, read as ``JSON_VALUE``: their kinds, and their values.

    Kinds are spelled as ``schema_of_variant`` does (``STRING``, ``OBJECT<…``, ``VOID`` for null).
    ``types`` are ``string`` or ``map<string,string>``; the value of another kind is null or text.
    Without VARIANT, ``json`` is read once more for each kind where a field's text leaves a doubt.
    """
    if _HAS_VARIANT:
        kinds = {name: F.schema_of_variant(field) for name, field in fields.items()}
        values = {
            name: F.try_variant_get(field, "$", types[name]) for name, field in fields.items()
        }
        return kinds, values
    kinds, values = {}, {}
    for name, text in fields.items():
        is_doubtful = text.rlike(_MAYBE_NO_STRING)

        def read(kind: str, name: str = name, is_doubtful: Column = is_doubtful) -> Column:
            return F.when(is_doubtful, F.from_json(json, f"{quoted(name)} {kind}")[name])

        members = read("MAP<STRING, STRING>")
        kinds[name] = (
            F.when(text.isNull(), "VOID")
            .when(~is_doubtful, "STRING")
            .when(members.isNotNull(), "OBJECT<")
            .when(read("ARRAY<STRING>").isNotNull(), "ARRAY<")
            .when(read("BIGINT").isNotNull(), "BIGINT")
            .when(read("DOUBLE").isNotNull(), "DOUBLE")
            .when(read("BOOLEAN").isNotNull(), "BOOLEAN")
            .otherwise("STRING")
        )
        values[name] = text if types[name] == "string" else members
    return kinds, values
