"""Detectors known by the shape of their raw output: what it is, and what such a model expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark_vision.bundles.readers.contents import TensorFound

# A model that suppresses its own boxes returns a few hundred (Ultralytics: 300); a raw one-class
# YOLOv5, whose rows are six numbers too, thousands.
_MOST_END_TO_END_BOXES = 1000

_YOLO = {"resize": "letterbox", "pad_value": 114, "normalization": "unit", "coordinates": "pixel"}

# Fields of ModelSpec by raw role: Ultralytics' LetterBox, and Hugging Face's DetrImageProcessor.
CONVENTIONS: dict[str, dict[str, Any]] = {
    "yolov5": {**_YOLO, "box_format": "cxcywh"},
    "yolov8": {**_YOLO, "box_format": "cxcywh"},
    "end_to_end": {**_YOLO, "box_format": "xyxy"},
    "detr_logits": {"normalization": "torch", "coordinates": "normalized", "box_format": "cxcywh"},
}


def guess_raw_roles(outputs: Sequence[TensorFound]) -> tuple[tuple[str, str], ...]:
    """Roles of outputs that look like one of these detectors; empty for others.

    >>> guess_raw_roles([TensorFound("output0", (1, 84, 8400), "float32")])
    (('yolov8', 'output0'),)
    """
    named = {tensor.name: tensor for tensor in outputs}
    if {"logits", "pred_boxes"} <= set(named):
        return (("boxes", "pred_boxes"), ("detr_logits", "logits"))
    tables = [tensor for tensor in outputs if len(tensor.shape) == 3]
    if len(tables) != 1:
        return ()
    _, rows, columns = tables[0].shape
    if columns == 6 and rows <= _MOST_END_TO_END_BOXES:
        return (("end_to_end", tables[0].name),)
    # There are far more boxes than numbers for each; where the exporter left a dimension open, it
    # is that of the boxes.
    if rows > 4 and (columns == -1 or rows < columns):
        return (("yolov8", tables[0].name),)
    if columns > 5 and (rows == -1 or columns < rows):
        return (("yolov5", tables[0].name),)
    return ()


def class_count(outputs: dict[str, str], shapes: dict[str, tuple[int, ...]]) -> int | None:
    """How many classes a raw output scores, where its shape says it.

    ``outputs``: role -> tensor name; ``shapes`` by tensor name.
    """
    for role, axis, others in (("yolov5", 2, 5), ("yolov8", 1, 4), ("detr_logits", 2, 1)):
        shape = shapes.get(outputs.get(role, ""), ())
        if len(shape) == 3 and shape[axis] > others:
            return shape[axis] - others
    return None
