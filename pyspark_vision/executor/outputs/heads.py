"""The model's raw outputs for one image -> predictions, detections or an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.boxes import (
    have_area,
    nms,
    to_source_points,
    to_source_xyxy,
    to_xyxy,
    weighted_nms,
)
from pyspark_vision.executor.outputs.raw_heads import split
from pyspark_vision.executor.outputs.scores import sigmoid, softmax
from pyspark_vision.executor.row_errors import RowWarning, WarningCode

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.decode.preprocess import Placement

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]

# A raw detector can put any number of boxes above a low threshold: NMS looks at the best of them,
# as many as Ultralytics' does (`max_nms`), and at ``max_detections`` where that is more.
PRE_NMS_BOXES = 30_000


# Where detectors without suppression of their own usually cut (YOLO, torchvision: 0.5 to 0.7).
_DEFAULT_IOU_THRESHOLD = 0.5
# Outputs of models that leave overlapping boxes to their caller.
_UNSUPPRESSED = {
    *("class_scores", "yolov5", "yolov8", "yolov8_rows", "yolox", "yolov2"),
    *("ssd_boxes", "cls_8", "nanodet", "fastestdet"),
    *("dist_8", "score_8", "center_map"),
}


def default_iou_threshold(spec: ModelSpec) -> float | None:
    """The model's own, where its boxes are to be suppressed here; ``None`` where it does that."""
    if not _UNSUPPRESSED & dict(spec.file.outputs).keys():
        return None
    return spec.iou_threshold or _DEFAULT_IOU_THRESHOLD


@dataclass(frozen=True)
class ClassifyOptions:
    """``top_k`` best classes whose score is at least ``score_threshold``."""

    top_k: int
    score_threshold: float


@dataclass(frozen=True)
class DetectOptions:
    """At most ``max_detections`` boxes with a score above ``score_threshold``, best first.

    ``iou_threshold``: overlapping boxes of one class above it are merged into the best
    (``None``: no suppression here, for models that do their own).
    """

    score_threshold: float
    max_detections: int
    iou_threshold: float | None


@dataclass(frozen=True)
class EmbedOptions:
    """``normalize``: divide by the L2 norm (a zero vector stays zero)."""

    normalize: bool


@dataclass(frozen=True)
class SegmentOptions:
    """At most ``max_segments`` with a score above ``score_threshold``, best first.

    ``iou_threshold`` is that of the objects' boxes, as of :class:`DetectOptions`;
    ``mask_threshold``: the probability above which a pixel belongs to what is looked for, where
    classes do not exclude one another.
    """

    score_threshold: float
    max_segments: int
    iou_threshold: float | None
    mask_threshold: float


@dataclass(frozen=True)
class PoseOptions:
    """At most ``max_poses`` with a score above ``score_threshold``, best first.

    ``iou_threshold`` is that of the poses' boxes, as of :class:`DetectOptions`.
    """

    score_threshold: float
    max_poses: int
    iou_threshold: float | None


@dataclass(frozen=True)
class MatchOptions:
    """The ``top_k`` labels that a picture matches best, of those it is compared with.

    ``vectors``: the labels' embeddings, each of length 1, as float32 bytes of ``(L, D)``.
    """

    top_k: int
    score_threshold: float
    labels: tuple[str, ...]
    vectors: bytes


@dataclass(frozen=True)
class ReadOptions:
    """Lines whose mean score of characters is at least ``score_threshold``.

    ``box_threshold``: the mean score of a place that is taken for a line; ``unclip_ratio``: how
    much what the detector shows of a line grows (:mod:`text_boxes`).
    """

    score_threshold: float
    box_threshold: float
    unclip_ratio: float


HeadOptions = (
    ClassifyOptions
    | DetectOptions
    | EmbedOptions
    | SegmentOptions
    | PoseOptions
    | MatchOptions
    | ReadOptions
)


@dataclass(frozen=True)
class Predictions:
    """Class ids ``(K,)`` int32 and scores ``(K,)`` float32, best first."""

    class_ids: Array
    scores: Array


@dataclass(frozen=True)
class Detections:
    """Class ids ``(K,)``, scores ``(K,)``, boxes ``(K, 4)`` xyxy in [0,1] of the upright image.

    ``keypoints`` ``(K, P, 2)``: x, y of the same unit, which may lie outside of the image; ``None``
    of a model whose spec names none.
    """

    class_ids: Array
    scores: Array
    xyxy: Array
    warnings: tuple[RowWarning, ...] = ()
    keypoints: Array | None = None


@dataclass(frozen=True)
class TextLines:
    """K lines: their texts, scores ``(K,)``, and corners ``(K, 4, 2)``.

    Corners are x and y in [0,1] of the upright picture, clockwise from the text's own top left.
    """

    texts: tuple[str, ...]
    scores: Array
    corners: Array
    warnings: tuple[RowWarning, ...] = ()


def classify(spec: ModelSpec, outputs: Outputs, options: ClassifyOptions) -> Predictions:
    """``scores`` ``(C,)`` -> the best classes; ties keep the lower id first."""
    raw = outputs["scores"].reshape(-1)
    if spec.score_kind.startswith("binary"):
        scores = _of_one_unit(raw, spec.score_kind)
    else:
        scores = probabilities(raw, spec.score_kind, exclusive=True)
    _refuse_nan(scores)
    class_ids = np.arange(scores.size)
    if spec.background_class is not None:
        keep = class_ids != spec.background_class
        class_ids, scores = class_ids[keep], scores[keep]
    best = _best_first(scores, options.top_k)
    best = best[scores[best] >= options.score_threshold]
    return Predictions(
        (class_ids[best] + spec.label_offset).astype(np.int32), scores[best].astype(np.float32)
    )


def detect(
    spec: ModelSpec, outputs: Outputs, placement: Placement, options: DetectOptions
) -> Detections:
    """``boxes`` ``(N, 4)``, ``scores`` and ``classes`` ``(N,)``, or ``class_scores`` ``(N, C)``.

    ``count`` tells how many of a padded output are real; without it, padding has low scores.
    Or one of the raw outputs that :func:`raw_heads.split` takes apart. ``keypoints``
    ``(N, P, 2)`` beside the boxes are in their coordinates.
    """
    return select(spec, split(outputs, spec), placement, options)[0]


def select(
    spec: ModelSpec, outputs: Outputs, placement: Placement, options: DetectOptions
) -> tuple[Detections, Array]:
    """The detections of outputs that are split, and which box each is of, ``(K,)``."""
    boxes = outputs["boxes"].reshape(-1, 4)
    real = len(boxes)
    if "count" in outputs:
        real = max(0, int(outputs["count"].reshape(-1)[0]))
    if "class_scores" in outputs:
        raw = outputs["class_scores"]
        # (N, C) may come without boxes, where -1 could not be worked out.
        class_scores = raw.reshape(len(boxes), raw.shape[-1])[:real]
        box_index, scores, class_ids = _above(spec, class_scores, options)
    else:
        raw = outputs["scores"].reshape(-1)
        scores = probabilities(raw, spec.score_kind, exclusive=False)
        classes = outputs.get("classes", np.zeros(scores.size)).reshape(-1)
        # Padding is whatever memory held: NaN, infinity, or more than an int32 (the row's type).
        classes = np.where(np.abs(classes) < 2**31, classes, -1)
        class_ids = np.rint(classes).astype(np.int64)
        if not len(boxes) == scores.size == class_ids.size:
            raise ValueError(
                f"the model gives {len(boxes)} boxes, {scores.size} scores and {class_ids.size} "
                "classes: they must be as many"
            )
        scores, class_ids = scores[:real], class_ids[:real]
        box_index = np.arange(scores.size)
    # `>` also drops NaN scores; padded class ids are negative in some exporters (-1).
    keep = (scores > options.score_threshold) & (class_ids >= 0)
    if spec.background_class is not None:
        keep &= class_ids != spec.background_class
    warnings: list[RowWarning] = []
    # Once for each box, of which each class above the threshold makes a detection.
    xyxy = _in_source(spec, boxes[:real], placement)
    in_picture = keep & have_area(xyxy)[box_index]
    above, left = int(np.count_nonzero(keep)), int(np.count_nonzero(in_picture))
    if left < above:
        warnings.append(_without_area(above - left, above))
    best = np.flatnonzero(in_picture)
    best = best[np.argsort(-scores[best], kind="stable")]
    box_index, scores, class_ids = box_index[best], scores[best], class_ids[best]
    selected = (xyxy[box_index], scores, class_ids)
    points = _points_in_source(spec, outputs, placement)
    keypoints = None if points is None else points[box_index]
    if options.iou_threshold is None:
        kept = np.arange(min(best.size, options.max_detections))
    else:
        compared = max(PRE_NMS_BOXES, options.max_detections)
        if best.size > compared:
            warnings.append(_capped(compared, best.size))
            selected = (selected[0][:compared], scores[:compared], class_ids[:compared])
        limits = (options.iou_threshold, options.max_detections)
        if spec.suppression == "weighted":
            kept, merged, keypoints = weighted_nms(*selected, *limits, keypoints)
            selected = (merged, *selected[1:])
        else:
            kept = nms(*selected, *limits)
    detections = Detections(
        (class_ids[kept] + spec.label_offset).astype(np.int32),
        scores[kept].astype(np.float32),
        selected[0][kept],
        tuple(warnings),
        None if keypoints is None else keypoints[kept],
    )
    return detections, box_index[kept]


def embed(spec: ModelSpec, outputs: Outputs, options: EmbedOptions) -> Array:
    """The output, pooled and flattened to ``(D,)`` float32; L2-normalized on demand."""
    vector = _pooled(spec, outputs["embedding"]).reshape(-1).astype(np.float32)
    _refuse_nan(vector)
    if options.normalize:
        # float64: squares of float32 values can overflow float32, or vanish.
        wide = vector.astype(np.float64)
        norm = float(np.linalg.norm(wide))
        if norm > 0:
            vector = (wide / norm).astype(np.float32)
    return vector


def match(spec: ModelSpec, outputs: Outputs, options: MatchOptions) -> Predictions:
    """``embedding`` -> the labels that it is nearest to; their class id is their place in the list.

    ``logit_scale * cosine + logit_bias``, then over all labels the softmax (CLIP: Hugging Face's
    ``modeling_clip.py``, ``CLIPModel.forward``) or of each the sigmoid (SigLIP:
    ``modeling_siglip.py``, ``SiglipModel.forward``).
    """
    vector = embed(spec, outputs, EmbedOptions(normalize=True))
    vectors = np.frombuffer(options.vectors, np.float32).reshape(len(options.labels), -1)
    if spec.logit_scale is None:
        raise ValueError("the model has no logit_scale")
    logits = np.float32(spec.logit_scale) * (vectors @ vector) + np.float32(spec.logit_bias)
    scores = probabilities(logits, spec.score_kind, exclusive=True)
    best = _best_first(scores, options.top_k)
    best = best[scores[best] >= options.score_threshold]
    return Predictions(best.astype(np.int32), scores[best].astype(np.float32))


def _best_first(scores: Array, count: int) -> Array:
    """Where the ``count`` largest of ``(C,)`` finite scores are; of equal ones the first is first.

    Only those are put in order: all of 1,000 classes take twice as long, of 20,000 fifty times.
    """
    among = np.arange(scores.size)
    if count < scores.size:
        least = np.partition(scores, -count)[-count]
        among = np.flatnonzero(scores >= least)
    return among[np.argsort(-scores[among], kind="stable")][:count]


def _pooled(spec: ModelSpec, output: Array) -> Array:
    """``(T, D)`` tokens or ``(D, h, w)`` and ``(h, w, D)`` places -> ``(D,)``.

    The class token is the first (ViT, DINOv2, CLIP); the mean is over all tokens.
    """
    if spec.pooling == "none":
        return output
    wide = output.astype(np.float32)
    if spec.pooling == "cls":
        vector: Array = wide[0]
    elif spec.pooling == "mean":
        vector = wide.mean(axis=0)
    else:
        vector = wide.mean(axis=(1, 2) if spec.input_layout == "NCHW" else (0, 1))
    return vector


def _of_one_unit(raw: Array, score_kind: str) -> Array:
    """``(1,)``, the probability or logit of class 1 -> ``(2,)`` of classes 0 and 1."""
    if raw.size != 1:
        raise ValueError(
            f"score_kind={score_kind!r} is for one unit, and the model gives {raw.size}"
        )
    value = sigmoid(raw) if score_kind == "binary_logit" else raw.astype(np.float32)
    return np.concatenate([1 - value, value])


def probabilities(scores: Array, score_kind: str, *, exclusive: bool) -> Array:
    """Probabilities as they are; logits through softmax (of ``exclusive`` classes) or sigmoid."""
    scores = scores.astype(np.float32)
    if score_kind == "probability":
        return scores
    return softmax(scores) if exclusive and score_kind == "logit" else sigmoid(scores)


def _above(spec: ModelSpec, raw: Array, options: DetectOptions) -> tuple[Array, Array, Array]:
    """(box, score, class) of each box and class above the threshold: a multi-label detector's."""
    class_scores = probabilities(raw, spec.score_kind, exclusive=False)
    box_index, class_ids = np.nonzero(class_scores > options.score_threshold)
    return box_index, class_scores[box_index, class_ids], class_ids


def _in_source(spec: ModelSpec, boxes: Array, placement: Placement) -> Array:
    """Boxes as the model gives them -> xyxy in [0,1] of the picture; NaN if not finite."""
    # What is far off may overflow on the way: it is none of the picture then, and no news.
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = boxes.astype(np.float32)
        boxes[~np.isfinite(boxes).all(axis=1)] = np.nan
        xyxy = to_xyxy(boxes, spec.box_format)
        if spec.coordinates == "pixel":
            height, width = spec.input_hw
            xyxy = xyxy / np.array([width, height, width, height], np.float32)
        return to_source_xyxy(xyxy, placement)


def _points_in_source(spec: ModelSpec, outputs: Outputs, placement: Placement) -> Array | None:
    """``keypoints`` ``(N, P, 2)`` as the model gives them -> in [0,1] of the picture, not cut."""
    if spec.task != "detect" or not spec.keypoint_names:
        return None
    if "keypoints" not in outputs:
        raise ValueError("the spec names keypoints, and the model's outputs have none")
    points: Array = outputs["keypoints"].astype(np.float32)
    if points.shape[1] != len(spec.keypoint_names):
        raise ValueError(
            f"the model gives {points.shape[1]} keypoints, and the spec names "
            f"{len(spec.keypoint_names)}"
        )
    if spec.coordinates == "pixel":
        height, width = spec.input_hw
        points = points / np.array([width, height], np.float32)
    return to_source_points(points, placement)


def _without_area(count: int, of: int) -> RowWarning:
    return RowWarning(
        WarningCode.BOXES_WITHOUT_AREA,
        f"{count:,} of {of:,} boxes above the threshold have no area in the picture; they are "
        "left out",
    )


def _capped(compared: int, of: int) -> RowWarning:
    return RowWarning(
        WarningCode.BOXES_CAPPED,
        f"{of:,} boxes are above the threshold; only the best {compared:,} were compared, the "
        "others are left out: raise score_threshold",
    )


def _refuse_nan(values: Array) -> None:
    if not np.isfinite(values).all():
        raise ValueError("the model's output is not finite")
