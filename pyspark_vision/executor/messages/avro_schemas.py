"""Avro schemas of a file or a registry, read once in each process by fastavro (extra ``avro``).

Not Spark's ``from_avro``: it knows one schema per column, no registry and no frames, a message that
does not fit ends the query or is null without a reason, and its jar is one more to bring.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

_NAMED = ("record", "error", "enum", "fixed")
# Without a namespace, which names inside it would be of.
_AROUND, _FIELD = "pyspark_vision_message", "value"


class InvalidSchemaError(ValueError):
    """Text that is no Avro schema, or one by which a message could end its worker."""


@functools.lru_cache(maxsize=256)
def parsed(text: str, named: tuple[str, ...] = ()) -> Any:
    """A schema for :func:`decoded`; ``named``: the schemas that it refers to.

    Raises :class:`InvalidSchemaError`, also for two kinds of schemas that Avro allows: one that
    holds itself (fastavro's reader then nests as deep as a message says, and 5,000 deep the
    process ends), and an array of items without bytes (a message of ten bytes may have 10^18).
    """
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    known: dict[str, Any] = {}
    try:
        for other in named:
            fastavro.parse_schema(json.loads(other), named_schemas=known)
        # In a record, whose bytes are those of its field: fastavro keeps what it knows by name in
        # records only, and a schema may be a union of names.
        only = {"name": _FIELD, "type": json.loads(text)}
        own = {"name": _AROUND, "type": "record", "fields": [only]}
        schema = fastavro.parse_schema(own, named_schemas=dict(known))
        # Expanded it is for a look only, as fastavro's documentation has it.
        expanded = fastavro.parse_schema(own, named_schemas=dict(known), expand=True)
    except UnknownType as error:
        raise InvalidSchemaError(f"the schema names {error.name}, which is not there") from None
    except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidSchemaError(f"it is no Avro schema: {type(error).__name__}: {error}") from None
    except RecursionError:
        raise InvalidSchemaError("the schema is nested too deep") from None
    for part in _parts(expanded):
        # Expanded, a name that is left is of a schema around it.
        if isinstance(part, str) and part not in _PRIMITIVES:
            raise InvalidSchemaError(f"the schema's {part} holds itself, which is not read")
        if isinstance(part, dict) and part.get("type") == "array" and _is_empty(part["items"]):
            raise InvalidSchemaError("the schema has an array of items without bytes")
    return schema


def decoded(data: bytes, schema: Any) -> Any:
    """The value of a message by its writer's schema: all of the bytes, or :class:`ValueError`."""
    import fastavro

    source = io.BytesIO(data)
    try:
        record: Any = fastavro.schemaless_reader(source, schema, None)
    except Exception as error:  # whatever fastavro meets in bytes of others
        said = str(error) or "the bytes end too early"
        raise ValueError(f"{type(error).__name__}: {said}") from None
    if source.tell() < len(data):
        raise ValueError(f"{len(data) - source.tell()} bytes are left over")
    return record[_FIELD]


_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


def _parts(schema: Any) -> Iterator[Any]:
    """All types in a schema, itself first."""
    yield schema
    if isinstance(schema, list):
        for branch in schema:
            yield from _parts(branch)
    elif isinstance(schema, Mapping):
        kind = schema["type"]
        if kind in ("record", "error"):
            for field in schema["fields"]:
                yield from _parts(field["type"])
        elif kind == "array":
            yield from _parts(schema["items"])
        elif kind == "map":
            yield from _parts(schema["values"])
        elif kind not in _NAMED:
            yield from _parts(kind)


def _is_empty(schema: Any) -> bool:
    """Whether a value takes no byte."""
    if not isinstance(schema, Mapping):
        return bool(schema == "null")
    if schema["type"] in ("record", "error"):
        return all(_is_empty(field["type"]) for field in schema["fields"])
    if schema["type"] == "fixed":
        return bool(schema["size"] == 0)
    return bool(schema["type"] == "null")
