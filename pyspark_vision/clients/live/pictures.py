"""Encoded pictures that a browser may be given: of a known format, and of a size it can hold."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field

from PIL import Image

# What browsers show, and what the jobs decode.
_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
# Decoded it takes four bytes a pixel of the browser's memory: 160 MB.
_MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class Picture:
    """``content``: encoded bytes as they came; ``size_wh``: as stored, before EXIF turns it."""

    content: bytes = field(repr=False)
    media_type: str
    size_wh: tuple[int, int]


def picture_of(content: bytes | None) -> Picture | None:
    """The picture, by its header alone; ``None`` for what a browser is not to be given.

    >>> picture_of(b"no picture") is None
    True
    """
    if not content:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large ones are refused below
            # It reads the header, no pixel.
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                size_wh, media_type = image.size, _TYPES[image.format or ""]
    except (OSError, ValueError, TypeError, SyntaxError, KeyError, Image.DecompressionBombError):
        return None
    width, height = size_wh
    if not 0 < width * height <= _MAX_PIXELS:
        return None
    return Picture(content, media_type, size_wh)


_FORMATS = tuple(name for name in _TYPES if name != "MPO")
