"""The model's raw outputs for one image -> poses: the points of persons, hands and faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.heads import DetectOptions, PoseOptions, select
from pyspark_vision.executor.outputs.raw_heads import split, without_last_columns
from pyspark_vision.executor.outputs.scores import sigmoid
from pyspark_vision.executor.row_errors import RowWarning

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.decode.preprocess import Placement

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]

_EVEN = 0.5
# MoveNet's MultiPose: behind the points a box, top left and bottom right, and the pose's score.
_MULTIPOSE_REST = 5


@dataclass(frozen=True)
class Poses:
    """Class ids ``(N,)``, scores ``(N,)``, boxes ``(N, 4)`` xyxy in [0,1] or NaN for none, points
    ``(N, K, 3)``: x, y in parts of the upright picture, score; NaN where there is none."""

    class_ids: Array
    scores: Array
    xyxy: Array
    points: Array
    warnings: tuple[RowWarning, ...] = ()


def detect_poses(
    spec: ModelSpec, outputs: Outputs, placement: Placement, options: PoseOptions
) -> Poses:
    """One of these outputs, with points of ``spec.keypoint_format``:

    - ``keypoints``, the points of one thing, with ``presence``, the probability that it is there;
      without, the pose's score is the mean of its points'. ``handedness`` is the probability of
      class 0 of two (MediaPipe, ``TensorsToClassificationCalculator``, ``binary_classification``);
    - ``multipose`` ``(N, 3 K + 5)``: MoveNet's points, box and score;
    - a table of boxes with the points at its ends.
    """
    if "multipose" in outputs:
        return _multipose(spec, outputs["multipose"], placement, options)
    if "keypoints" in outputs:
        return _of_one(spec, outputs, placement, options)
    table, points = without_last_columns(outputs, columns_of_points(spec))
    detecting = DetectOptions(options.score_threshold, options.max_poses, options.iou_threshold)
    detections, rows = select(spec, split(table, spec), placement, detecting)
    return Poses(
        detections.class_ids,
        detections.scores,
        detections.xyxy,
        _points(spec, points[rows], placement),
        detections.warnings,
    )


def columns_of_points(spec: ModelSpec) -> int:
    """How many columns of a table of boxes are points: only the names' number tells."""
    return len(spec.keypoint_names) * len(spec.keypoint_format)


def _of_one(spec: ModelSpec, outputs: Outputs, placement: Placement, options: PoseOptions) -> Poses:
    raw = outputs["keypoints"].reshape(1, -1)
    points = _points(spec, raw, placement)
    if "presence" in outputs:
        presence = outputs["presence"].reshape(-1).astype(np.float32)
        scores = presence[:1] if spec.score_kind == "probability" else sigmoid(presence[:1])
    else:
        scores = points[:, :, 2].mean(axis=1)
    if not np.isfinite(points[:, :, :2]).all():
        raise ValueError("the model's output is not finite")
    # Where nothing says how sure the model is, there is a pose.
    kept = np.flatnonzero(~(scores <= options.score_threshold))
    class_id = 0
    if "handedness" in outputs:
        class_id = int(outputs["handedness"].reshape(-1)[0] < _EVEN)
    return Poses(
        np.full(kept.size, class_id + spec.label_offset, np.int32),
        scores[kept].astype(np.float32),
        np.full((kept.size, 4), np.nan, np.float32),
        points[kept],
    )


def _multipose(spec: ModelSpec, raw: Array, placement: Placement, options: PoseOptions) -> Poses:
    """TensorFlow Hub, "MoveNet.MultiPose": 17 points as y, x, score; ymin, xmin, ymax, xmax; score.

    All in parts of the input.
    """
    raw = raw.reshape(-1, raw.shape[-1])
    if (raw.shape[1] - _MULTIPOSE_REST) % len(spec.keypoint_format):
        raise ValueError(f"rows of {raw.shape[1]} numbers are not points, a box and a score")
    table = {
        "boxes": raw[:, -5:-1],
        "scores": raw[:, -1],
    }
    detecting = DetectOptions(options.score_threshold, options.max_poses, options.iou_threshold)
    detections, rows = select(spec, table, placement, detecting)
    points = _points(spec, raw[rows, :-_MULTIPOSE_REST], placement)
    return Poses(
        detections.class_ids, detections.scores, detections.xyxy, points, detections.warnings
    )


def _points(spec: ModelSpec, raw: Array, placement: Placement) -> Array:
    """``(N, K * D)`` as ``spec.keypoint_format`` says -> ``(N, K, 3)`` in the upright picture.

    Of points that have no name in a model that names them (MediaPipe's pose has 6, which say where
    to look next), nothing is kept.
    """
    columns = spec.keypoint_format
    if raw.shape[1] % len(columns):
        raise ValueError(f"{raw.shape[1]} numbers are not points of keypoint_format={columns!r}")
    points = raw.shape[1] // len(columns)
    raw = raw.reshape(len(raw), points, len(columns)).astype(np.float32)
    names = len(spec.keypoint_names)
    if names > points:
        raise ValueError(f"keypoint_names has {names} names, and the model {points} points")
    raw = raw[:, : names or None]
    height, width = spec.input_hw
    is_pixel = spec.coordinates == "pixel"
    x = raw[..., columns.index("x")] / (width if is_pixel else 1)
    y = raw[..., columns.index("y")] / (height if is_pixel else 1)
    if "s" in columns:
        scores = raw[..., columns.index("s")]
    elif "v" in columns:
        scores = sigmoid(raw[..., columns.index("v")])
    else:
        scores = np.full_like(x, np.nan)
    return np.stack(
        [
            x * placement.x_scale + placement.x_shift,
            y * placement.y_scale + placement.y_shift,
            scores,
        ],
        axis=-1,
    ).astype(np.float32)
