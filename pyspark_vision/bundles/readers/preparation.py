"""Mean, deviation and scale of pixels as files beside a model say them -> fields of a spec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

# ``(scale, mean, deviation)`` of the families that a spec has names for.
_NAMED = {
    "none": (1.0, (0.0,), (1.0,)),
    "unit": (1 / 255, (0.0,), (1.0,)),
    "tf": (1 / 255, (0.5,), (0.5,)),
    "torch": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def values(pixel_scale: float, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """``(x * pixel_scale - mean) / std`` by its family's name, or as ``values``.

    >>> values(1 / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    {'normalization': 'torch'}
    >>> values(1 / 255, [0.5, 0.5, 0.5], [0.25, 0.25, 0.25])["std"]
    (0.25, 0.25, 0.25)
    """
    for name, (scale, mean_of, std_of) in _NAMED.items():
        pairs = [(pixel_scale, scale), *_pairs(mean, mean_of), *_pairs(std, std_of)]
        if all(math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) for one, other in pairs):
            return {"normalization": name}
    return {
        "normalization": "values",
        "pixel_scale": float(pixel_scale),
        "mean": tuple(map(float, mean)),
        "std": tuple(map(float, std)),
    }


def _pairs(numbers: Sequence[float], known: Sequence[float]) -> list[tuple[float, float]]:
    count = max(len(numbers), len(known))
    return list(zip(_spread(numbers, count), _spread(known, count), strict=True))


def _spread(numbers: Sequence[float], count: int) -> list[float]:
    return list(numbers) * count if len(numbers) == 1 else list(numbers)
