"""Typed fields of a JSON message, or the reason why it has none; nothing is guessed or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.columns.compatibility import (
    JSON_VALUE,
    is_valid_utf8,
    try_timestamp,
    typed_fields,
)
from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import ErrorCode, InvalidOptionError
from pyspark_vision.executor.messages import hints
from pyspark_vision.messages.local_times import with_seconds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_CORRUPT = "_not_json"
# Text and null as the members of a list, which has more if the text has: Spark's reader stops
# behind the first value and does not look at what follows.
_ALONE = "alone"
_BEFORE, _BEHIND = f'{{"{_ALONE}":[', ",null]}"
_STRICT = {"columnNameOfCorruptRecord": _CORRUPT, "allowSingleQuotes": "false"}

# Text that is a number.
DIGITS = r"^\s*-?\d+(\.\d+)?\s*$"

# As `schema_of_variant` calls numbers.
_NUMBERS = "^(BIGINT|DOUBLE|DECIMAL)"

# How much of a message is looked at to tell what it is instead; and of its fields' names is shown.
_MAGIC_BYTES = 6
_NAMES_CHARS = 100

# What JSON allows around a value; a line end is what many producers put there.
WHITE_SPACE = " \t\r\n"
_NOT_BLANK = rf"[^{WHITE_SPACE}]"

# The years 1 to 9999.
YEARS_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)

# Seconds may lack: Java's own text of a time leaves them out where they are zero.
_MOMENT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?"

# Of a message's beginning: patterns over all of it take as long as reading its JSON.
_FIRST_BYTES = 64

# JSON's escape of one half of a character beyond the first 65,536, without the other.
_HALF_CHARACTER = (
    r"(?i)\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}"
)

# How Spark names the kinds of a JSON value (`schema_of_variant`).
_KIND_PATTERNS = {"string": "^STRING$", "map<string,string>": "^OBJECT<"}


def error(code: ErrorCode, message: Column | str) -> Column:
    """A literal or computed ``{code, message}``, of the type of every ``error`` field."""
    text = F.lit(message) if isinstance(message, str) else message
    return F.struct(F.lit(code.value).alias("code"), text.alias("message")).cast(schemas.ERROR)


def too_many_bytes(value: Column, max_bytes: int) -> Column:
    """The error of a message above the limit."""
    said = F.lit(f" bytes; the limit is max_message_bytes={max_bytes}")
    return error(ErrorCode.TOO_MANY_BYTES, F.concat(F.length(value).cast("string"), said))


def no_error() -> Column:
    """A null of the type of every ``error`` field."""
    return F.lit(None).cast(schemas.ERROR)


def trimmed(text: Column) -> Column:
    """Text without the white space that JSON allows around a value."""
    return F.btrim(text, F.lit(WHITE_SPACE))


def with_message(
    records: DataFrame,
    value: Column,
    texts: tuple[str, ...],
    typed: Mapping[str, str],
    *,
    max_bytes: int,
    encoded: tuple[str, ...] = (),
    hinted: bool = False,
) -> DataFrame:
    """Add ``_message``: a message's bytes as ``struct<error, fields: struct<…>>``.

    ``texts`` are fields read as text whatever they are (large ones: cheap); ``typed`` are fields
    by their type (``string`` or ``map<string,string>``), which the value must really have: 7 is
    no camera's name. ``encoded`` are base64 fields, as ``struct<content, text>``: bytes of plain
    base64; of anything else its text. A missing field is null; whether that is an error the format
    says. Errors: ``null_input``, ``empty_input``, ``too_many_bytes``, and ``bad_message`` for what
    is not UTF-8, not one JSON object alone, or has a field of the wrong type. ``hinted``: their
    words name the option of a job that would have read it.
    """
    text = value.cast("string")
    # Too large is said before anything is parsed. Of blank text Spark's reader makes no record, on
    # which its optimizer counts (OptimizeCsvJsonExprs): such a task would fail.
    # (Patterns, because trimming a message of megabytes takes four times as many.)
    is_blank = ~_first(value).rlike(_NOT_BLANK) & ~text.rlike(_NOT_BLANK)
    small = F.when((F.length(value) <= max_bytes) & ~is_blank, text)
    # Columns of their own: as expressions they would be parsed anew wherever they are used below.
    read = records.withColumn("_record", _parsed(small, texts, encoded, "BINARY", typed))
    corrupt, length = F.col("_record")[_CORRUPT], F.array_size(F.col("_record")[_ALONE])
    record = F.get(F.col("_record")[_ALONE], F.lit(0))
    as_text = record
    if encoded:
        # Spark's reader decodes base64 on its way, in a quarter of the time that checking and
        # decoding the text takes. Where it fails, so does its record. (It reads on behind padding:
        # of two encoded texts in one string it makes one.)
        again = F.when(corrupt.isNotNull(), _parsed(small, texts, encoded, "STRING", typed))
        read = read.withColumn("_as_text", again)
        corrupt, in_bytes = F.col("_as_text")[_CORRUPT], length
        length = F.coalesce(F.array_size(F.col("_as_text")[_ALONE]), in_bytes)
        as_text = F.get(F.col("_as_text")[_ALONE], F.lit(0))
    wanted = _columns(texts, encoded, "STRING", typed)
    is_object = record.isNotNull() | as_text.isNotNull()
    is_alone = F.coalesce(is_object & corrupt.isNull() & (length == 2), F.lit(False))

    def field_value(name: str) -> Column:
        return F.coalesce(record[name], as_text[name]) if encoded else record[name]

    problem = (
        F.when(value.isNull(), error(ErrorCode.NULL_INPUT, "the message has no value"))
        .when(F.length(value) == 0, error(ErrorCode.EMPTY_INPUT, "the message is empty"))
        .when(
            F.length(value) > max_bytes,
            too_many_bytes(value, max_bytes),
        )
        .when(
            ~is_valid_utf8(_without_base64(text, [record[name] for name in encoded])),
            error(ErrorCode.BAD_MESSAGE, _refused("the message is not UTF-8", value, hinted)),
        )
        .when(~is_alone, error(ErrorCode.BAD_MESSAGE, _no_object(small, wanted, value, hinted)))
    )
    kinds, values = typed_fields(small, {name: field_value(name) for name in typed}, typed)
    for name, kind in typed.items():
        given = kinds[name]
        wrong = ~given.rlike(_KIND_PATTERNS[kind]) & (given != "VOID")
        said = [F.lit(f"{name} is "), F.lower(given), F.lit(f"; it must be {kind}")]
        if hinted and kind == "string":
            hint = hints.NUMBER_AS_TIME if name == "timestamp" else hints.NUMBER_AS_ID
            said.append(F.when(given.rlike(_NUMBERS), hint).otherwise(""))
        message = F.concat(*said)
        problem = problem.when(wrong, error(ErrorCode.BAD_MESSAGE, message))
        if kind == "string":
            # Before Spark 4.2 a question mark stands for it, and two ids would become one.
            is_half = F.contains(values[name], F.lit("?")) & small.rlike(_HALF_CHARACTER)
            problem = problem.when(
                is_half,
                error(
                    ErrorCode.BAD_MESSAGE, f"{name} has half of a character, which no text holds"
                ),
            )
    fields = [field_value(name).alias(name) for name in texts]
    fields += [
        F.struct(record[name].alias("content"), as_text[name].alias("text")).alias(name)
        for name in encoded
    ]
    fields += [value.alias(name) for name, value in values.items()]
    message = F.struct(problem.alias("error"), F.struct(*fields).alias("fields"))
    return read.withColumn("_message", message).drop("_record", "_as_text")


def missing(field: Column, name: str, message: Column | None = None) -> Column:
    """The error of a field that must be there, or null.

    ``message``: JSON text, whose fields the error names then, and the option that reads them.
    """
    said = F.lit(f"the message has no {name}")
    if message is not None:
        said = F.concat(said, there_is(message, name))
    return F.when(field.isNull(), error(ErrorCode.BAD_MESSAGE, said))


def there_is(message: Column, name: str) -> Column:
    """Words on the fields of JSON text, one of which may be the field ``name`` of a job."""
    names = F.substring(F.array_join(F.json_object_keys(message), ", "), 1, _NAMES_CHARS)
    how = F.lit(f"; {hints.FIELD.format(name)}")
    return F.coalesce(F.concat(F.lit(": it has "), names, how), F.lit(""))


def _no_object(text: Column, wanted: str, value: Column, hinted: bool) -> Column:
    """Words of text that is not one JSON object alone; ``wanted``: its columns."""
    first = F.from_json(text, f"{wanted}, {_CORRUPT} STRING", _STRICT)
    has_more = first.isNotNull() & first[_CORRUPT].isNull()
    said = _refused("the message is not a JSON object", value, hinted)
    return F.when(has_more, hints.MORE_BEHIND).otherwise(said)


def _refused(said: str, value: Column, hinted: bool) -> Column:
    """Words of a message that cannot be read, as :func:`hints.of_message` in a worker has them."""
    if not hinted:
        return F.lit(said)
    first = F.hex(F.substring(value, 1, _MAGIC_BYTES))

    def begins(*magics: bytes) -> Column:
        return first.rlike("^(" + "|".join(magic.hex().upper() for magic in magics) + ")")

    hint = (
        F.when(begins(hints.GZIP_MAGIC), hints.GZIP)
        .when(begins(*hints.MARKS), hints.BOM)
        .when(begins(*hints.LITERALS), hints.PYTHON_BYTES)
        .when(begins(*hints.BASE64_MAGICS), hints.BASE64)
        .when(begins(*hints.JSON_TEXT_MAGICS), hints.JSON_TEXT)
        .when(first.rlike("^(20|09|0A|0D)*5B"), hints.LIST)
        .when(first.rlike("^00.{8}7B"), hints.CONFLUENT_JSON)
        .when(first.rlike("^00.{10}"), hints.CONFLUENT_AVRO)
        .when(begins(*hints.PICTURE_MAGICS), hints.PICTURE)
        .otherwise("")
    )
    return F.concat(F.lit(said), hint)


def local_timestamp(text: Column, time_zone: str) -> Column:
    """ISO-8601 text -> timestamp; null where it is not one, or not of the years 1 to 9999, which
    readers in Python and tables hold.

    Seconds and their fraction may lack. Without an offset it is read in ``time_zone``
    (``Europe/Zurich``), with one as it says.
    """
    naive, with_offset = text.rlike(_MOMENT + "$"), has_offset(text)
    dotted = with_seconds(F.translate(text, ",z", ".Z"))
    moment = F.when(naive, try_timestamp(F.concat(dotted, F.lit(time_zone)))).when(
        with_offset, try_timestamp(dotted)
    )
    return F.when(F.unix_micros(moment).between(*YEARS_US), moment)


def has_offset(text: Column) -> Column:
    """Whether ISO-8601 text says its offset (``Z``, ``+02:00``)."""
    return text.rlike(_MOMENT + r"\s*(Z|z|[+-]\d{2}(:?\d{2})?)$")


def refuse_zone_unknown_to_spark(session: SparkSession, time_zone: str) -> None:
    """Raise :class:`InvalidOptionError` where Java's data is older than Python's, and lacks a zone.

    Each timestamp without an offset would be ``bad_message``.
    """
    read = local_timestamp(F.lit("2026-11-21T08:00:00"), time_zone)
    [(known,)] = session.range(1).select(read.isNotNull()).collect()
    if not known:
        raise InvalidOptionError(
            f"Spark's Java does not know the time zone {time_zone}, which Python knows: choose an "
            "older name for it, a fixed offset as +02:00, or a newer Java"
        )


def _parsed(
    text: Column,
    texts: tuple[str, ...],
    encoded: tuple[str, ...],
    encoded_type: str,
    typed: Mapping[str, str],
) -> Column:
    columns = _columns(texts, encoded, encoded_type, typed)
    schema = f"{_ALONE} ARRAY<STRUCT<{columns}>>, {_CORRUPT} STRING"
    return F.from_json(F.concat(F.lit(_BEFORE), text, F.lit(_BEHIND)), schema, _STRICT)


def _columns(
    texts: tuple[str, ...], encoded: tuple[str, ...], encoded_type: str, typed: Mapping[str, str]
) -> str:
    columns = [f"{quoted(name)} STRING" for name in texts]
    columns += [f"{quoted(name)} {encoded_type}" for name in encoded]
    columns += [f"{quoted(name)} {JSON_VALUE}" for name in typed]
    return ", ".join(columns)


def _without_base64(text: Column, contents: list[Column]) -> Column:
    """Text that is UTF-8 just where ``text`` is: base64 that was decoded, and is found there as it
    would be encoded again, is a space. To look at its letters takes as long as to decode them."""
    for content in contents:
        text = F.coalesce(F.replace(text, F.base64(content), F.lit(" ")), text)
    return text


def _first(value: Column) -> Column:
    return F.substring(value, 1, _FIRST_BYTES).cast("string")
