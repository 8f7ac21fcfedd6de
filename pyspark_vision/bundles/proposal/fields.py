"""A spec's fields by the input's shape, the layout, the file, and its quantization."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.proposal.reading import Reading
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.keras import family_of
from pyspark_vision.bundles.readers.preparation import of_pixels
from pyspark_vision.errors import InvalidModelError

# Where a model leaves its input size open: the usual one of ImageNet classifiers, and of
# detectors (TensorFlow's resize again inside), class maps (SegFormer) and MoveNet.
OPEN_INPUT_HW = {
    "classify": (224, 224),
    "embed": (224, 224),
    "detect": (640, 640),
    "segment": (512, 512),
    "keypoints": (256, 256),
}
# What a quantized input's whole range stands for, by the normalization that it comes from.
_QUANTIZED_RANGES = {"none": (0.0, 255.0), "unit": (0.0, 1.0), "tf": (-1.0, 1.0)}
_QUANTIZED_ROUNDING = 0.02
# By how many levels the ends of 0..255 may miss those of the input: a file's scale is rounded.
_ROUNDED_LEVELS = 1.5
# What says a normalization.
_VALUES = ("normalization", "mean", "std", "pixel_scale")
# What goes with a field's value.
_BELONGING = {
    "resize": (
        *("resize_edge", "stride", "crop_rounding"),
        *("letterbox_anchor", "letterbox_rounding"),
    ),
    "normalization": ("mean", "std", "pixel_scale"),
}


def fields_of(
    contents: ModelFound,
    image: TensorFound,
    reading: Reading,
    file: Path,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """What the shapes say, then the layout's conventions, then the file, then its quantization."""
    fields = input_fields(image, contents, reading.task, file)
    said = dict(contents.fields)
    if reading.task != "keypoints":
        for name in ("keypoint_names", "keypoint_format"):
            said.pop(name, None)
    if -1 not in image.shape[1:]:
        said.pop("input_hw", None)  # the shape says it, and knows better
    for field, of_it in _BELONGING.items():
        if field in overrides:  # what was said of another value has no meaning for this one
            said = {name: value for name, value in said.items() if name not in (field, *of_it)}
    if _is_without_batch(contents, image, reading):
        fields["batched_outputs"] = False
    fields |= dict(reading.fields) | said
    if fields.get("batched_outputs") is False:
        fields["fixed_batch"] = 1
    if not image.dtype.startswith("float"):
        values = {name: fields.pop(name) for name in _VALUES if name in said}
        fields["normalization"] = "none"
        if contents.quantization is not None:
            fields |= _quantized(contents.quantization, image.dtype, overrides, values)
    return fields


def _is_without_batch(contents: ModelFound, image: TensorFound, reading: Reading) -> bool:
    """Whether outputs begin with something else than pictures, as scores (C,) that were squeezed.

    Of a detector each layout says so itself.
    """
    named = {name for _, name in reading.roles}
    shapes = [tensor.shape for tensor in contents.outputs if tensor.name in named and tensor.shape]
    one_picture = image.shape[0] in (-1, 1)
    # Pictures come second in the steps of a text line, (T, 1, C).
    is_of_steps = any(len(shape) == 3 and shape[1] == 1 for shape in shapes)
    is_whole = bool(shapes) and min(shape[0] for shape in shapes) > 1 and not is_of_steps
    return reading.task != "detect" and one_picture and is_whole


def _quantized(
    quantization: tuple[float, int],
    dtype: str,
    overrides: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Scale and zero point, where the pixel itself is not what the input takes.

    ``values``: the normalization that the file says, if it does.
    """
    scale, zero_point = quantization
    limits = np.iinfo(dtype)
    if values and "normalization" not in overrides:
        mean, std = map(np.array, of_pixels(values))
        ends = np.array([(pixel - mean) / std / scale + zero_point for pixel in (0, 255)])
        off = np.abs(ends - np.array([[limits.min], [limits.max]]))
        if off.max() < _ROUNDED_LEVELS:
            return {}
        return {**values, "input_scale": scale, "input_zero_point": zero_point}
    low, high = (scale * (limit - zero_point) for limit in (limits.min, limits.max))
    for name, (from_, to) in _QUANTIZED_RANGES.items():
        rounding = _QUANTIZED_ROUNDING * (to - from_)
        is_whole_range = abs(low - from_) <= rounding and abs(high - to) <= rounding
        if is_whole_range and overrides.get("normalization", name) == name:
            return {}
    return {"input_scale": scale, "input_zero_point": zero_point}


def shape_hw(image: TensorFound) -> tuple[int, int] | None:
    """Height and width as the input's shape says them, ``None`` where it leaves one open."""
    _, *rest = image.shape
    height, width = rest[:2] if rest[2] in (1, 3) or rest[0] not in (1, 3) else rest[1:]
    return (height, width) if height > 0 and width > 0 else None


def input_fields(image: TensorFound, contents: ModelFound, task: str, path: Path) -> dict[str, Any]:
    batch, *rest = image.shape
    channels_last = rest[2] in (1, 3) or rest[0] not in (1, 3)
    if "input_layout" in dict(contents.fields):  # where all sides are open
        channels_last = dict(contents.fields)["input_layout"] == "NHWC"
    height, width, channels = rest if channels_last else (rest[1], rest[2], rest[0])
    if channels not in (-1, 1, 3):
        raise InvalidModelError(
            f"{path}: the input {image.shape} has {channels} channels, not 1 or 3"
        )
    open_height, open_width = OPEN_INPUT_HW[task]
    # Names are those of Keras Applications; most models in NCHW come from PyTorch.
    family = contents.family or (family_of(path.name) if channels_last else "torch")
    normalization = family if family and image.dtype.startswith("float") else "none"
    if "normalization" in dict(contents.fields):  # which says BGR, too, where it is
        normalization = "none"
    gray = channels == 1
    # torchvision's classifiers, and Ultralytics', crop the centre; detectors say otherwise.
    is_torch = contents.format == "onnx" and (
        contents.family == "unit" or (channels != 1 and not channels_last)
    )
    return {
        "resize": "center_crop" if is_torch and task in ("classify", "embed") else "stretch",
        "input_hw": (
            height if height > 0 else open_height,
            width if width > 0 else open_width,
        ),
        "input_layout": "NHWC" if channels_last else "NCHW",
        "input_dtype": image.dtype,
        "fixed_batch": batch if batch > 0 else None,
        "color_order": "gray" if gray else "bgr" if normalization == "caffe" else "rgb",
        "normalization": "none" if gray else normalization,
    }
