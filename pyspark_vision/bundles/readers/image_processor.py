"""Hugging Face's ``preprocessor_config.json`` -> how a picture becomes the model's input.

After ``transformers/models/*/image_processing_*.py``: an image processor resizes (Pillow's filters,
by number), cuts the middle, multiplies by ``rescale_factor`` and normalizes, each step where its
``do_*`` says so. Processors whose way is that one, or one of those below, are named here: what
others mean by the same keys is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark_vision.bundles.readers.preparation import values
from pyspark_vision.errors import InvalidModelError

# PIL.Image.Resampling.
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
_NUMBERS = dict(enumerate(_FILTERS))

# Whose `size` of one number is the short side (`default_to_square=False`).
_SHORT_SIDE = (
    *("CLIP", "ChineseCLIP", "Bit", "ViTHybrid", "ConvNext", "Levit", "PoolFormer", "MobileNetV1"),
    *("MobileNetV2", "MobileViT", "Yolos", "Detr", "ConditionalDetr", "DeformableDetr", "Deta"),
)
# Whose is both sides.
_SQUARE = (
    *("ViT", "DeiT", "Beit", "Siglip", "Segformer", "EfficientNet", "EfficientFormer", "Pvt"),
    *("RTDetr", "Blip", "DINOv3ViT"),
)
_CENTER_CROPPED = (
    *("CLIP", "ChineseCLIP", "Bit", "ViTHybrid", "Levit", "PoolFormer", "EfficientFormer", "DeiT"),
    *("MobileNetV1", "MobileNetV2", "MobileViT"),
)
# The sides of YolosImageProcessor's pictures are multiples of it (`mod_size`).
_YOLOS_STRIDE = 16
# LevitImageProcessor: `int((256 / 224) * size["shortest_edge"])`.
_LEVIT_RATIO = 256 / 224
# ConvNextImageProcessor: from this size on pictures are stretched.
_CONVNEXT_STRETCHED_FROM = 384
_CONVNEXT_CROP_PCT = 224 / 256
_RESCALE_FACTOR = 1 / 255

# Of `height` and `width`, `shortest_edge`, `longest_edge`, in pixels, those that are said.
_Size = dict[str, int]


@dataclass(frozen=True)
class Preparation:
    """Fields of ``ModelSpec``, and those that stay open, each with the reason."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    unsaid: Mapping[str, str] = field(default_factory=dict)


def preparation(record: Mapping[str, Any], where: str) -> Preparation:
    """The preparation that an image processor's configuration says.

    ``where``: the file, for errors. Raises :class:`InvalidModelError` for values that are none
    (a size of "big", two means).

    >>> config = {"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": True,
    ...           "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    >>> preparation(config, "preprocessor_config.json").fields["resize_edge"]
    256
    """
    kind = _kind(record)
    try:
        resize, unsaid = _resize(record, kind)
        fields, more = _normalization(record, kind)
    except (TypeError, ValueError, KeyError) as error:
        raise InvalidModelError(f"{where} cannot be read: {error}") from None
    if resize:
        resample = record.get("resample", record.get("interpolation"))
        name = _filter(resample)
        if name is None:
            unsaid["resize_filter"] = f"{where} has resample={resample!r}"
        else:
            resize["resize_filter"] = name
    if _is_flipped(record, kind):
        fields["color_order"] = "bgr"
    return Preparation({**resize, **fields}, {**unsaid, **more})


def _kind(record: Mapping[str, Any]) -> str:
    """``CLIPImageProcessorFast`` and ``CLIPFeatureExtractor`` -> ``CLIP``."""
    name = str(record.get("image_processor_type") or record.get("feature_extractor_type") or "")
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(ending)
    return name


def _resize(record: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """How the picture comes to the input's size: fields, or why they are open."""
    if not record.get("do_resize", True):
        return {}, {"resize": "the image processor does not resize (do_resize is false)"}
    if kind not in ("", *_SHORT_SIDE, *_SQUARE):
        return {}, {"resize": f"how {kind}ImageProcessor resizes is not known here"}
    size = _size(record, kind)
    crop = _crop(record, kind)
    if record.get("do_pad") and record.get("pad_size") and set(size) != {"longest_edge"}:
        return {}, {"resize": f"pictures are padded to {record['pad_size']}"}
    if not size:
        return {}, {"resize": f"size {record.get('size')!r} does not say which sides"}
    if kind == "ConvNext":
        return _convnext(size, record)
    edge = size.get("shortest_edge")
    longest = size.get("longest_edge")
    if kind == "Levit" and edge is not None:
        edge = int(_LEVIT_RATIO * edge)
    if kind == "PoolFormer" and record.get("crop_pct") is not None:
        edge = int((edge or size["height"]) / record["crop_pct"])
        return _cropped(edge, crop or (size.get("height", 224), size.get("width", 224)))
    if edge is not None and longest is not None:
        fields = {"resize": "keep_aspect", "resize_edge": edge, "input_hw": (longest, longest)}
        return fields | ({"stride": _YOLOS_STRIDE} if kind == "Yolos" else {}), {}
    if edge is not None:
        if crop is None:
            return {}, {"resize": "the short side is given, no crop and no longest side"}
        return _cropped(edge, crop)
    if longest is not None:
        return _longest(longest, record)
    hw = size["height"], size["width"]
    if crop is None or crop == hw:
        return {"resize": "stretch", "input_hw": hw}, {}
    if hw[0] != hw[1] or crop[0] > hw[0] or crop[1] > hw[1]:
        return {}, {"resize": f"a picture of {hw} is cropped to {crop}"}
    return {
        "resize": "stretch",
        "resize_edge": hw[0],
        "crop_rounding": "floor",
        "input_hw": crop,
    }, {}


def _size(record: Mapping[str, Any], kind: str) -> _Size:
    """``size`` in words, as transformers' ``get_size_dict`` makes it of older files."""
    size = record.get("size")
    if size is None:
        return {}
    if isinstance(size, Mapping):
        known = ("height", "width", "shortest_edge", "longest_edge")
        sides = {name: _side(size[name]) for name in known if size.get(name) is not None}
        complete = {"height", "width"} <= set(sides) or not {"height", "width"} & set(sides)
        return sides if complete else {}
    if isinstance(size, (list, tuple)):
        height, width = size
        return {"height": _side(height), "width": _side(width)}
    if not kind:
        return {}
    if kind in _SQUARE:
        return {"height": _side(size), "width": _side(size)}
    longest = record.get("max_size")
    return {"shortest_edge": _side(size)} | ({"longest_edge": _side(longest)} if longest else {})


def _crop(record: Mapping[str, Any], kind: str) -> tuple[int, int] | None:
    if not record.get("do_center_crop", kind in _CENTER_CROPPED):
        return None
    crop = record.get("crop_size", record.get("size"))
    if isinstance(crop, Mapping):
        if "height" not in crop:
            crop = crop["shortest_edge"]
        else:
            return _side(crop["height"]), _side(crop["width"])
    if isinstance(crop, (list, tuple)):
        height, width = crop
        return _side(height), _side(width)
    return _side(crop), _side(crop)


def _side(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is no number of pixels")
    return value


def _convnext(size: _Size, record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    edge = size.get("shortest_edge") or size["height"]
    if edge >= _CONVNEXT_STRETCHED_FROM:
        return {"resize": "stretch", "input_hw": (edge, edge)}, {}
    crop_pct = record.get("crop_pct")
    return _cropped(int(edge / (crop_pct or _CONVNEXT_CROP_PCT)), (edge, edge))


def _cropped(edge: int, crop: tuple[int, int]) -> tuple[dict[str, Any], dict[str, str]]:
    if edge < max(crop):
        return {}, {"resize": f"a short side of {edge} is cropped to {crop}, which is more"}
    fields = {"resize": "shortest_edge", "resize_edge": edge, "crop_rounding": "floor"}
    return {**fields, "input_hw": crop}, {}


def _longest(longest: int, record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The long side, and the rest padded below and on the right: with zeros, once normalized."""
    pad_size = record.get("pad_size") or {}
    hw = (_side(pad_size.get("height", longest)), _side(pad_size.get("width", longest)))
    if not record.get("do_pad") or hw != (longest, longest):
        return {}, {"resize": f"the long side is {longest}, and the input's shape is not said"}
    fields = {"resize": "letterbox", "letterbox_anchor": "top_left", "input_hw": hw}
    if record.get("do_normalize", True):
        return fields, {"pad_value": "the padding is the mean colour"}
    return fields, {}


def _normalization(record: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    scale = float(record.get("rescale_factor", _RESCALE_FACTOR))
    if not record.get("do_rescale", True):
        scale = 1.0
    # EfficientNet's and ViViT's way to -1..1.
    shift = 1.0 if record.get("rescale_offset") else 0.0
    if not math.isfinite(scale) or scale <= 0:
        raise ValueError(f"rescale_factor {scale!r} is no number above 0")
    normalizes = record.get("do_normalize", kind != "MobileViT")
    again = kind == "EfficientNet" and record.get("include_top", True)
    if not normalizes and not again:
        return values(scale, (shift,), (1.0,)), {}
    if record.get("image_mean") is None or record.get("image_std") is None:
        return {}, {"normalization": "image_mean and image_std are not said"}
    mean, std = (_numbers(record[name], name) for name in ("image_mean", "image_std"))
    if not normalizes:
        mean = (0.0,)
    elif again:  # it divides by the deviation once more
        std = tuple(value * value for value in std)
    return values(scale, tuple(value + shift for value in mean), std), {}


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    listed = value if isinstance(value, (list, tuple)) else [value]
    numbers = tuple(float(number) for number in listed)
    is_std = name == "image_std"
    if len(numbers) not in (1, 3) or not all(
        math.isfinite(number) and (number > 0 or not is_std) for number in numbers
    ):
        raise ValueError(f"{name} {value!r} is not one number, or three")
    return numbers


def _filter(resample: Any) -> str | None:
    if resample is None:
        return "bilinear"  # what most processors have
    if isinstance(resample, str):
        return resample.lower() if resample.lower() in _FILTERS else None
    return _NUMBERS.get(resample) if type(resample) is int else None


def _is_flipped(record: Mapping[str, Any], kind: str) -> bool:
    """MobileViT takes BGR."""
    return bool(record.get("do_flip_channel_order", kind == "MobileViT"))
