"""Text from bytes of others: always valid UTF-8, which readers of Parquet and JSON count on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.columns.compatibility import is_valid_utf8

if TYPE_CHECKING:
    from pyspark.sql import Column

# Of bytes as Latin-1, one character each: the well-formed sequences of Unicode's table 3-7, as
# `is_valid_utf8` takes them, runs of ASCII as one; else a single byte.
_PIECES = "|".join(
    (
        r"[\x00-\x7F]+",
        r"[\xC2-\xDF][\x80-\xBF]",
        r"\xE0[\xA0-\xBF][\x80-\xBF]",
        r"[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}",
        r"\xED[\x80-\x9F][\x80-\xBF]",
        r"\xF0[\x90-\xBF][\x80-\xBF]{2}",
        r"[\xF1-\xF3][\x80-\xBF]{3}",
        r"\xF4[\x80-\x8F][\x80-\xBF]{2}",
        r"[\x80-\xFF]",
    )
)
_STRAY = r"^[\x80-\xFF]$"
_LATIN_1 = "ISO-8859-1"


def text_of(value: Column) -> Column:
    """Bytes as text: valid UTF-8 as it is; else its stray bytes as ``%XX``, and ``%`` as ``%25``.

    So other bytes give other text (all but those that are ``%FF`` in letters already), and a URL
    decoder gives the bytes back.
    """
    text = value.cast("string")
    pieces = F.regexp_extract_all(F.decode(value, _LATIN_1), F.lit(f"({_PIECES})"), 0)
    escaped = F.array_join(F.transform(pieces, _escaped), "")
    whole = F.encode(escaped, _LATIN_1).cast("string")
    return F.when(is_valid_utf8(text), text).otherwise(whole)


def _escaped(piece: Column) -> Column:
    stray = F.concat(F.lit("%"), F.hex(F.encode(piece, _LATIN_1)))
    return F.when(piece.rlike(_STRAY), stray).otherwise(F.replace(piece, F.lit("%"), F.lit("%25")))
