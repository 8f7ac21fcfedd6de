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
from pyspark_vision.executor.base64_text import picture_bytes
from pyspark_vision.executor.fetched import Reference
from pyspark_vision.executor.images import DecodeOptions, decode
from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.executor.spark_image import spark_picture

# Encoded bytes, base64 text of them, the fields of an image struct or of encoded bytes with an
# error, the reason why there are none, or nothing.
Source = bytes | str | dict[str, Any] | RowError | None


def sources_of(array: pa.Array) -> Iterator[Source]:
    """Row by row: one picture's bytes are copied out of Arrow at a time.

    ``TypeError`` where the column is no column of images.
    """
    # Through pandas, a batch of nulls has lost its type.
    is_any_of = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    encoded = any(is_it(array.type) for is_it in is_any_of)
    structs = (results.IMAGE_TYPE, results.ENCODED_TYPE, results.SPARK_IMAGE_TYPE)
    if not encoded and not _has_fields(array.type, *structs):
        raise TypeError(
            f"the column is {array.type}; it must be binary (encoded images), string (base64 "
            "or data URIs), an image struct of decode_image or of Spark's image source, or the "
            "struct of fetch_object"
        )
    return (scalar.as_py() for scalar in array)


def _has_fields(found: pa.DataType, *structs: pa.StructType) -> bool:
    names = {field.name for field in found} if pa.types.is_struct(found) else set()
    return any(names >= {field.name for field in struct} for struct in structs)


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


def picture_of(
    source: Source, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> tuple[Image.Image, tuple[int, int]]:
    """The RGB picture, no smaller than ``target_hw`` needs, and the source's own width and height.

    ``RowError`` where there is none.
    """
    if isinstance(source, RowError):
        raise source
    if isinstance(source, str):
        source = picture_bytes(source)
    if not isinstance(source, dict):
        return decode(source, options, target_hw)
    if "nChannels" in source:
        image = spark_picture(source)
        return image, image.size
    error = source["error"]
    if error is not None:
        try:
            code = ErrorCode(error["code"])
        except ValueError:  # a struct that someone else made
            code = ErrorCode.UNDECODABLE
        raise RowError(code, error["message"] or "")
    if "content" in source:
        return decode(source["content"], options, target_hw)
    data, size_wh = source["data"], (source["width"], source["height"])
    if data is None:
        raise RowError(ErrorCode.NULL_INPUT, "the image struct has no data")
    if None in size_wh or min(size_wh) < 1 or len(data) != size_wh[0] * size_wh[1] * 3:
        raise RowError(
            ErrorCode.UNDECODABLE,
            f"the image struct says {size_wh[0]}x{size_wh[1]} pixels and has {len(data)} bytes; "
            "it must have a pixel or more, and three bytes (RGB) for each",
        )
    return Image.frombuffer("RGB", size_wh, data, "raw", "RGB", 0, 1), size_wh
