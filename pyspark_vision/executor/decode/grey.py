"""Greys of more than 8 bits -> 8-bit grey: which of their values is black, and which white.

Pillow's own conversion cuts them off at 255. Cameras of 12 bits and thermal ones of 14 or 16 use a
part of what their files can hold, so a caller may choose the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

FULL, MINMAX, PERCENTILES = "full", "minmax", "percentiles"
# Of "percentiles" without numbers: what contrast stretching usually leaves out on either side.
DEFAULT_PERCENTILES = (1.0, 99.0)

# As a caller chooses it, a value that can be compared and pickled: ("full",), ("minmax",),
# ("percentiles", low, high) or ("values", low, high).
GreyRange = tuple[Any, ...]
FULL_RANGE: GreyRange = (FULL,)

# Copies on the way are several times the picture: it is looked at in strips of this many pixels.
STRIP_PIXELS = 1_000_000

# TIFF tags: what a sample is. Pillow reads them, and leaves to us what they say of the values.
_BITS_PER_SAMPLE_TAG, _PHOTOMETRIC_TAG, _SAMPLE_FORMAT_TAG = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2


@dataclass(frozen=True)
class Levels:
    """Which samples become black and white, and their type where Pillow's array has another."""

    black: float
    white: float
    dtype: np.dtype[Any] | None = None


def levels_of(image: Image.Image, grey_range: GreyRange) -> Levels | None:
    """For modes that Pillow's own conversion to RGB would clip; ``None`` for the others.

    Of the file, not of what was turned or cropped: those have no tags any more.
    """
    bits, signed, white_is_zero = _tiff_samples(image)
    dtype: np.dtype[Any] | None = None
    usual: float | None
    if image.mode.startswith("I;16"):
        usual = None
        full = 0.0, float(2 ** (bits or 16) - 1)  # 12 bits come as 0..4095
    elif image.mode == "I":
        if bits == 32 and not signed:
            dtype = np.dtype(np.uint32)
        usual = 32767.0 if bits == 16 else 65535.0
    elif image.mode == "F":
        usual = 1.0
    elif image.mode == "L" and signed:
        dtype = np.dtype(np.int8)
        usual = 127.0
    else:
        return None
    kind, *numbers = grey_range
    if kind == "values":
        low, high = numbers
    elif kind == PERCENTILES:
        low, high = _percentiles(image, dtype, numbers)
    elif kind == MINMAX:
        low, high = _own_range(image, dtype) or (0.0, 0.0)
    elif usual is None:
        low, high = full
    else:
        low, high = _usual_or_own_range(image, dtype, usual)
    return Levels(high, low, dtype) if white_is_zero else Levels(low, high, dtype)


def to_8_bit(image: Image.Image, levels: Levels) -> Image.Image:
    """Mode ``L``: black and white as ``levels`` says, in between in proportion, beyond cut off.

    Samples that the file calls transparent are white, as alpha is flattened over it.
    """
    values = _samples(image, levels.dtype)
    span = levels.white - levels.black
    if abs(span) < 1e-12:
        span = math.copysign(1e-12, span)
    # float64: the differences of float32 values can overflow float32.
    scaled = (values.astype(np.float64) - levels.black) * (255.0 / span)
    scaled = np.nan_to_num(scaled + 0.5).clip(0, 255)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled[values == transparent] = 255
    return Image.fromarray(scaled.astype(np.uint8))


def strips(image: Image.Image, strip_pixels: int) -> Iterator[tuple[int, Image.Image]]:
    """``(top, strip)`` of whole rows, of about so many pixels each."""
    width, height = image.size
    rows = max(1, strip_pixels // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


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
    own = _own_range(image, dtype)
    if own is None or (own[0] >= 0 and own[1] <= usual):
        return 0.0, usual
    return own


def _own_range(image: Image.Image, dtype: np.dtype[Any] | None) -> tuple[float, float] | None:
    """The least and the largest value; ``None`` where there is none."""
    low, high = math.inf, -math.inf
    for values in _valid_values(image, dtype):
        widest = values.astype(np.float64)  # integers know no infinity
        low = min(low, float(widest.min(initial=math.inf)))
        high = max(high, float(widest.max(initial=-math.inf)))
    return None if low > high else (low, high)


def _percentiles(
    image: Image.Image, dtype: np.dtype[Any] | None, shares: list[float]
) -> tuple[float, float]:
    values = np.concatenate(list(_valid_values(image, dtype)))
    if not values.size:
        return 0.0, 0.0
    # In place: the whole picture is one copy, and not two. Not of float32 in float32: ranges of
    # huge values would overflow between two of them.
    low, high = np.percentile(values, shares, overwrite_input=True, method="nearest")
    return float(low), float(high)


def _valid_values(image: Image.Image, dtype: np.dtype[Any] | None) -> Iterator[Array]:
    """The values, strip by strip, without those that are not finite or that are transparent."""
    transparent = image.info.get("transparency")
    for _, strip in strips(image, STRIP_PIXELS):
        values = _samples(strip, dtype)
        is_valid = np.isfinite(values)
        if isinstance(transparent, int):
            is_valid &= values != transparent
        yield values[is_valid]


def _samples(image: Image.Image, dtype: np.dtype[Any] | None) -> Array:
    values = np.asarray(image)
    return values if dtype is None else values.view(dtype)
