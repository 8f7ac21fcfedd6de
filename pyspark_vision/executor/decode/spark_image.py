"""Rows of Spark's own image source (``spark.read.format("image")``) -> RGB pictures."""

from __future__ import annotations

from typing import Any

from PIL import Image

from pyspark_vision.executor.decode.images import upright_to_rgb
from pyspark_vision.executor.row_errors import ErrorCode, RowError

# OpenCV's types, as pyspark.ml.image.ImageSchema.ocvTypes has them: channels, Pillow's mode, and
# the order of the samples (Spark stores blue first).
_MODES = {0: (1, "L", "L"), 16: (3, "RGB", "BGR"), 24: (4, "RGBA", "BGRA")}


def spark_picture(fields: dict[str, Any]) -> Image.Image:
    """The RGB picture of ``{height, width, nChannels, mode, data}``; alpha over white.

    :class:`RowError` where there is none. Spark's source does not turn pictures by EXIF.
    """
    data, mode = fields["data"], fields["mode"]
    width, height = fields["width"], fields["height"]
    if data is None:
        raise RowError(ErrorCode.NULL_INPUT, "the struct of Spark's image source has no data")
    if mode not in _MODES:
        raise RowError(
            ErrorCode.UNDECODABLE,
            f"Spark's image source says mode {mode}; read are 0 (CV_8UC1), 16 (CV_8UC3) and "
            "24 (CV_8UC4); -1 is a file that it could not read",
        )
    channels, pillow_mode, order = _MODES[mode]
    is_whole = (
        None not in (width, height)
        and min(width, height) >= 1
        and fields["nChannels"] == channels
        and len(data) == width * height * channels
    )
    if not is_whole:
        raise RowError(
            ErrorCode.UNDECODABLE,
            f"Spark's image source says {width}x{height} pixels, {fields['nChannels']} channels, "
            f"mode {mode}, and has {len(data)} bytes; mode {mode} has {channels} for each pixel",
        )
    image = Image.frombytes(pillow_mode, (width, height), data, "raw", order)
    return upright_to_rgb(image)
