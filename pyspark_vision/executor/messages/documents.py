"""The document of a message: JSON or Avro as Python's values, taken out of its envelope."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from pyspark_vision.executor.messages import hints
from pyspark_vision.executor.messages.avro_schemas import InvalidSchemaError, decoded, parsed
from pyspark_vision.executor.messages.form import Layer, MessageForm
from pyspark_vision.executor.messages.schema_registry import UnknownSchemaError, schema_of
from pyspark_vision.executor.messages.unpacking import unpacked
from pyspark_vision.executor.row_errors import ErrorCode, RowError

# How many names of what is there an error says.
_NAMES_SHOWN = 12

# NaN and Infinity are no JSON, and Python's `json.dumps` writes them; Spark's reader takes them.
_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal)
_BLANK = re.compile(r"[ \t\r\n]*")


def document(value: bytes | None, form: MessageForm) -> Any:
    """A record's value -> its document: an object, as a dict.

    Numbers of JSON are ``int`` or ``Decimal``, as they were sent; Avro's values are fastavro's:
    logical types are ``datetime`` and so on. Raises :class:`RowError`; and
    :class:`~pyspark_vision.executor.messages.schema_registry.SchemaRegistryError`, which says
    nothing of the message.
    """
    if value is None:
        raise RowError(ErrorCode.NULL_INPUT, "the message has no value")
    if not value:
        raise RowError(ErrorCode.EMPTY_INPUT, "the message is empty")
    if len(value) > form.max_bytes:
        raise RowError(
            ErrorCode.TOO_MANY_BYTES,
            f"{len(value)} bytes; the limit is max_message_bytes={form.max_bytes}",
        )
    data, schema_id = unpacked(value, form.layers, form.max_bytes)
    whole = _avro(data, schema_id, form) if form.is_avro else json_value(data, form.layers)
    return _object(_unwrapped(whole, form), form)


def json_value(data: bytes, unpacked: Collection[str] = ()) -> Any:
    """Bytes of one JSON value, strictly; else ``bad_message``, with the option that reads it.

    ``unpacked``: the layers that were taken off them.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _bad(f"the message is not UTF-8{hints.of_message(data, unpacked)}") from None
    try:
        value, end = _JSON.raw_decode(text, _BLANK.match(text).end())  # type: ignore[union-attr]
    except (ValueError, RecursionError, ArithmeticError):
        hint = hints.of_message(data, unpacked)
        raise _bad(f"the message is not a JSON object{hint}") from None
    if _BLANK.fullmatch(text, end) is None:
        hint = hints.of_message(data, unpacked)
        is_object = isinstance(value, dict)
        raise _bad(hints.MORE_BEHIND if is_object else f"the message is not a JSON object{hint}")
    return value


def at(value: Any, path: tuple[str, ...]) -> Any:
    """What is at a path of names, and of places in lists; :class:`RowError` says what is there."""
    for depth, name in enumerate(path):
        inside = ".".join(path[:depth]) or "it"
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            missing = f"the message has no {'.'.join(path)}"
            raise _bad(missing if value is None else f"{missing}: {inside} {_contents(value)}")
    return value


def kind_of(value: Any) -> str:
    """A value's kind, in words.

    >>> [kind_of(one) for one in (True, 7, "a", b"a", None)]
    ['true or false', 'a number', 'text', 'bytes', 'null']
    """
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float, Decimal), "a number"),
        (str, "text"),
        (bytes, "bytes"),
        (dict, "an object"),
        (list, "a list"),
        (type(None), "null"),
    )
    return next((said for kind, said in kinds if isinstance(value, kind)), type(value).__name__)


def _avro(data: bytes, schema_id: int | None, form: MessageForm) -> Any:
    text = form.avro_schema
    named: tuple[str, ...] = ()
    said = "the schema of `avro_schema`"
    if text is None:
        assert form.registry is not None
        if schema_id is None:
            raise _bad(
                "the message has no Confluent framing (a zero byte and a schema's id)"
                f"{hints.of_message(data)}"
            )
        said = f"schema {schema_id} of the registry"
        try:
            registered = schema_of(form.registry, schema_id)
        except UnknownSchemaError:
            raise _bad(f"the schema registry has no schema {schema_id}") from None
        if registered.kind == "JSON":
            return json_value(data, form.layers)
        if registered.kind != "AVRO":
            raise _bad(f"{said} is {registered.kind}; Avro and JSON are read")
        text, named = registered.text, registered.named
    try:
        return decoded(data, parsed(text, named))
    except InvalidSchemaError as error:
        raise _bad(f"{said}: {error}") from None
    except ValueError as error:
        framing = Layer.CONFLUENT in form.layers or not data.startswith(b"\0")
        hint = "" if framing else hints.CONFLUENT_AVRO
        hint = hints.GZIP if data.startswith(hints.GZIP_MAGIC) else hint
        raise _bad(f"the message is not Avro by {said} ({error}){hint}") from None


def _unwrapped(value: Any, form: MessageForm) -> Any:
    if not form.unwrap:
        return value
    inside = _document_at(value, form.unwrap)
    if isinstance(inside, (str, bytes)):  # a document as text in the other
        data = inside.encode("utf-8", "replace") if isinstance(inside, str) else inside
        layers = form.layers - {Layer.CONFLUENT}
        return json_value(unpacked(data, layers, form.max_bytes)[0], layers)
    if not isinstance(inside, dict):
        path = ".".join(form.unwrap)
        hint = f"; `unwrap` {path}.0 reads a list of one" if isinstance(inside, list) else ""
        raise _bad(f"{path} is {kind_of(inside)}; it must be an object{hint}")
    return inside


def _document_at(whole: Any, path: tuple[str, ...]) -> Any:
    """As :func:`at`; what lies beside a document in a list is another one, and would be lost."""
    inside = at(whole, path)
    for depth in range(len(path)):
        around = at(whole, path[:depth])
        if isinstance(around, list) and len(around) > 1:
            raise _bad(_several(".".join(path[:depth]) or "the message", around))
    return inside


def _several(place: str, documents: list[Any]) -> str:
    return f"{place} is a list of {len(documents)}; a record is read that holds one alone"


def _object(value: Any, form: MessageForm) -> Any:
    if isinstance(value, list) and len(value) > 1:
        raise _bad(_several("the message", value))
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise _bad(f"the message is not an object{hints.LIST}")
        is_text = isinstance(value, str) and not form.is_avro
        hint = hints.JSON_TEXT if is_text and Layer.JSON_TEXT not in form.layers else ""
        raise _bad(f"the message is not an object, but {kind_of(value)}{hint}")
    return value


def _contents(value: Any) -> str:
    if isinstance(value, dict):
        shown = ", ".join(map(str, list(value)[:_NAMES_SHOWN])) or "nothing"
        return f"has {shown}{', …' if len(value) > _NAMES_SHOWN else ''}"
    if isinstance(value, list):
        return f"is a list of {len(value)}: its parts are 0, 1, …"
    return f"is {kind_of(value)}"


def _bad(message: str) -> RowError:
    return RowError(ErrorCode.BAD_MESSAGE, message)
