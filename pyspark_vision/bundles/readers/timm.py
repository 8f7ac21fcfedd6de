"""timm's ``config.json`` beside an ONNX export: ``pretrained_cfg`` says how pictures are prepared.

After ``timm/data/config.py`` (``resolve_data_config``) and ``transforms_factory.py``
(``transforms_imagenet_eval``): resize to ``floor(size / crop_pct)``, then cut the middle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.labels import Labels
from pyspark_vision.bundles.readers.contents import ModelFound, channels_first_hw
from pyspark_vision.bundles.readers.preparation import values
from pyspark_vision.errors import InvalidModelError

# timm/data/constants.py.
_CROP_PCT = 0.875
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FILTERS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")


def is_config(record: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is timm's."""
    inside = record.get("pretrained_cfg")
    return isinstance(inside, dict) or {"architecture", "crop_pct", "input_size"} <= set(record)


def with_config(contents: ModelFound, record: Mapping[str, Any], path: Path) -> ModelFound:
    """``contents`` with what timm's ``config.json`` says; raises :class:`InvalidModelError`."""
    inside = record.get("pretrained_cfg")
    # Older files have it at the top.
    config: Mapping[str, Any] = {**record, **inside} if isinstance(inside, dict) else record
    try:
        fields, unsaid = _preparation(config, contents)
        classes = int(record.get("num_classes", config.get("num_classes", 0)) or 0)
        labels = _labels(record, config)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise InvalidModelError(f"{path} is no usual config of timm: {error!r}") from None
    task: str | None = None
    roles: tuple[tuple[str, str], ...] = ()
    if len(contents.outputs) == 1:
        (output,) = contents.outputs
        width = output.shape[-1] if len(output.shape) == 2 else None
        if classes and width in (classes, -1):
            task, roles = "classify", (("scores", output.name),)
            fields["score_kind"] = "logit"
        elif width is not None:  # the head was taken off
            task, roles, labels = "embed", (("embedding", output.name),), ()
    architecture = record.get("architecture") or config.get("architecture") or "a model"
    return replace(
        contents,
        task=task,
        roles=roles,
        labels=labels,
        fields=tuple({"input_layout": "NCHW", **fields}.items()),
        unsaid=tuple(unsaid.items()),
        evidence=f"timm's {architecture} by {path.name}",
    )


def _preparation(
    config: Mapping[str, Any], contents: ModelFound
) -> tuple[dict[str, Any], dict[str, str]]:
    size, crop_pct = _size(config.get("input_size", (3, 224, 224))), config.get("crop_pct")
    height, width = channels_first_hw(contents)
    test_size = config.get("test_input_size")
    if height > 0 and (height, width) != size:
        if test_size is None or _size(test_size) != (height, width):
            raise InvalidModelError(
                f"timm's config.json says {size[0]}x{size[1]}, and the model takes "
                f"{height}x{width}; give the files that belong together"
            )
        size, crop_pct = (height, width), config.get("test_crop_pct", crop_pct)
    crop_pct = float(crop_pct or _CROP_PCT)
    if not 0 < crop_pct <= 1:
        raise ValueError(f"crop_pct {crop_pct} is not within 0..1")
    mean, std = (
        tuple(map(float, config.get(name) or usual))
        for name, usual in (("mean", _MEAN), ("std", _STD))
    )
    fields: dict[str, Any] = {"input_hw": size, **values(1 / 255, mean, std)}
    unsaid = {}
    filter_name = str(config.get("interpolation") or "bilinear")
    if filter_name in _FILTERS:
        fields["resize_filter"] = filter_name
    else:
        unsaid["resize_filter"] = f"config.json says interpolation {filter_name!r}"
    mode = config.get("crop_mode") or "center"
    edges = tuple(math.floor(side / crop_pct) for side in size)
    if mode not in ("center", "squash") or edges[0] != edges[1]:
        unsaid["resize"] = f"config.json says crop_mode {mode!r} of {edges[0]}x{edges[1]}"
    elif mode == "squash":
        fields |= {"resize": "stretch"} | ({"resize_edge": edges[0]} if edges != size else {})
    else:
        fields |= {"resize": "shortest_edge", "resize_edge": edges[0]}
    return fields, unsaid


def _size(value: Any) -> tuple[int, int]:
    """``[3, H, W]``."""
    channels, height, width = value
    if channels not in (1, 3) or not all(type(n) is int and n > 0 for n in (height, width)):
        raise ValueError(f"input_size {value!r} is not [3, height, width]")
    return height, width


def _labels(record: Mapping[str, Any], config: Mapping[str, Any]) -> Labels:
    """``label_names`` in the order of the classes, with ``label_descriptions`` where they are."""
    names = record.get("label_names") or config.get("label_names") or ()
    described = record.get("label_descriptions") or config.get("label_descriptions") or {}
    if not isinstance(names, (list, tuple)):
        raise ValueError("label_names is no list")
    return tuple((i, str(described.get(name, name))) for i, name in enumerate(names))
