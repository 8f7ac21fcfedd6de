"""Bilinear enlargement of a map, as a plain formula: what resized masks are held against."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def resized(values: Array, hw: tuple[int, int]) -> Array:
    """``(h, w)`` -> ``hw``, as PyTorch's ``interpolate(mode="bilinear", align_corners=False)``.

    ATen, ``UpSample.h``, ``area_pixel_compute_source_index``: ``max(0, scale * (i + 0.5) - 0.5)``,
    then the neighbour, or the last one.
    """
    for axis, pixels in enumerate(hw):
        cells = values.shape[axis]
        out = []
        for pixel in range(pixels):
            place = max(0.0, cells / pixels * (pixel + 0.5) - 0.5)
            low = min(int(place), cells - 1)
            part = np.float32(place - low)
            high = min(low + 1, cells - 1)
            lower, upper = np.take(values, low, axis), np.take(values, high, axis)
            out.append(lower * (1 - part) + upper * part)
        values = np.stack(out, axis)
    return values
