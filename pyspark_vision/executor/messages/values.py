"""Fields of a document as a job takes them: pictures, ids, times, metadata. Nothing is guessed."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from pyspark_vision.executor.decode import base64_text
from pyspark_vision.executor.messages import hints
from pyspark_vision.executor.messages.documents import at, document, kind_of
from pyspark_vision.executor.messages.form import MICROSECONDS, Field, Kind, Layer, MessageForm
from pyspark_vision.executor.messages.unpacking import is_literal, literal
from pyspark_vision.executor.row_errors import ErrorCode, RowError

# The first and last moments that Spark knows: the years 1 to 9999.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_LIKELY_US = (946_684_800_000_000, 4_102_444_800_000_000)  # the years 2000 to 2099
_MOST_DIGITS = 21  # as many as the last moment has in nanoseconds
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_DIGITS = re.compile(r"\s*-?\d+(?:\.\d+)?\s*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=\s-]*")

# Of a value that an error shows.
_SHOWN_CHARS = 40


@dataclass(frozen=True)
class Moment:
    """A timestamp as it was sent: ``text`` (ISO-8601, still to be read), or ``micros`` since 1970
    in UTC."""

    text: str | None = None
    micros: int | None = None


def values_of(
    value: bytes | None, headers: Sequence[bytes | None], form: MessageForm
) -> dict[str, Any]:
    """A record -> its fields by their names; ``headers`` are those that ``form.headers`` names.

    Pictures are ``bytes``, URIs and text ``str``, timestamps :class:`Moment`, maps ``dict`` of
    text; ``None`` where one that is not required is missing. Raises :class:`RowError` as
    :func:`document` does, and for a field that is missing or is of the wrong kind.
    """
    given = dict(zip(form.headers, headers, strict=True))
    of_document = [field for field in form.fields if not field.is_header]
    message = document(value, form) if of_document else {}
    values: dict[str, Any] = {}
    for field in form.fields:
        if field.is_header:
            raw = _header(given[field.path[0]], field)
        elif field.required:
            raw = _required(message, field)
        else:
            raw = _optional(message, field.path)
        if raw is None and field.required:
            raise _bad(f"the message has no {field.name}: {_place(field)} is null")
        values[field.name] = None if raw is None else _read(raw, field, form)
    return values


def _read(raw: Any, field: Field, form: MessageForm) -> Any:
    if field.kind is Kind.PICTURE:
        return picture(raw, field, form.layers)
    if field.kind is Kind.TIMESTAMP:
        return moment(raw, field, form)
    if field.kind is Kind.MAP:
        return _texts(raw, field)
    return _text(raw, field, form)


def picture(raw: Any, field: Field, layers: frozenset[Layer]) -> bytes:
    """The bytes of a picture: Avro's as they are; of text what it stands for."""
    if isinstance(raw, bytes):
        return raw
    if not isinstance(raw, str):
        raise RowError(
            ErrorCode.BAD_BASE64, f"{_place(field)} is {kind_of(raw)}; it must be base64 text"
        )
    text = base64_text.of_data_uri(raw.encode("utf-8", "replace").strip())
    if text is None:
        raise RowError(ErrorCode.BAD_BASE64, "the image is not base64")
    if Layer.PYTHON_BYTES in layers and is_literal(text):
        text = literal(text)
        # Of base64 or of the picture itself, whose formats all begin with other bytes.
        if not _BASE64.fullmatch(text):
            return text
    if Layer.HEX in layers and base64_text.is_hexadecimal(text, at_least=0):
        return bytes.fromhex(base64_text.hex_digits(text).decode())
    if base64_text.is_hexadecimal(text):
        raise RowError(ErrorCode.BAD_BASE64, f"the image is not base64{hints.PICTURE_HEX}")
    try:
        return base64_text.decoded(text)
    except binascii.Error:
        hint = hints.PYTHON_BYTES if is_literal(text) else ""
        raise RowError(ErrorCode.BAD_BASE64, f"the image is not base64{hint}") from None


def moment(raw: Any, field: Field, form: MessageForm) -> Moment:
    """ISO-8601 text, a number of ``timestamp_unit``, or a timestamp of Avro's."""
    if isinstance(raw, dt.datetime):
        if raw.tzinfo is None:  # local-timestamp-*: local, wherever that is
            return Moment(text=raw.isoformat())
        return Moment(micros=(raw - _EPOCH) // dt.timedelta(microseconds=1))
    is_number = isinstance(raw, (int, float, Decimal)) and not isinstance(raw, bool)
    if isinstance(raw, str) and _DIGITS.fullmatch(raw):
        # A header has no numbers but in text.
        if form.timestamp_unit is None or not (form.coerce or field.is_header):
            if not field.required:  # who does not need a time hands it on as it was sent
                return Moment(text=raw)
            raise _bad(f"{_place(field)} is digits, {raw[:_SHOWN_CHARS]}{hints.DIGITS_AS_TIME}")
        raw, is_number = Decimal(raw.strip()), True
    if is_number:
        if form.timestamp_unit is None:
            raise _bad(f"{_place(field)} is a number, {_shown(raw)}{hints.NUMBER_AS_TIME}")
        return Moment(micros=_micros(raw, form.timestamp_unit, field))
    if not isinstance(raw, str):
        raise _bad(f"{_place(field)} is {kind_of(raw)}; it must be a timestamp")
    return Moment(text=_whole(raw))


def _micros(raw: float | Decimal, unit: str, field: Field) -> int:
    number = Decimal(repr(raw)) if isinstance(raw, float) else Decimal(raw)
    if number.is_nan():
        raise _bad(f"{_place(field)} is no number (NaN)")
    is_beyond, hint = "before the year 1" if number < 0 else "beyond the year 9999", ""
    # By its size first: 1e999999999 has as many digits.
    if number.is_finite() and number.adjusted() < _MOST_DIGITS:
        exact = number * MICROSECONDS[unit]
        micros = int(exact.to_integral_value(ROUND_HALF_EVEN))
        by = [name for name, count in MICROSECONDS.items() if _is_likely(number * count)]
        is_within = _FIRST_US <= micros <= _LAST_US
        # Seconds taken for milliseconds are in January 1970.
        if is_within and (micros >= _LIKELY_US[0] or not by):
            return micros
        is_beyond = "of the year 1970" if is_within else is_beyond
        hint = f"; by `timestamp_unit` {by[0]} it would be of this century" if by else ""
    raise _bad(f"{_place(field)} {_shown(raw)} is {is_beyond} in {unit}{hint}")


def _is_likely(micros: Decimal) -> bool:
    return _LIKELY_US[0] < micros < _LIKELY_US[1]


def _text(raw: Any, field: Field, form: MessageForm) -> str:
    if isinstance(raw, uuid.UUID):
        return str(raw)
    if isinstance(raw, (int, float, Decimal)) and not isinstance(raw, bool):
        if form.coerce and field.kind is Kind.TEXT and math.isfinite(raw):
            return str(raw)
        hint = hints.NUMBER_AS_ID if field.kind is Kind.TEXT else ""
        raise _bad(f"{_place(field)} is a number, {_shown(raw)}; it must be text{hint}")
    if not isinstance(raw, str):
        raise _bad(f"{_place(field)} is {kind_of(raw)}; it must be text")
    if _whole(raw) != raw:  # JSON may name halves of characters, and two ids would become one
        raise _bad(f"{_place(field)} has half of a character, which no text holds")
    return raw


def _texts(raw: Any, field: Field) -> dict[str, str | None]:
    if not isinstance(raw, dict):
        raise _bad(f"{_place(field)} is {kind_of(raw)}; it must be an object")
    return {_whole(str(name)): _as_text(value) for name, value in raw.items()}


def _as_text(value: Any) -> str | None:
    """A value of metadata, as Spark's JSON reader gives it: JSON of what is no text."""
    if value is None or isinstance(value, str):
        return None if value is None else _whole(value)
    return _whole(_json(value))


def _json(value: Any) -> str:
    """JSON with numbers as they were sent: ``json.dumps`` has no ``Decimal``, and a ``float`` has
    fewer digits."""
    if isinstance(value, dict):
        members = (f"{_json(str(name))}:{_json(member)}" for name, member in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    return json.dumps(value, default=str, ensure_ascii=False)


def _header(value: bytes | None, field: Field) -> str | None:
    if value is None:
        if field.required:
            raise _bad(f"the record has no header {field.path[0]}, or it is null")
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _bad(f"the record's header {field.path[0]} is not UTF-8") from None


def _optional(message: Any, path: tuple[str, ...]) -> Any:
    try:
        return at(message, path)
    except RowError:
        return None


def _required(message: Any, field: Field) -> Any:
    try:
        return at(message, field.path)
    except RowError as error:
        path = ".".join(field.path)
        hint = hints.FIELD.format(field.name)
        if isinstance(message, dict) and len(field.path) > 1 and path in message:
            escaped = path.replace(".", r"\.")
            hint = f"that is one name here: `field` {field.name}={escaped} reads it"
        raise _bad(f"{error}; {hint}") from None


def _whole(text: str) -> str:
    """Text that is UTF-8, with a question mark for half of a character."""
    return text.encode("utf-8", "replace").decode()


def _place(field: Field) -> str:
    path = ".".join(field.path)
    if field.is_header:
        return f"{field.name} (header {path})"
    return field.name if path == field.name else f"{field.name} ({path})"


def _shown(value: Any) -> str:
    return str(value)[:_SHOWN_CHARS]


def _bad(message: str) -> RowError:
    return RowError(ErrorCode.BAD_MESSAGE, message)
