"""Labels for a model's classes: as many as it has, counted from where it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.labels import NO_LABEL, Labels, read_labels
from pyspark_vision.bundles.proposal.readings import class_count
from pyspark_vision.bundles.readers.contents import ModelFound
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.poses import columns_of_points
from pyspark_vision.executor.outputs.raw_heads import TABLES
from pyspark_vision.executor.outputs.segments import channel_axis

_BACKGROUND = ("background", "__background__", "_background_", "bg")
# Detector ids of TensorFlow's Object Detection API start at 1 (its exporter adds one).
_ONE_BASED_NAME = "detection_classes"


def labels_of(
    labels: str | Path | Sequence[str] | Mapping[int, str] | None, contents: ModelFound
) -> Labels:
    if labels is None:
        return contents.labels
    if isinstance(labels, (str, Path)):
        return read_labels(labels)
    try:
        pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
        named = sorted((int(class_id), str(label)) for class_id, label in pairs)
    except (TypeError, ValueError) as error:
        raise InvalidModelError(
            f"labels={str(labels)[:100]} is no label file, list or {{class_id: label}}: {error}"
        ) from None
    return tuple((class_id, label) for class_id, label in named if label not in NO_LABEL)


def class_count_of(spec: ModelSpec, contents: ModelFound) -> int | None:
    """How many classes the model scores, where a shape says it."""
    outputs = dict(spec.file.outputs)
    shapes = {tensor.name: tensor.shape for tensor in contents.outputs}
    raw = class_count(outputs, shapes)
    if raw is not None:
        return raw - _columns_behind(spec, shapes)
    if "pixel_scores" in outputs:
        channels = _map_channels(spec, shapes[outputs["pixel_scores"]])
        return channels if channels > 1 else None
    name = outputs.get("class_scores") or (
        outputs.get("scores") if spec.task == "classify" else None
    )
    for tensor in contents.outputs:
        if tensor.name == name and tensor.shape and tensor.shape[-1] > 0:
            return tensor.shape[-1]
    return None


def _columns_behind(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many columns of a table are none of its boxes' own: coefficients, or points."""
    outputs = dict(spec.file.outputs)
    if "prototypes" in outputs:
        return _map_channels(spec, shapes[outputs["prototypes"]])
    return columns_of_points(spec) if set(TABLES) & set(outputs) else 0


def _map_channels(spec: ModelSpec, shape: tuple[int, ...]) -> int:
    own = shape[1:]
    if len(own) != 3:
        return 1
    return own[channel_axis(own, spec.input_hw, spec.input_layout)]


def with_labels(spec: ModelSpec, contents: ModelFound, overrides: Mapping[str, Any]) -> ModelSpec:
    """``label_offset`` and ``background_class`` from how labels and classes count."""
    if not spec.labels or "label_offset" in overrides or "background_class" in overrides:
        return spec
    names = dict(spec.labels)
    classes = class_count_of(spec, contents)
    last = spec.labels[-1][0]
    has_zero = 0 in names and names[0].lower() not in _BACKGROUND
    if spec.task == "segment" and classes != last + 1 and not has_zero and 0 not in names:
        return spec
    if spec.task == "segment" and "pixel_scores" in dict(spec.file.outputs):
        if classes is None and last == 0 and has_zero:  # one channel, and one label: what it is of
            return spec.with_options(label_offset=-1)
        return spec if has_zero else spec.with_options(background_class=0)
    if spec.task == "classify" and classes == last + 2:
        return spec.with_options(label_offset=-1, background_class=0)
    if spec.task == "classify" and classes == last and not has_zero:
        # TensorFlow's 1,001 ImageNet labels for a Keras model of 1,000 classes.
        return spec.with_options(label_offset=1)
    outputs = dict(spec.file.outputs)
    if spec.task == "detect" and "classes" in outputs:
        one_based = outputs["classes"].split(":")[0].endswith(_ONE_BASED_NAME)
        if one_based and has_zero:
            return spec.with_options(label_offset=-1)
        if not one_based and not has_zero:
            return spec.with_options(label_offset=1)
    return spec
