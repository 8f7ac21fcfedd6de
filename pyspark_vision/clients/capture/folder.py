"""The pictures of a folder, in the order of their names."""

from __future__ import annotations

import functools
import itertools
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pyspark_vision.clients.capture.encoding import AS_IT_IS, Encoding, jpeg_of
from pyspark_vision.clients.capture.source import BadPictureError, CaptureError, Shot
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.row_errors import RowError

# Of the formats that the jobs read by default.
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
DEFAULT_RATE = 5.0

_JPEG = b"\xff\xd8\xff"
_WHOLE_SCALE = DecodeOptions(exact=True)


@dataclass(frozen=True)
class PictureFolder:
    """The files of a folder that have a picture's suffix; ``loop``: again from the first one, with
    what has come since."""

    path: Path
    encoding: Encoding = AS_IT_IS
    rate: float = DEFAULT_RATE  # pictures a second
    loop: bool = False
    is_tried_again: ClassVar[bool] = False

    def shots(self) -> Iterator[Shot]:
        """A JPEG is sent as it lies there, unless a size or quality is wanted."""
        numbers = itertools.count()
        while True:
            for file in pictures_of(self.path):
                yield Shot(next(numbers) / self.rate, functools.partial(self._jpeg, file))
            if not self.loop:
                return

    def _jpeg(self, file: Path) -> bytes:
        try:
            if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
                raise BadPictureError("unreadable", f"{file}: it is no file")
            data = file.read_bytes()
        except OSError as error:
            raise BadPictureError("unreadable", f"{file}: {error.strerror}") from None
        if data.startswith(_JPEG) and self.encoding.keeps_files:
            return data
        try:
            image, _ = decode(data, _WHOLE_SCALE)
        except RowError as error:
            raise BadPictureError(error.code.value, f"{file}: {error}") from None
        return jpeg_of(image, self.encoding)


def pictures_of(folder: Path) -> list[Path]:
    """Its pictures, ``2.jpg`` before ``10.jpg``; :class:`CaptureError` if there is none."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise CaptureError(f"{folder} cannot be read: {error.strerror}") from None
    if not files:
        raise CaptureError(f"{folder} has no picture: no file ends in {', '.join(SUFFIXES)}")
    return sorted(files, key=lambda file: _natural(file.name))


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name
