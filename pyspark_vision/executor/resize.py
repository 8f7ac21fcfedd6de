"""Antialiased resizing: Pillow's own, or the same filters computed with SIMD instructions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from PIL import Image

Box = tuple[float, float, float, float]

# (picture, (width, height), left-top-right-bottom of the part to take or None) -> picture
Resize = Callable[[Image.Image, tuple[int, int], Box | None], Image.Image]

# Filters without negative weights: of the others, Pillow cuts off what leaves 0..255 between its
# two passes and cykooz-resizer does not, which is up to 35 levels on noise.
_SIMD_FILTERS = ("bilinear", "box")


def has_simd(filter_name: str) -> bool:
    """Whether the extra ``simd`` is installed, and resizes with this filter."""
    return filter_name in _SIMD_FILTERS and importlib.util.find_spec("cykooz_resizer") is not None


def resizer(filter_name: str, *, simd: bool) -> Resize:
    """A function that resizes RGB pictures with one of Pillow's filters.

    With ``simd`` the extra of that name resizes with ``bilinear`` and ``box`` where it is
    installed: a third of the time, and at most one of 255 levels away from Pillow, which rounds
    between its two passes in another way.
    """
    if simd and filter_name in _SIMD_FILTERS:
        try:
            return _simd_resizer(filter_name)
        except ImportError:
            pass
    resampling = Image.Resampling[filter_name.upper()]

    def resize(image: Image.Image, size_wh: tuple[int, int], box: Box | None) -> Image.Image:
        return image.resize(size_wh, resampling, box=box)

    return resize


def _simd_resizer(filter_name: str) -> Resize:
    import cykooz_resizer as simd

    engine: Any = simd.Resizer()
    convolution = simd.ResizeAlg.convolution(simd.FilterType[filter_name])
    whole = simd.ResizeOptions(resize_alg=convolution)

    def resize(image: Image.Image, size_wh: tuple[int, int], box: Box | None) -> Image.Image:
        options = whole
        if box is not None:
            left, top, right, bottom = box
            crop = simd.CropBox(left, top, right - left, bottom - top)
            options = simd.ResizeOptions(resize_alg=convolution, crop_box=crop)
        resized = Image.new("RGB", size_wh)
        engine.resize_pil(image, resized, options)
        return resized

    return resize
