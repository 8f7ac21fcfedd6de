"""The model's raw outputs for one image -> segments: the pixels of objects, or of classes.

One mask is worked out at a time, within its box, and is runs of pixels from then on: memory grows
with the picture, not with the number of masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.heads import (
    Detections,
    DetectOptions,
    SegmentOptions,
    probabilities,
    select,
)
from pyspark_vision.executor.outputs.masks import (
    NO_CLASS,
    Axis,
    Runs,
    axis,
    best_classes,
    nearest_classes,
    runs_above,
    runs_of_classes,
)
from pyspark_vision.executor.outputs.raw_heads import split, without_last_columns
from pyspark_vision.executor.outputs.scores import sigmoid
from pyspark_vision.executor.row_errors import RowWarning

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.decode.preprocess import Placement

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]


@dataclass(frozen=True)
class Segments:
    """Class ids ``(K,)``, scores ``(K,)`` (NaN: none), boxes ``(K, 4)`` xyxy in [0,1].

    ``areas`` ``(K,)`` in pixels; ``counts``: COCO's text of each mask over the upright picture's
    ``hw``.
    """

    class_ids: Array
    scores: Array
    xyxy: Array
    areas: Array
    counts: tuple[str, ...]
    hw: tuple[int, int]
    warnings: tuple[RowWarning, ...] = ()


def segment(
    spec: ModelSpec,
    outputs: Outputs,
    placement: Placement,
    size_wh: tuple[int, int],
    options: SegmentOptions,
) -> Segments:
    """One of these outputs, of a picture that is ``size_wh`` pixels large, upright:

    - ``pixel_scores``: ``(C, h, w)`` or ``(h, w, C)``, by ``spec.score_kind``;
    - ``pixel_classes``: ``(h, w)``, the classes themselves;
    - a table of boxes with coefficients at its ends, and ``prototypes``;
    - boxes with their scores, and ``box_masks`` ``(N, h, w)`` within each, or ``masks``
      ``(N, h, w)`` over the model's input: probabilities.
    """
    width, height = size_wh
    hw = height, width
    if "pixel_classes" in outputs:
        candidates = _of_class_map(spec, outputs["pixel_classes"], placement, hw)
    elif "pixel_scores" in outputs:
        candidates = _of_scores(spec, outputs["pixel_scores"], placement, hw, options)
    else:
        return _objects(spec, outputs, placement, hw, options)
    return _best(spec, candidates, hw, options)


def channels_first(values: Array, spec: ModelSpec) -> Array:
    """A map ``(C, h, w)``, ``(h, w, C)`` or ``(h, w)`` as ``(C, h, w)``."""
    if values.ndim == 2:
        return values[None]
    return np.moveaxis(values, channel_axis(values.shape, spec.input_hw, spec.input_layout), 0)


def channel_axis(shape: tuple[int, ...], input_hw: tuple[int, int], layout: str) -> int:
    """Where the channels of a map stand, 0 or 2: it has the proportions of the model's input.

    If that does not tell, they stand where the input's do.

    >>> channel_axis((21, 65, 65), (513, 513), "NHWC"), channel_axis((2, 2, 2), (8, 8), "NHWC")
    (0, 2)
    """
    if len(shape) != 3:
        raise ValueError(f"a map has two or three axes, and the output has {list(shape)}")
    is_first, is_last = (_fits(sides, input_hw) for sides in (shape[1:], shape[:2]))
    if is_first == is_last:
        is_first = layout == "NCHW"
    return 0 if is_first else 2


def _fits(sides: tuple[int, ...], input_hw: tuple[int, int]) -> bool:
    """Whether a map has the input's proportions, to half a cell; a single cell has none."""
    (of_height, of_width), ratio = sides, input_hw[0] / input_hw[1]
    return min(sides) > 1 and abs(of_height - of_width * ratio) <= 0.5 + 0.5 * ratio


def _axes(map_hw: tuple[int, ...], placement: Placement, hw: tuple[int, int]) -> tuple[Axis, Axis]:
    (of_height, of_width), (height, width) = map_hw, hw
    return (
        axis(of_height, height, placement.y_scale, placement.y_shift),
        axis(of_width, width, placement.x_scale, placement.x_shift),
    )


def _of_class_map(
    spec: ModelSpec, raw: Array, placement: Placement, hw: tuple[int, int]
) -> Iterable[tuple[int, float, Runs]]:
    """Each pixel's class is that of the cell it lies in, as DeepLab's demo resizes its map."""
    (class_map,) = channels_first(np.rint(raw), spec)
    if class_map.min() < 0 or class_map.max() >= NO_CLASS:
        raise ValueError(
            f"the map holds {class_map.min():g} to {class_map.max():g}, which are no class ids"
        )
    rows, columns = _axes(class_map.shape, placement, hw)
    best = nearest_classes(class_map.astype(np.uint16), rows, columns, hw)
    return ((class_id, np.nan, runs) for class_id, runs in runs_of_classes(best))


def _of_scores(
    spec: ModelSpec,
    raw: Array,
    placement: Placement,
    hw: tuple[int, int],
    options: SegmentOptions,
) -> Iterable[tuple[int, float, Runs]]:
    """Scores between the cells: the best class of each pixel, or each class above the threshold.

    Hugging Face, ``SegformerImageProcessor.post_process_semantic_segmentation``: logits by
    ``interpolate(…, mode="bilinear", align_corners=False)``, then the largest. MediaPipe,
    ``TensorsToSegmentationCalculator`` for one channel: the sigmoid first, then bilinear.
    """
    scores = np.ascontiguousarray(channels_first(raw.astype(np.float32), spec))
    if not np.isfinite(scores).all():
        raise ValueError("the model's output is not finite")
    rows, columns = _axes(scores.shape[1:], placement, hw)
    if not rows.pixels or not columns.pixels:
        return
    looked_at = (
        slice(int(rows.low[0]), int(rows.high[-1]) + 1),
        slice(int(columns.low[0]), int(columns.high[-1]) + 1),
    )
    shares = np.moveaxis(scores[:, *looked_at], 0, -1)
    if spec.score_kind in ("probability", "logit"):
        shares = probabilities(shares, spec.score_kind, exclusive=True)
        best = shares.argmax(axis=-1)
        of_pixels = best_classes(scores, rows, columns, hw)
        for class_id, runs in runs_of_classes(of_pixels):
            yield class_id, _mean(shares[..., class_id], best == class_id), runs
        return
    first = 0
    if spec.score_kind.startswith("binary"):
        if len(scores) != 1:
            raise ValueError(
                f"score_kind={spec.score_kind!r} is for a map of one channel, and the model gives "
                f"{len(scores)}"
            )
        first = 1
    if spec.score_kind != "binary":
        scores, shares = sigmoid(scores), sigmoid(shares)
    for channel, values in enumerate(scores):
        runs = runs_above(values, options.mask_threshold, rows, columns, hw)
        own = shares[..., channel]
        if runs.starts.size:
            yield channel + first, _mean(own, own > options.mask_threshold), runs


def _mean(shares: Array, is_inside: Array) -> float:
    """Over the cells of a class; it may have none of its own, and pixels between them."""
    return float(shares[is_inside].mean() if is_inside.any() else shares.max())


def _best(
    spec: ModelSpec,
    candidates: Iterable[tuple[int, float, Runs]],
    hw: tuple[int, int],
    options: SegmentOptions,
) -> Segments:
    kept = [
        (class_id, score, runs)
        for class_id, score, runs in candidates
        if class_id != spec.background_class and not score <= options.score_threshold
    ]
    # Without scores the largest come first.
    kept.sort(key=lambda candidate: (-np.nan_to_num(candidate[1]), -candidate[2].area))
    kept = kept[: options.max_segments]
    return Segments(
        np.array([class_id for class_id, _, _ in kept], np.int32) + np.int32(spec.label_offset),
        np.array([score for _, score, _ in kept], np.float32),
        np.array([runs.xyxy for _, _, runs in kept], np.float32).reshape(-1, 4),
        np.array([runs.area for _, _, runs in kept], np.int32),
        tuple(runs.counts for _, _, runs in kept),
        hw,
    )


def _objects(
    spec: ModelSpec,
    outputs: Outputs,
    placement: Placement,
    hw: tuple[int, int],
    options: SegmentOptions,
) -> Segments:
    detecting = DetectOptions(options.score_threshold, options.max_segments, options.iou_threshold)
    coefficients = None
    if "prototypes" in outputs:
        prototypes = np.ascontiguousarray(
            channels_first(outputs["prototypes"].astype(np.float32), spec)
        )
        outputs, coefficients = without_last_columns(outputs, len(prototypes))
    detections, rows_of_table = select(spec, split(outputs, spec), placement, detecting)
    # Probabilities above the threshold are logits above this one.
    clipped = min(max(options.mask_threshold, 1e-6), 1 - 1e-6)
    logit = float(np.log(clipped / (1 - clipped)))
    masks: list[Runs] = []
    for index, xyxy in zip(rows_of_table.tolist(), detections.xyxy, strict=True):
        if coefficients is not None:
            rows, columns = _within(_axes(prototypes.shape[1:], placement, hw), xyxy, hw)
            of_rows, rows = rows.window()
            of_columns, columns = columns.window()
            window = prototypes[:, of_rows, of_columns]
            values = np.tensordot(coefficients[index].astype(np.float32), window, axes=1)
            masks.append(runs_above(values, logit, rows, columns, hw))
        else:
            masks.append(_given_mask(outputs, index, xyxy, placement, hw, options.mask_threshold))
    return _with_masks(detections, masks, hw)


def _given_mask(
    outputs: Outputs,
    index: int,
    xyxy: Array,
    placement: Placement,
    hw: tuple[int, int],
    threshold: float,
) -> Runs:
    """``box_masks`` lie within their boxes (TensorFlow's ``reframe_box_masks_to_image_masks``),
    ``masks`` over the whole input (torchvision's ``paste_masks_in_image``)."""
    role = "box_masks" if "box_masks" in outputs else "masks"
    values = outputs[role]
    values = values.reshape(len(values), *values.shape[-2:])[index].astype(np.float32)
    if role == "masks":
        sides = _axes(values.shape, placement, hw)
    else:
        xmin, ymin, xmax, ymax = xyxy.tolist()
        sides = (
            axis(values.shape[0], hw[0], ymax - ymin, ymin),
            axis(values.shape[1], hw[1], xmax - xmin, xmin),
        )
    rows, columns = _within(sides, xyxy, hw)
    return runs_above(values, threshold, rows, columns, hw)


def _within(axes: tuple[Axis, Axis], xyxy: Array, hw: tuple[int, int]) -> tuple[Axis, Axis]:
    (rows, columns), (height, width) = axes, hw
    xmin, ymin, xmax, ymax = xyxy.tolist()
    return (
        rows.within(ymin * height, ymax * height),
        columns.within(xmin * width, xmax * width),
    )


def _with_masks(detections: Detections, masks: list[Runs], hw: tuple[int, int]) -> Segments:
    return Segments(
        detections.class_ids,
        detections.scores,
        detections.xyxy,
        np.array([runs.area for runs in masks], np.int32),
        tuple(runs.counts for runs in masks),
        hw,
        detections.warnings,
    )
