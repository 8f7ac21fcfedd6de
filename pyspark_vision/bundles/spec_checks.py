"""The rules of a ModelSpec: of each field by itself, and of fields that need one another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyspark_vision.bundles.spec_choices import (
    ANCHOR_SIDES,
    BOX_FORMATS,
    COLOR_ORDERS,
    COORDINATES,
    CROP_ROUNDINGS,
    DTYPES,
    ENGINES,
    FILE_ENGINES,
    FORMATS,
    KEYPOINT_FORMATS,
    LAYOUTS,
    LETTERBOX_ANCHORS,
    LETTERBOX_ROUNDINGS,
    NORMALIZATIONS,
    POOLINGS,
    PRECISIONS,
    REQUIRED_ROLES,
    RESIZE_FILTERS,
    RESIZES,
    ROLES,
    SCORE_KINDS,
    SSD_BOXES,
    SUPPRESSIONS,
    TABLES,
    TAKES_ANY_SHAPE,
    TASKS,
)
from pyspark_vision.errors import InvalidModelError

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelFile, ModelSpec


def check(spec: ModelSpec) -> None:
    """Refuse a spec whose fields do not fit their rules, or one another.

    Raises :class:`InvalidModelError`, which names the model, the value and what is allowed.
    """
    _check_choices(spec)
    if not spec.files:
        raise InvalidModelError(f"model {spec.name!r} has no files")
    if spec.normalization == "caffe" and spec.color_order == "gray":
        raise InvalidModelError(
            f"model {spec.name!r}: normalization 'caffe' needs three colours, not gray"
        )
    _check_values(spec)
    _check_preparation(spec)
    for file in spec.files:
        _check_file(spec.name, spec.task, file)
    file = spec.file  # raises when the chosen engine has no file
    if spec.resize == "keep_aspect" and file.engine not in TAKES_ANY_SHAPE:
        raise InvalidModelError(
            f"model {spec.name!r}: resize='keep_aspect' runs on "
            f"{' and '.join(TAKES_ANY_SHAPE)}, not on {file.engine}, which takes one shape"
        )


def _check_choices(spec: ModelSpec) -> None:
    for name, value, choices in (
        ("task", spec.task, TASKS),
        ("engine", spec.engine, ENGINES),
        ("precision", spec.precision, PRECISIONS),
        ("input_layout", spec.input_layout, LAYOUTS),
        ("input_dtype", spec.input_dtype, DTYPES),
        ("color_order", spec.color_order, COLOR_ORDERS),
        ("normalization", spec.normalization, NORMALIZATIONS),
        ("resize", spec.resize, RESIZES),
        ("resize_filter", spec.resize_filter, RESIZE_FILTERS),
        ("crop_rounding", spec.crop_rounding, CROP_ROUNDINGS),
        ("letterbox_anchor", spec.letterbox_anchor, LETTERBOX_ANCHORS),
        ("letterbox_rounding", spec.letterbox_rounding, LETTERBOX_ROUNDINGS),
        ("score_kind", spec.score_kind, SCORE_KINDS),
        ("pooling", spec.pooling, POOLINGS),
        ("box_format", spec.box_format, BOX_FORMATS),
        ("coordinates", spec.coordinates, COORDINATES),
        ("anchor_sides", spec.anchor_sides, ANCHOR_SIDES),
        ("suppression", spec.suppression, SUPPRESSIONS),
        ("keypoint_format", spec.keypoint_format, KEYPOINT_FORMATS),
    ):
        if value not in choices:
            raise InvalidModelError(
                f"model {spec.name!r}: {name}={value!r} is not one of {', '.join(choices)}"
            )


def _check_values(spec: ModelSpec) -> None:
    for field_name, fits, rule in (
        ("name", isinstance(spec.name, str) and spec.name != "", "a text"),
        ("input_hw", _is_size(spec.input_hw), "a positive (height, width)"),
        ("pad_value", is_whole(spec.pad_value, 0, 255), "within 0..255"),
        (
            "fixed_batch",
            spec.fixed_batch is None or is_whole(spec.fixed_batch, 1),
            "1, 2, … or None",
        ),
        (
            "background_class",
            spec.background_class is None or is_whole(spec.background_class, 0),
            "0, 1, … or None",
        ),
        ("label_offset", is_whole(spec.label_offset), "a whole number"),
        ("pixel_scale", is_positive(spec.pixel_scale), "a number above 0"),
        ("mean", _are_numbers(spec.mean), "one number, or one for each colour"),
        (
            "std",
            _are_numbers(spec.std) and all(map(is_positive, spec.std)),
            "one number above 0, or one for each colour",
        ),
        (
            "input_scale",
            spec.input_scale is None or is_positive(spec.input_scale),
            "a number above 0, or None",
        ),
        ("input_zero_point", is_whole(spec.input_zero_point, -128, 255), "within -128..255"),
        (
            "resize_edge",
            spec.resize_edge is None or is_whole(spec.resize_edge, 1),
            "a number of pixels, or None",
        ),
        (
            "anchors",
            isinstance(spec.anchors, tuple) and all(map(is_positive, spec.anchors)),
            "a tuple of numbers above 0",
        ),
        (
            "anchor_variances",
            isinstance(spec.anchor_variances, tuple)
            and len(spec.anchor_variances) == 4
            and all(map(is_positive, spec.anchor_variances)),
            "four numbers above 0, of x, y, width and height",
        ),
        (
            "iou_threshold",
            spec.iou_threshold is None
            or (is_positive(spec.iou_threshold) and spec.iou_threshold <= 1),
            "above 0 and at most 1, or None",
        ),
        (
            "keypoint_names",
            isinstance(spec.keypoint_names, tuple)
            and all(type(name) is str and name for name in spec.keypoint_names),
            "a tuple of texts",
        ),
        (
            "logit_scale",
            spec.logit_scale is None or is_positive(spec.logit_scale),
            "a number above 0, or None",
        ),
        ("logit_bias", _are_numbers((spec.logit_bias,)), "a number"),
        ("stride", spec.stride is None or is_whole(spec.stride, 1), "a number of pixels, or None"),
        ("labels", _are_labels(spec.labels), "a tuple ((class_id, label), …)"),
    ):
        if not fits:
            value = repr(getattr(spec, field_name))[:100]
            raise InvalidModelError(f"model {spec.name!r}: {field_name}={value} is not {rule}")


def _check_preparation(spec: ModelSpec) -> None:
    """What one field of the preparation needs of another."""
    height, width = spec.input_hw
    edge, stride = spec.resize_edge, spec.stride
    is_edge, is_free = spec.resize == "shortest_edge", spec.resize == "keep_aspect"
    is_cropped = edge is not None and spec.resize in ("shortest_edge", "stretch")
    # What was said and would have no effect, or would be needed and was not said.
    for is_wrong, problem in (
        (
            is_edge and edge is None,
            "resize='shortest_edge' needs resize_edge, the short side in pixels before the crop",
        ),
        (
            edge is not None and not (is_cropped or is_free),
            "resize_edge needs resize='shortest_edge', 'keep_aspect' or 'stretch'",
        ),
        (
            is_cropped and edge is not None and edge < max(height, width),
            f"resize_edge={edge} is below a side of input_hw={spec.input_hw}: the crop would be "
            "larger than the picture",
        ),
        (
            stride is not None and not is_free and (height % stride or width % stride),
            f"input_hw={spec.input_hw} is not a multiple of stride={stride}",
        ),
        (
            is_free and spec.fixed_batch not in (None, 1),
            f"fixed_batch={spec.fixed_batch} does not go with resize='keep_aspect'",
        ),
        (
            is_free and spec.task == "detect" and spec.coordinates != "normalized",
            "resize='keep_aspect' needs coordinates='normalized'",
        ),
        (
            spec.normalization != "values"
            and (spec.pixel_scale, spec.mean, spec.std) != (1.0, (0.0,), (1.0,)),
            f"pixel_scale, mean and std need normalization='values', not {spec.normalization!r}",
        ),
        (
            spec.normalization == "values"
            and any(len(v) not in (1, spec.channels) for v in (spec.mean, spec.std)),
            f"mean={spec.mean} and std={spec.std} must have 1 or {spec.channels} numbers each",
        ),
        (
            spec.score_kind.startswith("binary") and spec.task not in ("classify", "segment"),
            f"score_kind={spec.score_kind!r} is for task='classify' or 'segment'",
        ),
        (
            spec.pooling != "none" and spec.task != "embed",
            f"pooling={spec.pooling!r} is for task='embed'",
        ),
        (
            spec.task != "dual_encoder" and (spec.logit_scale, spec.logit_bias) != (None, 0.0),
            "logit_scale and logit_bias are for task='dual_encoder'",
        ),
        (
            spec.task != "keypoints" and spec.keypoint_format != KEYPOINT_FORMATS[0],
            "keypoint_format is for task='keypoints'",
        ),
        (
            spec.task not in ("keypoints", "detect") and spec.keypoint_names != (),
            "keypoint_names is for task='keypoints', and for detectors that give points, too",
        ),
        (
            spec.task == "keypoints"
            and not spec.keypoint_names
            and any(role in TABLES for file in spec.files for role, _ in file.outputs),
            "a table of boxes with points needs keypoint_names: they say how many points there are",
        ),
        (
            spec.task == "dual_encoder" and spec.score_kind not in ("logit", "sigmoid"),
            f"score_kind={spec.score_kind!r} of a dual encoder must be logit (a softmax over the "
            "texts, as CLIP) or sigmoid (of each text, as SigLIP)",
        ),
        (
            not spec.batched_outputs and spec.fixed_batch not in (None, 1),
            f"fixed_batch={spec.fixed_batch} does not go with batched_outputs=False",
        ),
        (
            any(role == "yolov2" for file in spec.files for role, _ in file.outputs)
            and not (spec.anchors and len(spec.anchors) % 2 == 0),
            "the output yolov2 needs anchors, the width and height of each in cells of its grid",
        ),
        (
            any(role == SSD_BOXES for file in spec.files for role, _ in file.outputs)
            and not spec.anchor_layers
            and not (spec.anchors and len(spec.anchors) % 4 == 0),
            "the output ssd_boxes needs anchor_layers, from which anchors are computed, or "
            "anchors, the centre, width and height of each in 0..1",
        ),
        (
            spec.input_scale is not None and spec.input_dtype not in ("uint8", "int8"),
            f"input_scale is for uint8 and int8 inputs, not {spec.input_dtype}",
        ),
    ):
        if is_wrong:
            raise InvalidModelError(f"model {spec.name!r}: {problem}")


def is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < float(value) < math.inf  # type: ignore[arg-type]


def _are_numbers(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) in (1, 3)
        and all(type(n) in (int, float) and math.isfinite(n) for n in value)
    )


def is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    return type(value) is int and low <= value <= high


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(is_whole(n, 1) for n in value)


def _are_labels(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and is_whole(pair[0]) and type(pair[1]) is str
        for pair in value
    )


def _check_file(name: str, task: str, file: ModelFile) -> None:
    if file.precision not in PRECISIONS:
        raise InvalidModelError(
            f"model {name!r}: precision={file.precision!r} of {file.path} is not one of "
            f"{', '.join(PRECISIONS)}"
        )
    if file.engine not in FILE_ENGINES or file.format not in FORMATS:
        raise InvalidModelError(
            f"model {name!r}: no engine {file.engine!r} for format {file.format!r}; engines: "
            f"{', '.join(FILE_ENGINES)}; formats: {', '.join(FORMATS)}"
        )
    roles = {role for role, _ in file.outputs}
    unknown = roles - set(ROLES[task])
    if unknown:
        raise InvalidModelError(
            f"model {name!r}: outputs name {', '.join(sorted(unknown))}; "
            f"task {task!r} knows {', '.join(ROLES[task])}"
        )
    for alternatives in REQUIRED_ROLES[task]:
        if not roles & set(alternatives):
            raise InvalidModelError(
                f"model {name!r}: task {task!r} needs an output for {' or '.join(alternatives)}; "
                f"outputs has {sorted(file.outputs) or 'none'}. Name it with "
                f"outputs={{'{alternatives[0]}': 'TENSOR'}}"
            )
