"""What a column of images holds, row by row, and the picture in each row.

A row has encoded bytes, base64 text, an image struct of ``decode_image`` or of Spark's image
source, the struct of ``fetch_object``, or a reason why there is no picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from PIL import Image

from pyspark_vision.executor import results
from pyspark_vision.executor.decode import frames
from pyspark_vision.executor.decode.base64_text import picture_bytes
from pyspark_vision.executor.decode.images import FIRST, DecodeOptions, Picture, read_picture
from pyspark_vision.executor.decode.spark_image import spark_picture
from pyspark_vision.executor.fetch.fetched import Reference
from pyspark_vision.executor.row_errors import ErrorCode, RowError, RowWarning, WarningCode

# Encoded bytes, base64 text of them, the fields of an image struct or of encoded bytes with an
# error, the reason why there are none, or nothing.
Source = bytes | str | dict[str, Any] | RowError | None

# The fields of those structs. What decode_image gave before it had warnings is one, too.
_STRUCTS = (
    {field.name for field in results.IMAGE_TYPE} - {"warnings"},
    {field.name for field in results.ENCODED_TYPE},
    {field.name for field in results.SPARK_IMAGE_TYPE},
)


def sources_of(array: pa.Array) -> Iterator[Source]:
    """Row by row: one picture's bytes are copied out of Arrow at a time.

    ``TypeError`` where the column is no column of images.
    """
    if _is_list(array.type) and _is_of_pictures(array.type.value_type):
        raise TypeError(
            f"the column is {array.type}, of several pictures in a row: a registered SQL function "
            "takes those if it was registered with arrays=True"
        )
    _refuse_others(array.type)
    return (scalar.as_py() for scalar in array)


def source_lists_of(array: pa.Array) -> Iterator[list[Source] | None]:
    """Row by row of a column of arrays of pictures: a list, or ``None`` for null."""
    if pa.types.is_null(array.type):
        yield from [None] * len(array)
        return
    if not _is_list(array.type):
        raise TypeError(f"the column is {array.type}; it must be an array of pictures")
    _refuse_others(array.type.value_type)
    yield from (scalar.as_py() for scalar in array)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _refuse_others(kind: pa.DataType) -> None:
    if not _is_of_pictures(kind):
        raise TypeError(
            f"the column is {kind}; it must be binary (encoded images), string (base64 "
            "or data URIs), an image struct of decode_image or of Spark's image source, or the "
            "struct of fetch_object"
        )


def _is_of_pictures(kind: pa.DataType) -> bool:
    # Through pandas, a batch of nulls has lost its type.
    is_any_of = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    if any(is_it(kind) for is_it in is_any_of):
        return True
    names = {field.name for field in kind} if pa.types.is_struct(kind) else set()
    return any(names >= fields for fields in _STRUCTS)


def references_of(batches: Iterator[pa.Array]) -> Iterator[Reference]:
    """Row by row: URIs, or ``struct<uri, generation>`` of strings.

    ``TypeError`` where the column is neither.
    """
    for batch in batches:
        if pa.types.is_struct(batch.type):
            columns = (batch.field("uri"), batch.field("generation"))
            yield from map(Reference, *(column.to_pylist() for column in columns))
            continue
        is_text = pa.types.is_string(batch.type) or pa.types.is_large_string(batch.type)
        # Through pandas, a batch of nulls has lost its type.
        if not is_text and batch.null_count < len(batch):
            raise TypeError(f"the column is {batch.type}; it must be a string (URIs)")
        yield from map(Reference, batch.to_pylist())


def pictures_of(
    source: Source, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> Iterator[Picture | RowError]:
    """The pictures of a source that ``options.frames`` asks for, or why one is none.

    One that is no file of several frames has one.
    """
    if options.frames == FIRST:
        yield _picture_or_error(source, options, target_hw)
        return
    encoded: bytes | None
    try:
        if isinstance(source, str):
            encoded = picture_bytes(source)
        elif isinstance(source, dict) and "content" in source:
            _raise_error_of(source)
            encoded = source["content"]
        elif source is None or isinstance(source, bytes):
            encoded = source
        else:
            yield _picture_or_error(source, options, target_hw)
            return
    except RowError as error:
        yield error
        return
    yield from frames.pictures(encoded, options, target_hw)


def _picture_or_error(
    source: Source, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> Picture | RowError:
    try:
        return picture_of(source, options, target_hw)
    except RowError as error:
        return error


def picture_of(
    source: Source, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> Picture:
    """The RGB picture, no smaller than ``target_hw`` needs; ``RowError`` where there is none."""
    if isinstance(source, RowError):
        raise source
    if isinstance(source, str):
        source = picture_bytes(source)
    if not isinstance(source, dict):
        return read_picture(source, options, target_hw)
    if "nChannels" in source:
        image = spark_picture(source)
        return Picture(image, image.size)
    _raise_error_of(source)
    if "content" in source:
        return read_picture(source["content"], options, target_hw)
    data, size_wh = source["data"], (source["width"], source["height"])
    if data is None:
        raise RowError(ErrorCode.NULL_INPUT, "the image struct has no data")
    if None in size_wh or min(size_wh) < 1 or len(data) != size_wh[0] * size_wh[1] * 3:
        raise RowError(
            ErrorCode.UNDECODABLE,
            f"the image struct says {size_wh[0]}x{size_wh[1]} pixels and has {len(data)} bytes; "
            "it must have a pixel or more, and three bytes (RGB) for each",
        )
    image = Image.frombuffer("RGB", size_wh, data, "raw", "RGB", 0, 1)
    return Picture(image, size_wh, _warnings_of(source))


def _raise_error_of(source: dict[str, Any]) -> None:
    error = source["error"]
    if error is None:
        return
    try:
        code = ErrorCode(error["code"])
    except ValueError:  # a struct that someone else made
        code = ErrorCode.UNDECODABLE
    raise RowError(code, error["message"] or "")


def _warnings_of(source: dict[str, Any]) -> tuple[RowWarning, ...]:
    """What decode_image had to say; not a word of our own that a struct of another's has."""
    codes = {code.value for code in WarningCode}
    return tuple(
        RowWarning(WarningCode(warning["code"]), warning["message"] or "")
        for warning in source.get("warnings") or ()
        if warning["code"] in codes
    )
