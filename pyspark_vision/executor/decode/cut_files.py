"""Files that are cut short: a whole file of what is there, and how many rows that is.

Pillow has a switch for such files (``LOAD_TRUNCATED_IMAGES``), which is the whole process's and
does not say what is missing. So the file is given an end, and what the decoder fills in is counted.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pyspark_vision.executor.decode.formats import kind_of

# Of the rows, so many must be there: below, the answer would be more of what is filled in than of
# the picture.
MIN_SHARE = 0.5

_END_OF_IMAGE = b"\xff\xd9"
# libjpeg's coefficients of what is missing are 0, which is the middle of 0..255 in each component.
_JPEG_FILL = 128
_JPEG_BLOCK_PX = 8

_PNG_HEAD = struct.Struct(">I4s")
_PNG_HEADER = struct.Struct(">IIBBBBB")
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of an animation only the first picture is made whole.
_PNG_ANIMATION = (b"acTL", b"fcTL", b"fdAT")


@dataclass(frozen=True)
class Completed:
    """A file that has an end. ``rows``: so many are the picture's own; ``None``: see its pixels."""

    data: bytes
    rows: int | None = None


def completed(data: bytes) -> Completed | None:
    """A cut JPEG or PNG with an end; ``None`` where there is no way to one.

    Missing rows are grey in a JPEG; black, transparent or of the palette's first colour in a PNG.
    Interlaced PNGs are left alone: what they lack is not rows.
    """
    kind = kind_of(data)
    if kind == "JPEG":
        return Completed(data + _END_OF_IMAGE)
    return _completed_png(data) if kind == "PNG" else None


def own_rows(image: Image.Image, full_width: int) -> int:
    """How many rows of a completed JPEG, loaded and not yet turned, are its own to the last pixel.

    Those below end in blocks that libjpeg has filled. (A picture that ends in this very grey has
    more than are counted.) ``full_width``: in pixels, before the scale of the decode.
    """
    width, height = image.size
    block = max(1, _JPEG_BLOCK_PX * width // full_width)
    edge = np.asarray(image.crop((max(0, width - block), 0, width, height)), np.int16)
    # Pillow turns Adobe's inverted CMYK around: 255 - 128.
    fills = (_JPEG_FILL, 255 - _JPEG_FILL) if image.mode == "CMYK" else (_JPEG_FILL,)
    own = np.flatnonzero((~np.isin(edge.reshape(height, -1), fills)).any(axis=1))
    return int(own[-1]) + 1 if own.size else 0


def _completed_png(data: bytes) -> Completed | None:
    """The same head, and the pixels that can be inflated, stored without compression."""
    head: list[bytes] = []
    compressed: list[bytes] = []
    position = 8
    while position + _PNG_HEAD.size <= len(data):
        length, kind = _PNG_HEAD.unpack_from(data, position)
        body = data[position + 8 : position + 8 + length]
        if kind == b"IDAT":
            compressed.append(body)
        elif compressed:
            break
        elif kind not in _PNG_ANIMATION:
            head.append(data[position : position + 12 + length])
        position += 12 + length
    if not compressed or len(head[0]) != 12 + _PNG_HEADER.size:
        return None
    width, height, bits, colour, _, _, interlaced = _PNG_HEADER.unpack_from(head[0], 8)
    if interlaced or colour not in _PNG_CHANNELS:
        return None
    row_bytes = 1 + (width * bits * _PNG_CHANNELS[colour] + 7) // 8  # the row's filter is the first
    try:
        inflated = zlib.decompressobj().decompress(b"".join(compressed), row_bytes * height)
    except zlib.error:
        return None
    rows = len(inflated) // row_bytes
    stored = zlib.compressobj(0)
    pixels = stored.compress(memoryview(inflated)[: rows * row_bytes])
    pixels += stored.compress(bytes((height - rows) * row_bytes)) + stored.flush()
    end = [_png_chunk(b"IDAT", pixels), _png_chunk(b"IEND", b"")]
    return Completed(b"".join([data[:8], *head, *end]), rows)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return _PNG_HEAD.pack(len(body), kind) + body + check
