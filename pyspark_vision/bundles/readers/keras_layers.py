"""What a Keras model does to its input before the first layer with weights of its own.

Read from the model's configuration, of Keras 2 or 3: a chain of layers that only prepare pictures
(Resizing, Rescaling, Normalization, arithmetic with numbers), so that the same is not done twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.engines.keras_archive import parts

Array = np.ndarray[Any, Any]

# Layers that do nothing when a model is only run: augmentation, and what regularizes.
_IDLE = ("InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout")
_IDLE_PREFIX = "Random"
# Operators of Keras 3 between a picture and a number.
OPERATORS = ("TrueDivide", "Divide", "Multiply", "Subtract", "Add")
_MODELS = ("Sequential", "Functional", "Model")

# Networks are fed with numbers about 0: within these of the widest normalization that is known
# (CLIP's reaches 2.75), and farther apart than a second division by 255 leaves them.
_MOST_NORMALIZED = 6.0
_LEAST_SPREAD = 0.4

# Keras' interpolation -> the filter with which the picture is resized for it. Keras' are not
# antialiased, as OpenCV's; its others have no equal here.
_FILTERS = {"bilinear": "opencv_bilinear", "nearest": "nearest"}


@dataclass(frozen=True)
class Preparing:
    """``fields`` of a spec that a model's first layers settle, and those that they leave open.

    ``layers``: their names, in order; empty where the model has none.
    """

    layers: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    unsaid: Mapping[str, str] = field(default_factory=dict)


def preparing(
    config: Mapping[str, Any],
    is_open: bool,
    adapted: Mapping[str, tuple[Array, Array]] | None = None,
) -> Preparing:
    """What a model's configuration says of its first layers.

    ``is_open``: whether the input's sides are; then a Resizing says which pictures it takes.
    ``adapted``: name of a Normalization layer -> mean and variance among its weights.
    """
    scale, offset = np.ones(1), np.zeros(1)
    names: list[str] = []
    fields: dict[str, Any] = {}
    unsaid: dict[str, str] = {}
    is_scaled = is_resized = False
    for layer in _chain(config):
        kind, inner = str(layer.get("class_name")), layer.get("config") or {}
        name = str(inner.get("name", kind))
        if kind in _IDLE or kind.startswith(_IDLE_PREFIX):
            continue
        if kind in ("Resizing", "CenterCrop"):
            names.append(kind)
            if kind == "Resizing" and is_open and not is_resized:
                more, open_fields = _resizing(inner)
                fields |= more
                unsaid |= open_fields
            is_resized = True
            continue
        step = _step(layer, inner, (adapted or {}).get(name))
        if step is None:
            break
        names.append(kind)
        is_scaled = True
        scale, offset = scale * step[0], offset * step[0] + step[1]
        if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
            break
    if is_scaled:
        _settle(scale, offset, names, fields, unsaid)
    return Preparing(tuple(names), fields, unsaid)


def of_steps(steps: Sequence[tuple[str, Array, Array]]) -> Preparing:
    """What operators in a row do; each is a name, and ``scale`` and ``offset`` of its step."""
    scale, offset = np.ones(1), np.zeros(1)
    fields: dict[str, Any] = {}
    unsaid: dict[str, str] = {}
    for _, factor, shift in steps:
        scale, offset = scale * factor, offset * factor + shift
    names = [name for name, _, _ in steps]
    if names:
        _settle(scale, offset, names, fields, unsaid)
    return Preparing(tuple(names), fields, unsaid)


def _settle(
    scale: Array,
    offset: Array,
    names: Sequence[str],
    fields: dict[str, Any],
    unsaid: dict[str, str],
) -> None:
    family = _family(scale, offset)
    if family is not None:
        fields["normalization"] = family
        return
    shown = ", ".join(names)
    result = _shown(scale, offset)
    unsaid["normalization"] = f"its own steps ({shown}) make {result} of pixels in 0..255"


def _family(scale: Array, offset: Array) -> str | None:
    """Whether what comes out of 0..255, or of 0..1, is what networks are fed with."""
    for family, top in (("none", 255.0), ("unit", 1.0)):
        ends = np.stack([offset, top * scale + offset])
        spread = np.abs(ends[1] - ends[0])
        if np.abs(ends).max() <= _MOST_NORMALIZED and spread.min() >= _LEAST_SPREAD:
            return family
    return None


def _shown(scale: Array, offset: Array) -> str:
    low, high = float(offset.min()), float((255 * scale + offset).max())
    return f"{low:.3g} to {high:.3g}" if np.isfinite([low, high]).all() else "what is not known"


def _step(
    layer: Mapping[str, Any], inner: Mapping[str, Any], adapted: tuple[Array, Array] | None
) -> tuple[Array, Array] | None:
    """``x * scale + offset`` of a layer; ``None`` for any other layer."""
    kind = str(layer.get("class_name"))
    try:
        if kind == "Rescaling":
            return _numbers(inner.get("scale", 1)), _numbers(inner.get("offset", 0))
        if kind == "Normalization" and not inner.get("invert"):
            mean, variance = inner.get("mean"), inner.get("variance")
            values = adapted if mean is None else (_numbers(mean), _numbers(variance))
            if values is None:
                return None
            deviation = np.maximum(np.sqrt(values[1]), 1e-7)  # keras.backend.epsilon()
            return 1 / deviation, -values[0] / deviation
        if kind in OPERATORS:
            return _operator(kind, layer.get("inbound_nodes"))
    except (TypeError, ValueError):
        pass
    return None


def _operator(kind: str, nodes: Any) -> tuple[Array, Array] | None:
    """``{"args": [tensor, 127.5]}`` of Keras 3; ``None`` unless the second is of numbers."""
    if not isinstance(nodes, list) or len(nodes) != 1 or not isinstance(nodes[0], dict):
        return None
    arguments = [*nodes[0].get("args", ()), *nodes[0].get("kwargs", {}).values()]
    if len(arguments) != 2 or not _sources(arguments[0]):
        return None
    number = _numbers(_constant(arguments[1]))
    if kind in ("TrueDivide", "Divide"):
        return 1 / number, np.zeros(1)
    if kind == "Multiply":
        return number, np.zeros(1)
    return np.ones(1), -number if kind == "Subtract" else number


def _constant(value: Any) -> Any:
    """Keras writes arrays as ``{"class_name": "__numpy__", "config": {"value": …}}``."""
    if isinstance(value, dict):
        return value.get("config", {}).get("value")
    return value


def _numbers(value: Any) -> Array:
    """One number, or one for each colour, however deep Keras has put them."""
    numbers = np.asarray(value, np.float64).reshape(-1)
    if numbers.size not in (1, 3):
        raise ValueError(f"{numbers.size} numbers are not of colours")
    return numbers


def _resizing(inner: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    height, width = inner.get("height"), inner.get("width")
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise InvalidModelError(f"a Resizing layer to {height!r} x {width!r} pixels")
    fields: dict[str, Any] = {"input_hw": (height, width), "resize": "stretch"}
    if inner.get("crop_to_aspect_ratio"):
        fields["resize"] = "center_crop"
    elif inner.get("pad_to_aspect_ratio"):
        fields["resize"] = "letterbox"
    interpolation = str(inner.get("interpolation", "bilinear"))
    if interpolation in _FILTERS:
        return {**fields, "resize_filter": _FILTERS[interpolation]}, {}
    why = f"its Resizing layer interpolates by {interpolation!r}, without antialiasing"
    return fields, {"resize_filter": why}


def _chain(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The layers that a picture goes through one after another, those of nested models in place.

    It ends where the way parts: each layer's output goes to one other.
    """
    inner = config.get("config")
    listed = inner.get("layers") if isinstance(inner, dict) else inner
    layers = [entry for entry in listed or () if isinstance(entry, dict)]
    in_order = layers if config.get("class_name") == "Sequential" else _followed(layers)
    for layer in in_order:
        if layer.get("class_name") in _MODELS:
            yield from _chain(layer)
        else:
            yield layer


def _followed(layers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    inputs = [layer for layer in layers if layer.get("class_name") == "InputLayer"]
    if len(inputs) != 1:
        return
    following = inputs
    passed: set[str] = set()
    while len(following) == 1:
        (layer,) = following
        name = str(layer.get("name") or (layer.get("config") or {}).get("name"))
        if name in passed:
            return
        passed.add(name)
        yield layer
        following = [other for other in layers if name in _sources(other.get("inbound_nodes"))]


def _sources(nodes: Any) -> set[str]:
    """The layers that a layer's inputs come from: Keras 3's histories, Keras 2's lists."""
    names = set()
    for part in parts(nodes):
        history = part.get("keras_history")
        if isinstance(history, list) and history:
            names.add(str(history[0]))
    waiting = [nodes]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            if len(part) >= 3 and isinstance(part[0], str) and type(part[1]) is int:
                names.add(part[0])
            waiting.extend(part)
    return names
