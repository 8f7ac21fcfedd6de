"""Encoded bytes -> upright RGB pixels, or a :class:`RowError`; nothing else is raised.

The order is fixed by what was seen to go wrong: limits before decoding, ``load()`` once and first
on a fresh object (a second ``load()`` on a damaged PNG "succeeds"), EXIF before flattening alpha,
alpha before colours.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageCms, UnidentifiedImageError

from pyspark_vision.executor.decode import cut_files, jxl
from pyspark_vision.executor.decode.formats import (
    ALLOWED_FORMATS,
    DEFAULT_FORMATS,
    PLUGINS,
    kind_of,
    plug_in,
)
from pyspark_vision.executor.decode.grey import (
    FULL_RANGE,
    GreyRange,
    Levels,
    levels_of,
    strips,
    to_8_bit,
)
from pyspark_vision.executor.decode.icc import Profile, profile_of
from pyspark_vision.executor.row_errors import ErrorCode, RowError, RowWarning, WarningCode

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

# EXIF tag 0x0112 (Orientation), values 2..8: what turns the stored picture upright.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


STRICT, LENIENT = "strict", "lenient"
FIRST, ALL = "first", "all"
IGNORE, SRGB = "ignore", "srgb"

# A minute of video as GIF, or a scanned book: seconds of a core at a few megapixels each.
DEFAULT_MAX_FRAMES = 1000


@dataclass(frozen=True)
class DecodeOptions:
    """How encoded images are read.

    - ``exact``: decode JPEG at full scale. The default decodes at 1/2, 1/4 or 1/8 where that is
      still twice the model's input: much faster for large photos, not pixel-identical. It also
      resizes with the ``simd`` extra where that is installed, next to the same as Pillow.
    - ``max_bytes``, ``max_pixels`` (width x height of the stored picture): larger ones become
      ``too_many_bytes`` / ``too_many_pixels`` before anything is decoded.
    - ``formats``: of ``JPEG, PNG, GIF, WEBP, BMP`` (default) plus ``TIFF, AVIF, JPEG2000``,
      ``HEIF`` (or ``HEIC``; extra ``heif``) and ``JXL`` (JPEG XL; extra ``jxl``).
    - ``decode``: ``strict`` (default), or ``lenient``: a JPEG or PNG that is cut short, with half
      of its rows or more, is its picture, and the row has the warning ``picture_incomplete``.
    - ``grey_range``: which values of greys of more than 8 bits are black and white: ``full``
      (default: what the file's bits hold), ``minmax`` (the picture's own), ``percentiles`` (1 and
      99, or ``("percentiles", low, high)``), or ``(low, high)`` in the file's numbers.
    - ``icc``: ``ignore`` (default), or ``srgb``: colours go by the picture's profile to sRGB; one
      that cannot be used is the warning ``profile_ignored``.
    - ``frames`` of animations and TIFF: ``first`` (default), ``all``, or n for every nth. Other
      than ``first`` the result is an array; ``max_frames``: of one file, with the warning
      ``frames_capped`` where there are more.
    """

    exact: bool = False
    max_bytes: int = DEFAULT_MAX_BYTES
    max_pixels: int = DEFAULT_MAX_PIXELS
    formats: tuple[str, ...] = DEFAULT_FORMATS
    decode: str = STRICT
    grey_range: GreyRange = FULL_RANGE
    icc: str = IGNORE
    frames: str | int = FIRST
    max_frames: int = DEFAULT_MAX_FRAMES


@dataclass(frozen=True)
class Picture:
    """An upright RGB image, (width, height) of its upright source, and what it lacks."""

    image: Image.Image
    size_wh: tuple[int, int]
    warnings: tuple[RowWarning, ...] = ()


def decode(
    data: bytes | None, options: DecodeOptions, target_hw: tuple[int, int] | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """:func:`read_picture` without its warnings."""
    picture = read_picture(data, options, target_hw)
    return picture.image, picture.size_wh


def read_picture(
    data: bytes | None, options: DecodeOptions, target_hw: tuple[int, int] | None = None
) -> Picture:
    """Bytes of a picture -> the picture.

    With ``target_hw`` and without ``options.exact`` a JPEG may come back at a reduced scale, never
    smaller than twice ``target_hw``; the returned size is the source's all the same. First frame
    only of animations. Raises :class:`RowError` and nothing else.
    """
    data = within_limits(data, options)
    try:
        return loaded(open_image(data, options), options, target_hw)
    except RowError as error:
        if options.decode == LENIENT and error.code == ErrorCode.TRUNCATED:
            return _incomplete(data, options, target_hw, error)
        raise


def within_limits(data: bytes | None, options: DecodeOptions) -> bytes:
    """The bytes, if there are some and not too many."""
    if data is None:
        raise RowError(ErrorCode.NULL_INPUT, "the image is null")
    if len(data) == 0:
        raise RowError(ErrorCode.EMPTY_INPUT, "the image has no bytes")
    if len(data) > options.max_bytes:
        raise RowError(
            ErrorCode.TOO_MANY_BYTES,
            f"{len(data)} bytes; the limit is max_bytes={options.max_bytes}",
        )
    return data


def open_image(data: bytes, options: DecodeOptions) -> Image.Image:
    """The picture's header, read by one of ``options.formats``.

    ``ImportError`` where a format's package is missing: that is not the row's fault.
    """
    try:
        plug_in(options.formats)
    except ImportError as error:
        needy = [
            f"{name} (extra {PLUGINS[name][1]})" for name in options.formats if name in PLUGINS
        ]
        raise ImportError(f"{error}: formats has {', '.join(needy)}: executors need it") from None
    kind = kind_of(data) if "JXL" in options.formats else None
    if kind == "JXL":  # its plugin decodes here
        _check_pixels(jxl.size_wh(data) or (0, 0), options)
    try:
        return Image.open(io.BytesIO(data), formats=options.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RowError(ErrorCode.TOO_MANY_PIXELS, str(error)) from None
    except Exception as error:  # as in loaded: anything may come out of a hostile header
        kind = kind_of(data)
        if kind in options.formats:
            raise _undecodable(kind, error) from None
        description = f"format {kind}" if kind else "no known image format"
        how = f"; formats=[…, {kind!r}] reads it" if kind in ALLOWED_FORMATS else ""
        raise RowError(
            ErrorCode.UNSUPPORTED_FORMAT,
            f"{description}; accepted are {', '.join(options.formats)}{how}",
        ) from None


def loaded(
    image: Image.Image, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> Picture:
    """The pixels of a header: the first picture's, or those of the frame that was sought."""
    with _row_errors(image):
        orientation, size_wh = _load(image, options, target_hw)
        return _upright(image, orientation, size_wh, options)


def upright_to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB: alpha over white, 16-bit and float rescaled (not clipped)."""
    return _to_rgb(image, levels_of(image, FULL_RANGE), None)


def _incomplete(
    data: bytes, options: DecodeOptions, target_hw: tuple[int, int] | None, error: RowError
) -> Picture:
    """The picture of a file that is cut short; ``error`` where it lacks too many rows."""
    whole = cut_files.completed(data)
    if whole is None:
        raise error
    image = open_image(whole.data, options)
    width, height = image.size
    with _row_errors(image):
        orientation, size_wh = _load(image, options, target_hw)
        rows = whole.rows
        if rows is None:
            rows = cut_files.own_rows(image, width) * height // image.height
        there = f"the file is cut short: {rows} of {height} rows are there"
        if rows < cut_files.MIN_SHARE * height:
            raise RowError(error.code, f"{error.message} ({there})")
        if "progressive" in image.info:
            there += ", without the detail that its last scans would bring"
        picture = _upright(image, orientation, size_wh, options)
    warning = RowWarning(WarningCode.PICTURE_INCOMPLETE, there)
    return dataclasses.replace(picture, warnings=(warning, *picture.warnings))


@contextmanager
def _row_errors(image: Image.Image) -> Iterator[None]:
    """Whatever a decoder raises, as the row's error."""
    try:
        yield
    except RowError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RowError(ErrorCode.TOO_MANY_PIXELS, str(error)) from None
    # Decoders raise nearly anything for hostile input (OSError, ValueError, TypeError,
    # struct.error, SyntaxError, IndexError, MemoryError were seen); a row must not end the worker.
    except Exception as error:
        raise _undecodable(image.format or "image", error) from None


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


def _load(
    image: Image.Image, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> tuple[int, tuple[int, int]]:
    """Decode, at a reduced scale where that is allowed -> orientation, full size as stored."""
    _check_pixels(image.size, options)
    size_wh = image.size
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
        size_wh = image.size
    return orientation, size_wh


def _upright(
    image: Image.Image, orientation: int, size_wh: tuple[int, int], options: DecodeOptions
) -> Picture:
    # Before it is turned: a picture that was has no tags any more.
    levels = levels_of(image, options.grey_range)
    profile, warning = profile_of(image) if options.icc == SRGB else (None, None)
    if orientation in _UPRIGHT:
        info: dict[Any, Any] = image.info
        image = image.transpose(_UPRIGHT[orientation])
        image.info = info
        if orientation >= 5:
            size_wh = size_wh[::-1]
    return Picture(_to_rgb(image, levels, profile), size_wh, () if warning is None else (warning,))


def _orientation(image: Image.Image) -> int:
    # Its decoder has turned it already, but where it is a JPEG in another coat.
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
        return value if value in _UPRIGHT else 1
    # Damaged EXIF around good pixels is common; such a picture counts as upright.
    except Exception:
        return 1


def _to_rgb(image: Image.Image, levels: Levels | None, profile: Profile | None) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info and profile is None:
        return image
    if image.width * image.height <= _STRIP_PIXELS:
        return _strip_to_rgb(image, levels, profile)
    rgb = Image.new("RGB", image.size)
    for top, strip in strips(image, _STRIP_PIXELS):
        rgb.paste(_strip_to_rgb(strip, levels, profile), (0, top))
    return rgb


def _strip_to_rgb(
    image: Image.Image, levels: Levels | None, profile: Profile | None
) -> Image.Image:
    if levels is not None:
        return _coloured(to_8_bit(image, levels), profile)
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
        flat.paste(_coloured(rgba, profile), mask=rgba.getchannel("A"))
        return flat
    return _coloured(image, profile)


def _coloured(image: Image.Image, profile: Profile | None) -> Image.Image:
    """RGB without a look at alpha, of sRGB where there is a profile."""
    if profile is None:
        return image.convert("RGB")
    return profile.to_srgb(image.convert(profile.mode))
