"""Outputs as detectors' exporters write them -> the outputs that the head knows.

A layout is a function ``(outputs of one picture, spec) -> boxes with class_scores, or with scores
and classes``, and ``keypoints`` ``(N, K, 2)`` where it has them. Shapes below are of one picture: N
boxes or queries, C classes. Those of small detectors are in :mod:`small_heads` and
:mod:`grid_heads`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs import grid_heads, small_heads
from pyspark_vision.executor.outputs.grids import grid_cells
from pyspark_vision.executor.outputs.scores import best_class, sigmoid, softmax

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]
Layout = Callable[[Outputs, "ModelSpec"], Outputs]


# Layouts that are one table of boxes, at whose ends an exporter may put more.
TABLES = ("yolov8", "yolov8_rows", "yolov5", "end_to_end")


def split(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """Take a raw role apart by its layout; outputs without one stay as they are."""
    for role, layout in LAYOUTS.items():
        if role in outputs:
            return layout(outputs, spec)
    return outputs


def without_last_columns(outputs: Outputs, columns: int) -> tuple[Outputs, Array]:
    """A table of boxes without the columns at its end, and these, ``(N, columns)``.

    Ultralytics puts mask coefficients (``Segment``) or points (``Pose``) behind a box's own
    numbers, in each of its layouts.
    """
    for role in TABLES:
        if role in outputs:
            rows = outputs[role].T if role == "yolov8" else outputs[role]
            if rows.ndim != 2 or rows.shape[1] <= columns + 4:
                raise ValueError(
                    f"{role} of shape {list(outputs[role].shape)} has no {columns} columns beside "
                    "those of a box"
                )
            own = rows[:, :-columns]
            others: Outputs = {**outputs, role: own.T if role == "yolov8" else own}
            return others, rows[:, -columns:]
    raise ValueError(f"needs one of {', '.join(TABLES)}")


def _yolov5(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 5 + C)``: box, objectness, classes; a class scores objectness times its own.

    Ultralytics YOLOv5, ``utils/general.py``, ``non_max_suppression``.
    """
    raw = outputs["yolov5"].astype(np.float32)
    return {"boxes": raw[:, :4], "class_scores": raw[:, 4:5] * raw[:, 5:]}


def _yolov8(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(4 + C, N)``: box, classes, transposed (Ultralytics docs, ONNX export)."""
    return _rows(outputs["yolov8"].T)


def _yolov8_rows(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 4 + C)``: the same, not transposed."""
    return _rows(outputs["yolov8_rows"])


def _detr_rows(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(Q, 4 + C)``: box, scores after sigmoid (Ultralytics ``models/rtdetr/predict.py``).

    The best class of a query counts, as there.
    """
    return best_class(_rows(outputs["detr_rows"]))


def _rows(raw: Array) -> Outputs:
    return {"boxes": raw[:, :4], "class_scores": raw[:, 4:]}


def _end_to_end(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 6)``: box, score, class; suppressed (Ultralytics docs, "End-to-end detection")."""
    raw = outputs["end_to_end"]
    return {"boxes": raw[:, :4], "scores": raw[:, 4], "classes": raw[:, 5]}


def _batch_rows(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 7)``: index in the batch, box, class, score; suppressed.

    YOLOv7, ``models/experimental.py``, ``ONNX_ORT``: of all pictures of a batch below one another,
    so that such a model takes one picture at a time.
    """
    raw = outputs["batch_rows"].reshape(-1, 7)
    return {"boxes": raw[:, 1:5], "scores": raw[:, 6], "classes": raw[:, 5]}


def _scored_boxes(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 5)``: box and score, beside ``classes`` (MMDeploy's ``dets`` and ``labels``)."""
    raw = outputs["scored_boxes"]
    return {**outputs, "boxes": raw[:, :4], "scores": raw[:, 4]}


def _detr_logits(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(Q, C + 1)`` beside ``boxes``: softmax, the best class but for the last, "no object".

    Hugging Face, ``DetrImageProcessor.post_process_object_detection``.
    """
    objects = softmax(outputs["detr_logits"].astype(np.float32))[:, :-1]
    return best_class({"boxes": outputs["boxes"], "class_scores": objects})


def _detr_sigmoid(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(Q, C)`` beside ``boxes``: sigmoid of each class, without "no object".

    Hugging Face, ``RTDetrImageProcessor.post_process_object_detection`` with ``use_focal_loss``,
    and ``DeformableDetrImageProcessor``. There, the best queries times classes count; here, each
    that is above the threshold.
    """
    return {"boxes": outputs["boxes"], "class_scores": sigmoid(outputs["detr_sigmoid"])}


def _yolox(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 5 + C)``: offsets from a grid's cells, in strides; objectness, classes.

    YOLOX, ``yolox/utils/demo_utils.py``, ``demo_postprocess``: the centre is
    ``(offset + cell) * stride``, a side ``exp(value) * stride``, in pixels of the input.
    """
    raw = outputs["yolox"].astype(np.float32)
    cells, strides = grid_cells(spec.input_hw, YOLOX_STRIDES)
    if len(cells) != len(raw):  # P6 models have one more
        cells, strides = grid_cells(spec.input_hw, (*YOLOX_STRIDES, 64))
    if len(cells) != len(raw):
        raise ValueError(
            f"{len(raw)} rows do not fit the grids of a {spec.input_hw} input ({len(cells)})"
        )
    with np.errstate(over="ignore"):  # of boxes that score nothing
        boxes = np.concatenate(
            [(raw[:, :2] + cells) * strides, np.exp(raw[:, 2:4]) * strides], axis=1
        )
    return {"boxes": boxes, "class_scores": raw[:, 4:5] * raw[:, 5:]}


YOLOX_STRIDES = (8, 16, 32)


def _yolov2(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(A * (5 + C), H, W)`` or ``(H, W, A * (5 + C))``: A anchors in each cell of a grid.

    J. Redmon, YOLO9000, and darknet's ``region_layer.c``: the centre is ``(sigmoid(x) + cell) /
    cells``, a side ``anchor * exp(value) / cells``, the score ``sigmoid(objectness)`` times the
    softmax of the classes. Boxes are cxcywh in 0..1.
    """
    raw = outputs["yolov2"].astype(np.float32)
    anchors = np.array(spec.anchors, np.float32).reshape(-1, 2)
    if raw.shape[0] % len(anchors) or raw.shape[0] <= 5 * len(anchors):
        raw = np.moveaxis(raw, -1, 0)
    _, height, width = raw.shape
    # (H * W, A, 5 + C)
    raw = raw.reshape(len(anchors), -1, height * width).transpose(2, 0, 1)
    cells, _ = grid_cells((height, width), (1,))
    cells_wh = np.array([width, height], np.float32)
    centers = (sigmoid(raw[..., :2]) + cells[:, None]) / cells_wh
    sides = anchors * np.exp(np.minimum(raw[..., 2:4], 80)) / cells_wh
    scores = sigmoid(raw[..., 4:5]) * softmax(raw[..., 5:])
    classes = scores.shape[-1]
    return {
        "boxes": np.concatenate([centers, sides], axis=-1).reshape(-1, 4),
        "class_scores": scores.reshape(-1, classes),
    }


LAYOUTS: dict[str, Layout] = {
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "yolov8_rows": _yolov8_rows,
    "yolox": _yolox,
    "yolov2": _yolov2,
    "end_to_end": _end_to_end,
    "batch_rows": _batch_rows,
    "scored_boxes": _scored_boxes,
    "detr_rows": _detr_rows,
    "detr_logits": _detr_logits,
    "detr_sigmoid": _detr_sigmoid,
    "ssd_boxes": small_heads.ssd,
    "cls_8": small_heads.yunet,
    "nanodet": small_heads.nanodet,
    "fastestdet": small_heads.fastestdet,
    "dist_8": grid_heads.distributions,
    "score_8": grid_heads.scrfd,
    "center_map": grid_heads.centerface,
}
