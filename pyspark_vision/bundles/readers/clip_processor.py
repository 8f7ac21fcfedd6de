"""Hugging Face's ``preprocessor_config.json`` -> how a spec prepares pictures.

The keys are those of ``BaseImageProcessor`` in transformers; what they do is written in
``image_transforms.py`` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark_vision.errors import InvalidModelError

# PIL.Image.Resampling, by which the file counts.
_FILTERS = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}


def preparation(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fields of :class:`ModelSpec`; :class:`InvalidModelError` for what no spec can say."""
    try:
        return {**_size(config, path), **_normalization(config)}
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidModelError(f"{path} cannot be read: {error!r}") from None


def _size(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = {"resize_filter": _FILTERS[int(config.get("resample", 2))]}
    size = config["size"]
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else None
    if isinstance(size, int):
        edge = size if config.get("do_center_crop") else None
        size = {"height": size, "width": size}
    crop = config.get("crop_size", size)
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    if edge is not None and config.get("do_center_crop"):
        fields |= {
            "resize": "shortest_edge",
            "resize_edge": int(edge),
            "crop_rounding": "floor",
            "input_hw": (int(crop["height"]), int(crop["width"])),
        }
    elif edge is None and (not config.get("do_center_crop") or crop == size):
        fields |= {"resize": "stretch", "input_hw": (int(size["height"]), int(size["width"]))}
    else:
        raise InvalidModelError(
            f"{path}: size {config['size']} with do_center_crop={config.get('do_center_crop')} and "
            f"crop_size {config.get('crop_size')} is no fixed size; say resize=, resize_edge= and "
            "input_hw="
        )
    return fields


def _normalization(config: Mapping[str, Any]) -> dict[str, Any]:
    scales = config.get("do_rescale", True)
    normalizes = config.get("do_normalize", True)
    return {
        "normalization": "values",
        "pixel_scale": float(config.get("rescale_factor", 1 / 255)) if scales else 1.0,
        "mean": tuple(map(float, config["image_mean"])) if normalizes else (0.0,),
        "std": tuple(map(float, config["image_std"])) if normalizes else (1.0,),
    }
