"""Encoded bytes -> upright RGB pixels, or a :class:`RowError`; nothing else is raised.

The order is fixed by what was seen to go wrong: limits before decoding, ``load()`` once and first
on a fresh object (a second ``load()`` on a damaged PNG "succeeds"), EXIF before flattening alpha,
alpha before colours.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from pyspark_vision.executor.row_errors import ErrorCode, RowError

DEFAULT_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
ALLOWED_FORMATS = (*DEFAULT_FORMATS, "TIFF", "AVIF")

# 50 Mpx covers phone cameras' native 48 Mpx. Measured on 49 Mpx of each kind, the decode peaks at
# 190 MB for JPEG, 390 MB for CMYK and alpha, 420 MB for floats, and 770 MB for WEBP, whose library
# holds two canvases (lower max_pixels where that is too much). 64 MiB is far above any such JPEG.
DEFAULT_MAX_PIXELS = 50_000_000
DEFAULT_MAX_BYTES = 64 * 1024 * 1024

# A reduced decode stays at least this much larger than the model's input on both sides. At 1 the
# decoder's own scaling replaces most of the antialiased resize, and one photo of twelve changed
# its top-1 class (tests/unit/test_real_models.py); at 2 none did.
REDUCED_DECODE_MARGIN = 2

# Alpha is flattened over white, as web pages and viewers show it.
ALPHA_BACKGROUND = (255, 255, 255)

# Our own limit is checked before decoding, and damaged metadata around good pixels is no news:
# Pillow would repeat both on the worker's stderr for each such row.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Other modes become RGB in strips of this many pixels: the copies on the way are several times the
# picture (1.2 GB for 49 Mpx of floats, converted whole).
_STRIP_PIXELS = 1_000_000

# First bytes of formats, to tell "damaged" from "another kind of file". Only what is certain.
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\xd0\xcf\x11\xe0", "OLE"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
)
_FTYP_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"mif1": "HEIF"}

# EXIF tag 0x0112 (Orientation), values 2..8: what turns the stored picture upright.
_ORIENTATION_TAG = 0x0112
# TIFF tags: what a sample is. Pillow reads them, and leaves to us what they say of the values.
_BITS_PER_SAMPLE_TAG, _PHOTOMETRIC_TAG, _SAMPLE_FORMAT_TAG = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodeOptions:
    """How encoded images are read.

    - ``exact``: decode JPEG at full scale. The default decodes at 1/2, 1/4 or 1/8 where that is
      still twice the model's input: much faster for large photos, not pixel-identical. With a
      model of lower precision it also resizes with the ``simd`` extra, within one level of 255.
    - ``max_bytes``, ``max_pixels`` (width x height of the stored picture): larger ones become
      ``too_many_bytes`` / ``too_many_pixels`` before anything is decoded.
    - ``formats``: of ``JPEG, PNG, GIF, WEBP, BMP`` (default) plus ``TIFF, AVIF``.
    """

    exact: bool = False
    max_bytes: int = DEFAULT_MAX_BYTES
    max_pixels: int = DEFAULT_MAX_PIXELS
    formats: tuple[str, ...] = DEFAULT_FORMATS


@dataclass(frozen=True)
class _Levels:
    """Which samples become black and white, and their type where Pillow's array has another."""

    black: float
    white: float
    dtype: np.dtype[Any] | None = None


def decode(
    data: bytes | None, options: DecodeOptions, target_hw: tuple[int, int] | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Bytes of a picture -> (upright RGB image, (width, height) of the upright source).

    With ``target_hw`` and without ``options.exact`` a JPEG may come back at a reduced scale, never
    smaller than twice ``target_hw``; the returned size is the source's all the same. First frame
    only of animations. Raises :class:`RowError` and nothing else.
    """
    if data is None:
        raise RowError(ErrorCode.NULL_INPUT, "the image is null")
    if len(data) == 0:
        raise RowError(ErrorCode.EMPTY_INPUT, "the image has no bytes")
    if len(data) > options.max_bytes:
        raise RowError(
            ErrorCode.TOO_MANY_BYTES,
            f"{len(data)} bytes; the limit is max_bytes={options.max_bytes}",
        )
    image = _open(data, options)
    try:
        _check_pixels(image.size, options)
        return _load_upright_rgb(image, options, target_hw)
    except RowError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RowError(ErrorCode.TOO_MANY_PIXELS, str(error)) from None
    # Decoders raise nearly anything for hostile input (OSError, ValueError, TypeError,
    # struct.error, SyntaxError, IndexError, MemoryError were seen); a row must not end the worker.
    except Exception as error:
        raise _undecodable(image.format or "image", error) from None


def upright_to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB: alpha over white, 16-bit and float rescaled (not clipped)."""
    return _to_rgb(image, _levels(image))


def _to_rgb(image: Image.Image, levels: _Levels | None) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.width * image.height <= _STRIP_PIXELS:
        return _strip_to_rgb(image, levels)
    rgb = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        rgb.paste(_strip_to_rgb(strip, levels), (0, top))
    return rgb


def _strip_to_rgb(image: Image.Image, levels: _Levels | None) -> Image.Image:
    if levels is not None:
        return _rescaled_to_8_bit(image, levels).convert("RGB")
    if image.mode == "LAB":
        # Pillow has no LAB -> RGB matrix of its own; LittleCMS ships inside its wheels.
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        if converted is None:
            raise ValueError("LAB picture could not be converted")
        return converted
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        flat = Image.new("RGB", rgba.size, ALPHA_BACKGROUND)
        flat.paste(rgba, mask=rgba.getchannel("A"))
        return flat
    return image.convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _open(data: bytes, options: DecodeOptions) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=options.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RowError(ErrorCode.TOO_MANY_PIXELS, str(error)) from None
    except Exception as error:  # as in decode: anything may come out of a hostile header
        kind = _kind_of(data)
        if kind in options.formats:
            raise _undecodable(kind, error) from None
        found = f"format {kind}" if kind else "no known image format"
        raise RowError(
            ErrorCode.UNSUPPORTED_FORMAT, f"{found}; accepted are {', '.join(options.formats)}"
        ) from None


def _kind_of(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _FTYP_BRANDS.get(data[8:12], "ISO media")
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def _undecodable(kind: str, error: Exception) -> RowError:
    if isinstance(error, UnidentifiedImageError):  # its text is the address of a BytesIO
        reason = "the header is damaged, or of a kind of samples that cannot be read"
    else:
        reason = str(error) or type(error).__name__
    cut = isinstance(error, EOFError) or "truncat" in reason.lower()
    code = ErrorCode.TRUNCATED if cut else ErrorCode.UNDECODABLE
    return RowError(code, f"{kind}: {reason}")


def _check_pixels(size: tuple[int, int], options: DecodeOptions) -> None:
    width, height = size
    if width * height > options.max_pixels:
        raise RowError(
            ErrorCode.TOO_MANY_PIXELS,
            f"{width}x{height} pixels; the limit is max_pixels={options.max_pixels}",
        )
    if width < 1 or height < 1:
        raise RowError(ErrorCode.UNDECODABLE, f"the picture is {width}x{height} pixels")


def _load_upright_rgb(
    image: Image.Image, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> tuple[Image.Image, tuple[int, int]]:
    width, height = image.size
    jpeg = image.format in ("JPEG", "MPO")
    # Only a JPEG's EXIF can be read before load(): for PNG, getexif() is itself a load().
    orientation = _orientation(image) if jpeg else 0
    if jpeg and target_hw is not None and not options.exact:
        target_height, target_width = target_hw
        if orientation >= 5:
            target_height, target_width = target_width, target_height
        margin = REDUCED_DECODE_MARGIN
        image.draft("RGB", (target_width * margin, target_height * margin))
    image.load()
    # An animation's first frame may be larger than its canvas said.
    _check_pixels(image.size, options)
    if not jpeg:
        orientation = _orientation(image)
        width, height = image.size
    # Before it is turned: a picture that was has no tags any more.
    levels = _levels(image)
    if orientation in _UPRIGHT:
        info: dict[Any, Any] = image.info
        image = image.transpose(_UPRIGHT[orientation])
        image.info = info
        if orientation >= 5:
            width, height = height, width
    return _to_rgb(image, levels), (width, height)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
        return value if value in _UPRIGHT else 1
    # Damaged EXIF around good pixels is common; such a picture counts as upright.
    except Exception:
        return 1


def _levels(image: Image.Image) -> _Levels | None:
    """For modes that Pillow's own conversion to RGB would clip; ``None`` for the others."""
    bits, signed, white_is_zero = _tiff_samples(image)
    dtype: np.dtype[Any] | None = None
    if image.mode.startswith("I;16"):
        black, white = 0.0, float(2 ** (bits or 16) - 1)  # 12 bits come as 0..4095
    elif image.mode == "I":
        if bits == 32 and not signed:
            dtype = np.dtype(np.uint32)
        black, white = _usual_or_own_range(image, dtype, 32767.0 if bits == 16 else 65535.0)
    elif image.mode == "F":
        black, white = _usual_or_own_range(image, dtype, 1.0)
    elif image.mode == "L" and signed:
        dtype = np.dtype(np.int8)
        black, white = _usual_or_own_range(image, dtype, 127.0)
    else:
        return None
    return _Levels(white, black, dtype) if white_is_zero else _Levels(black, white, dtype)


def _tiff_samples(image: Image.Image) -> tuple[int | None, bool, bool]:
    """(bits, signed, white is zero) as a TIFF's tags say; ``None, False, False`` of the rest.

    White is zero only where Pillow hands such samples over as they are: those above 8 bits.
    """
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return None, False, False
    bits = tags.get(_BITS_PER_SAMPLE_TAG, (1,))[0]
    signed = tags.get(_SAMPLE_FORMAT_TAG, (1,))[0] == _SIGNED
    return bits, signed, bits > 8 and tags.get(_PHOTOMETRIC_TAG, 0) == _WHITE_IS_ZERO


def _usual_or_own_range(
    image: Image.Image, dtype: np.dtype[Any] | None, usual: float
) -> tuple[float, float]:
    """0 to ``usual`` if it holds all values, else the picture's own range: none is declared."""
    low, high = math.inf, -math.inf
    for _, strip in _strips(image):
        values = _samples(strip, dtype)
        finite = values[np.isfinite(values)].astype(np.float64)  # integers know no infinity
        low = min(low, float(finite.min(initial=math.inf)))
        high = max(high, float(finite.max(initial=-math.inf)))
    if low > high or (low >= 0 and high <= usual):
        return 0.0, usual
    return low, high


def _samples(image: Image.Image, dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
    values = np.asarray(image)
    return values if dtype is None else values.view(dtype)


def _rescaled_to_8_bit(image: Image.Image, levels: _Levels) -> Image.Image:
    values = _samples(image, levels.dtype)
    span = levels.white - levels.black
    if abs(span) < 1e-12:
        span = math.copysign(1e-12, span)
    # float64: the differences of float32 values can overflow float32.
    scaled = (values.astype(np.float64) - levels.black) * (255.0 / span)
    scaled = np.nan_to_num(scaled + 0.5).clip(0, 255)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled[values == transparent] = 255  # white, as ALPHA_BACKGROUND
    return Image.fromarray(scaled.astype(np.uint8))
