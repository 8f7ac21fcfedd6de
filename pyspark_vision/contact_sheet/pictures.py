"""Pictures for a contact sheet: found, opened with care, and made small. Never raises for data."""

from __future__ import annotations

import base64
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
MAX_PIXELS = 64_000_000  # 192 MB of RGB; the largest phone photographs have 200 million
MAX_BYTES = 100_000_000
THUMBNAIL_PX = 480  # cards are 300 to 400 px wide
THUMBNAIL_QUALITY = 80

FINGERPRINT_COLUMNS = 64
FINGERPRINT_CELLS = 4096  # more values than this are averaged into so many
POSITIVE_RGB = (232, 89, 12)
NEGATIVE_RGB = (59, 110, 235)


@dataclass(frozen=True)
class Thumbnail:
    """A small upright picture as a data: URI."""

    data_uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Unavailable:
    """Why there is no picture, in words for the card."""

    reason: str


def thumbnail(
    encoded: bytes,
    side_px: int = THUMBNAIL_PX,
    paint: Callable[[Image.Image], Image.Image] | None = None,
) -> Thumbnail | Unavailable:
    """Make a thumbnail of an encoded picture: upright, each side at most `side_px`, JPEG.

    `paint` draws on it before it is encoded.
    """
    if len(encoded) > MAX_BYTES:
        return Unavailable(f"{len(encoded):,} bytes, more than {MAX_BYTES:,}")
    try:
        with warnings.catch_warnings():
            # our own limit follows; Pillow's warning would only add noise to the terminal
            warnings.simplefilter("ignore")
            image = Image.open(BytesIO(encoded), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                return Unavailable(f"{image.width:,} × {image.height:,} pixels are too many")
            image.draft("RGB", (side_px, side_px))  # JPEG: decode at reduced scale
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
            flat = _on_white(upright)
            flat = paint(flat) if paint else flat
            buffer = BytesIO()
            flat.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    except Image.DecompressionBombError:
        return Unavailable("too many pixels")
    # Decoders raise anything for damaged pictures; a card must still come out.
    except Exception:
        return Unavailable(f"not a readable picture ({', '.join(FORMATS)})")
    return Thumbnail(_data_uri("image/jpeg", buffer.getvalue()), flat.width, flat.height)


def picture_from_origin(origin: str | None) -> bytes | Unavailable:
    """Read the source picture where its origin is a local path or a `file:` URI.

    Only regular files are opened: an origin is data, and may name a device or a pipe.
    """
    if not origin:
        return Unavailable("the row names no origin")
    try:
        parts = urlsplit(origin)
        if parts.scheme and parts.scheme != "file":
            return Unavailable(f"{parts.scheme}: is not a local file")
        if parts.netloc not in ("", "localhost"):
            return Unavailable("on another host")
        # Spark's binaryFile gives paths as they are, input_file_name() gives them %-encoded.
        plain = origin.removeprefix("file:") if parts.scheme else origin
        plain = plain.removeprefix("//localhost").removeprefix("//") if parts.scheme else plain
        return _read_regular(plain if os.path.exists(plain) else unquote(parts.path))
    except FileNotFoundError:
        return Unavailable("no such local file")
    except IsADirectoryError:
        return Unavailable("not a regular file")
    except PermissionError:
        return Unavailable("permission denied")
    except (OSError, ValueError):
        return Unavailable("not a readable local file")


def fingerprint(vector: npt.NDArray[np.float32]) -> Thumbnail | None:
    """Draw a vector as a strip of cells, row by row: the stronger the value, the denser the colour.

    Positive values are orange and negative ones blue, on a clear ground, so that it reads on light
    and dark pages. Values that are not finite stay clear. None for an empty vector.
    """
    if not vector.size:
        return None
    values = np.nan_to_num(vector.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if values.size > FINGERPRINT_CELLS:
        edges = np.linspace(0, values.size, FINGERPRINT_CELLS, endpoint=False).astype(np.int64)
        values = np.add.reduceat(values, edges) / np.diff(np.append(edges, values.size))
    # The strongest 2% may saturate: one large value must not wash out the rest.
    strong = float(np.percentile(np.abs(values), 98)) or float(np.abs(values).max()) or 1.0
    columns = min(FINGERPRINT_COLUMNS, values.size)
    rows = -(-values.size // columns)
    cells = np.zeros((rows * columns, 4), np.uint8)
    cells[: values.size, :3] = np.where(values[:, None] >= 0, POSITIVE_RGB, NEGATIVE_RGB)
    cells[: values.size, 3] = np.clip(np.abs(values) / strong * 255.0, 0.0, 255.0)
    buffer = BytesIO()
    Image.fromarray(cells.reshape(rows, columns, 4)).save(buffer, "PNG", optimize=True)
    return Thumbnail(_data_uri("image/png", buffer.getvalue()), columns, rows)


def _read_regular(path: str) -> bytes | Unavailable:
    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a named pipe would wait for its writer

    with open(path, "rb", opener=without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return Unavailable("not a regular file")
        if status.st_size > MAX_BYTES:
            return Unavailable(f"{status.st_size:,} bytes, more than {MAX_BYTES:,}")
        return file.read(MAX_BYTES)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, layer).convert("RGB")


def _data_uri(media_type: str, encoded: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(encoded).decode('ascii')}"
