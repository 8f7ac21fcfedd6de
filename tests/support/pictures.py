"""Small encoded pictures for tests, made here so that their pixels are known."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from pyspark_vision.clients import scenes
from pyspark_vision.executor.decode.formats import plug_in

# A stored picture of EXIF orientation n turns upright by this; the inverse makes the stored one.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image: Image.Image, kind: str, **save: Any) -> bytes:
    """The picture as a file of this format; ``save`` goes to Pillow."""
    plug_in([kind])
    file = io.BytesIO()
    image.save(file, kind, **save)
    return file.getvalue()


def plain_png(colour: str, size_wh: tuple[int, int] = (4, 4)) -> bytes:
    """A PNG of one colour."""
    return encoded(Image.new("RGB", size_wh, colour), "PNG")


@functools.cache
def scene_jpeg(seed: int, width: int = 320, height: int = 240) -> bytes:
    """A drawn scene as JPEG."""
    return encoded(scenes.draw_scene(seed, (width, height))[0], "JPEG")


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    """``(height, width, channels)`` as int, so that differences do not wrap."""
    return np.asarray(image).astype(int)


def asymmetric(width: int = 48, height: int = 32) -> Image.Image:
    """Smooth RGB that no flip and no rotation leaves as it is: red grows right, green down."""
    red = np.linspace(0, 255, width)[np.newaxis, :].repeat(height, 0)
    green = np.linspace(0, 200, height)[:, np.newaxis].repeat(width, 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], 2).astype(np.uint8))


def tagged(upright: Image.Image, orientation: int, kind: str, **save: Any) -> bytes:
    """A file whose EXIF orientation turns the stored picture into ``upright``."""
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    return encoded(stored, kind, exif=exif, **save)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares this size and holds (almost) no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
