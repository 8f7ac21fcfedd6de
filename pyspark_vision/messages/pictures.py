"""How a message brings its picture: as base64 text, as a URI to fetch, or as its very bytes.

Each gives ``struct<content, error>`` (:data:`schemas.ENCODED`; a fetched one with ``attempts``,
:data:`schemas.FETCHED`), which every image function takes:
what is wrong with the message becomes the row's error there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.columns.names import quoted
from pyspark_vision.errors import ErrorCode
from pyspark_vision.executor.decode.base64_text import HEX_LETTERS
from pyspark_vision.executor.messages import hints
from pyspark_vision.messages.json_fields import (
    WHITE_SPACE,
    error,
    no_error,
    there_is,
    too_many_bytes,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BASE64, URI, IMAGE = "base64", "uri", "image"
PAYLOADS = (BASE64, URI, IMAGE)

_NOT_BASE64 = "the image is not base64"


def encoded(content: Column, problem: Column) -> Column:
    """``struct<content, error>``: no content where there is a problem."""
    bytes_or_null = F.when(problem.isNull(), content)
    return F.struct(bytes_or_null.alias("content"), problem.alias("error")).cast(schemas.ENCODED)


def with_base64_field(
    messages: DataFrame, message: Column, field: str, problem: Column
) -> DataFrame:
    """:func:`with_base64` of a field of JSON text; null text has no picture."""
    content, text = (
        F.from_json(message, f"{quoted(field)} {kind}")[field] for kind in ("BINARY", "STRING")
    )
    # As bytes at once, or where Spark's reader does not take it for base64, as text.
    read = messages.withColumn("_bytes", content)
    read = read.withColumn("_text", F.when(F.col("_bytes").isNull(), text))
    there = there_is(message, "image")
    return with_base64(read, F.col("_bytes"), F.col("_text"), problem, there).drop(
        "_bytes", "_text"
    )


def with_base64(
    messages: DataFrame, content: Column, text: Column, problem: Column, there: Column | str = ""
) -> DataFrame:
    """Add ``picture``: its bytes where they are known, or else base64 text as bytes.

    Text may be a data URI (``data:image/jpeg;base64,…``); line breaks and the URL-safe alphabet
    are taken too. ``bad_base64`` for what is not base64, text that is hexadecimal among it;
    ``bad_message`` where both are null. ``problem`` is what was wrong before that, or null.
    ``there``: words on what a message without a picture has instead.
    """
    text = F.btrim(text, F.lit(WHITE_SPACE))
    is_data_uri = F.lower(F.substring(text, 1, 5)) == "data:"
    bare = F.when(is_data_uri, F.substring_index(text, ",", -1)).otherwise(text)
    plain = F.translate(bare, "-_ \t\r\n", "+/")
    decoded = F.coalesce(
        content, F.try_to_binary(bare, F.lit("base64")), F.try_to_binary(plain, F.lit("base64"))
    )
    not_base64 = F.col("_content").isNull() | (
        is_data_uri & ~F.lower(F.substring_index(text, ",", 1)).endswith(";base64")
    )
    hint = (
        F.when(bare.rlike("^b['\"]"), hints.PYTHON_BYTES)
        # No base64 has a backslash.
        .when(bare.rlike(r"^\\x[0-9a-fA-F]{8}"), hints.PICTURE_HEX)
        .otherwise("")
    )
    problem = (
        F.when(problem.isNotNull(), problem)
        .when(
            content.isNull() & text.isNull(),
            error(
                ErrorCode.BAD_MESSAGE,
                F.concat(F.lit("the message has no image"), F.lit(there)),
            ),
        )
        .when(not_base64, error(ErrorCode.BAD_BASE64, F.concat(F.lit(_NOT_BASE64), hint)))
        .when(_is_hexadecimal(), error(ErrorCode.BAD_BASE64, _NOT_BASE64 + hints.PICTURE_HEX))
    )
    # Columns of their own: as expressions they would be decoded anew wherever they are used.
    read = messages.withColumn("_content", decoded).withColumn("_problem", problem)
    picture = encoded(F.col("_content"), F.col("_problem"))
    return read.withColumn("picture", picture).drop("_content", "_problem")


def _is_hexadecimal() -> Column:
    """Whether what ``_content`` was decoded from is hexadecimal: its digits are letters of base64.

    Encoded again it is that text, but for its last letter; the beginning first, where most
    pictures end it.
    """
    content = F.col("_content")
    begins = F.base64(F.substring(content, 1, HEX_LETTERS * 3 // 4))
    digits = "[0-9a-fA-F]"
    whole = F.translate(F.base64(content), "\r\n", "")
    is_hex = F.when(
        begins.rlike(f"^({digits}{{{HEX_LETTERS}}}|0[xX]{digits}{{{HEX_LETTERS - 2}}})$"),
        whole.rlike(f"^(0[xX])?{digits}+.?=*$"),
    )
    return F.coalesce(is_hex, F.lit(False))


def from_fetched(fetched: Column, problem: Column) -> Column:
    """What ``fetch_object`` gave for a message's URI; ``problem`` comes first."""
    given = encoded(fetched["content"], F.coalesce(problem, fetched["error"]))
    return given.withField("attempts", fetched["attempts"])


def from_bytes(value: Column, max_bytes: int) -> Column:
    """The message is the picture."""
    too_large = F.length(value) > max_bytes
    problem = F.when(too_large, too_many_bytes(value, max_bytes)).otherwise(no_error())
    return encoded(value, problem)


def parent_folder() -> Column:
    """The name of the folder that ``origin`` lies in: a label, a camera; null for a bare name."""
    parts = F.split("origin", "/")
    return F.get(parts, F.size(parts) - 2)
