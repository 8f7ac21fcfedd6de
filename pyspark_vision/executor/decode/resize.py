"""Antialiased resizing: Pillow's own, or the same filters computed with SIMD instructions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
Box = tuple[float, float, float, float]

# (picture, (width, height), left-top-right-bottom of the part to take or None) -> picture
Resize = Callable[[Image.Image, tuple[int, int], Box | None], Image.Image]

# Of the other filters cykooz-resizer's samples can be further from Pillow's: `box` takes other
# neighbours at some sizes (641 -> 224 pixels: 54 levels), bicubic and lanczos are 2 levels off in
# one of 100,000 samples of noise.
_SIMD_FILTERS = ("bilinear",)


def has_simd(filter_name: str) -> bool:
    """Whether the extra ``simd`` is installed, and resizes with this filter."""
    return filter_name in _SIMD_FILTERS and importlib.util.find_spec("cykooz_resizer") is not None


def resizer(filter_name: str, *, simd: bool) -> Resize:
    """A function that resizes RGB pictures with one of Pillow's filters, or as OpenCV does.

    With ``simd`` the extra of that name resizes with ``bilinear`` where it is installed: a fifth
    of the time, and half a percent of the samples are one of 255 levels away from Pillow's (of
    millions, one is two levels away).
    """
    if simd and filter_name in _SIMD_FILTERS:
        try:
            return _simd_resizer(filter_name)
        except ImportError:
            pass
    if filter_name == "opencv_bilinear":
        return _opencv_bilinear
    resampling = Image.Resampling[filter_name.upper()]

    def resize(image: Image.Image, size_wh: tuple[int, int], box: Box | None) -> Image.Image:
        return image.resize(size_wh, resampling, box=box)

    return resize


def _simd_resizer(filter_name: str) -> Resize:
    import cykooz_resizer as simd

    engine: Any = simd.Resizer()
    convolution = simd.ResizeAlg.convolution(simd.FilterType[filter_name])

    def one_pass(image: Image.Image, size_wh: tuple[int, int], box: Box) -> Image.Image:
        left, top, right, bottom = box
        crop = simd.CropBox(left, top, right - left, bottom - top)
        resized = Image.new("RGB", size_wh)
        options = simd.ResizeOptions(resize_alg=convolution, crop_box=crop)
        engine.resize_pil(image, resized, options)
        return resized

    # Pass by pass, in Pillow's order: both round to whole levels between the two, and in one call
    # cykooz-resizer begins with the other one. So 0.5% of the samples differ instead of 17%.
    def resize(image: Image.Image, size_wh: tuple[int, int], box: Box | None) -> Image.Image:
        left, top, right, bottom = box or (0.0, 0.0, float(image.width), float(image.height))
        width, height = size_wh
        if _begins_with_height(image.size, size_wh):
            lower = one_pass(image, (image.width, height), (0, top, image.width, bottom))
            return one_pass(lower, size_wh, (left, 0, right, height))
        narrower = one_pass(image, (width, image.height), (left, 0, right, image.height))
        return one_pass(narrower, size_wh, (0, top, width, bottom))

    return resize


def _begins_with_height(source_wh: tuple[int, int], target_wh: tuple[int, int]) -> bool:
    """Whether Pillow 13 takes the vertical pass first: as it was found on 400 pairs of sizes.

    ``source_wh``: of the whole picture, whatever part is taken. A wrong answer would cost samples
    that differ by one level, and no more.
    """
    lost_columns, lost_rows = (
        source - target for source, target in zip(source_wh, target_wh, strict=True)
    )
    return lost_rows > max(0, 2 * lost_columns)


# OpenCV computes INTER_LINEAR of 8-bit samples in whole numbers of this many steps
# (modules/imgproc/src/resize.cpp, INTER_RESIZE_COEF_BITS).
_OPENCV_STEPS = 2048


def _opencv_bilinear(image: Image.Image, size_wh: tuple[int, int], box: Box | None) -> Image.Image:
    """``cv2.resize(…, interpolation=cv2.INTER_LINEAR)``: two neighbours, no antialiasing."""
    pixels = np.asarray(image)
    left, top, right, bottom = box or (0.0, 0.0, float(image.width), float(image.height))
    x0, x1, x_weights = _opencv_neighbours(left, right, size_wh[0], image.width)
    y0, y1, y_weights = _opencv_neighbours(top, bottom, size_wh[1], image.height)
    rows = np.unique(np.concatenate([y0, y1]))
    wide = pixels[rows].astype(np.int32)
    wide = wide[:, x0] * x_weights[0][:, None] + wide[:, x1] * x_weights[1][:, None]
    above, below = wide[np.searchsorted(rows, y0)] >> 4, wide[np.searchsorted(rows, y1)] >> 4
    above = (above * y_weights[0][:, None, None]) >> 16
    below = (below * y_weights[1][:, None, None]) >> 16
    return Image.fromarray(((above + below + 2) >> 2).astype(np.uint8))


def _opencv_neighbours(
    start: float, end: float, targets: int, sources: int
) -> tuple[Array, Array, Array]:
    """Of each target pixel: its two source pixels, and their weights ``(2, targets)``."""
    scale = (end - start) / targets
    # OpenCV's places are float32.
    places = (start + (np.arange(targets) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = places - first.astype(np.float32)
    weights = np.rint(np.stack([1 - share, share]) * _OPENCV_STEPS).astype(np.int32)
    return first.clip(0, sources - 1), (first + 1).clip(0, sources - 1), weights
