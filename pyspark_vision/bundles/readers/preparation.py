"""Mean, deviation and scale of pixels as files beside a model say them -> fields of a spec."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# ``(mean, deviation)`` of 0..255 pixels, of the families that a spec has names for.
_NAMED: dict[str, tuple[list[float], list[float]]] = {
    "none": ([0.0], [1.0]),
    "unit": ([0.0], [255.0]),
    "tf": ([127.5], [127.5]),
    "torch": (
        [255 * mean for mean in (0.485, 0.456, 0.406)],
        [255 * std for std in (0.229, 0.224, 0.225)],
    ),
}


def values(pixel_scale: float, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """``(x * pixel_scale - mean) / std`` by its family's name, or as ``values``.

    >>> values(1 / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    {'normalization': 'torch'}
    >>> values(1 / 255, [0.5, 0.5, 0.5], [0.25, 0.25, 0.25])["std"]
    (0.25, 0.25, 0.25)
    """
    of_pixels = [[number / pixel_scale for number in numbers] for numbers in (mean, std)]
    for name, known in _NAMED.items():
        pairs = [
            pair
            for numbers, other in zip(of_pixels, known, strict=True)
            for pair in _pairs(numbers, other)
        ]
        if all(math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-9) for value, other in pairs):
            return {"normalization": name}
    return {
        "normalization": "values",
        "pixel_scale": float(pixel_scale),
        "mean": tuple(map(float, mean)),
        "std": tuple(map(float, std)),
    }


def of_pixels(fields: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and deviation of 0..255 pixels, as many as there are: the way back of :func:`values`."""
    if fields["normalization"] in _NAMED:
        return _NAMED[fields["normalization"]]
    scale = fields["pixel_scale"]
    return [number / scale for number in fields["mean"]], [
        number / scale for number in fields["std"]
    ]


def _pairs(numbers: Sequence[float], known: Sequence[float]) -> list[tuple[float, float]]:
    count = max(len(numbers), len(known))
    return list(zip(_spread(numbers, count), _spread(known, count), strict=True))


def _spread(numbers: Sequence[float], count: int) -> list[float]:
    return list(numbers) * count if len(numbers) == 1 else list(numbers)
