"""What a caller says of a model, over what its files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What belongs to a field's value, and to no other value of it.
_BELONGING = {
    "normalization": ("pixel_scale", "mean", "std"),
    "resize": ("resize_edge", "crop_rounding"),
}


def overridden(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` with ``overrides`` over them, and without what belonged to a value that went.

    >>> overridden({"normalization": "values", "mean": (0.5,)}, {"normalization": "torch"})
    {'normalization': 'torch'}
    >>> overridden({"normalization": "values", "mean": (0.5,)}, {"normalization": "values"})
    {'normalization': 'values', 'mean': (0.5,)}
    """
    gone = {
        name
        for field, belonging in _BELONGING.items()
        if overrides.get(field, fields.get(field)) != fields.get(field)
        for name in belonging
    }
    return {**{name: fields[name] for name in fields if name not in gone}, **overrides}
