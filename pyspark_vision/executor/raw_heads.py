"""One tensor that holds a detector's boxes, scores and classes -> the outputs the head knows."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def split(outputs: dict[str, Array]) -> dict[str, Array]:
    """Raw roles -> ``boxes`` with ``class_scores``, or with ``scores`` and ``classes``.

    Outputs without a raw role stay as they are. ``...`` is a batch, or nothing for one image:

    - ``yolov5`` ``(..., N, 5 + C)``: box, objectness, classes; a class scores objectness times its
      own (Ultralytics YOLOv5, ``utils/general.py``, ``non_max_suppression``).
    - ``yolov8`` ``(..., 4 + C, N)``: box, classes, transposed (Ultralytics docs, ONNX export).
    - ``end_to_end`` ``(..., N, 6)``: box, score, class; suppressed by the model itself (Ultralytics
      docs, "End-to-end detection").
    - ``detr_logits`` ``(..., Q, C + 1)`` beside ``boxes``: softmax, then the best class but for the
      last, "no object" (Hugging Face, ``DetrImageProcessor.post_process_object_detection``).
    """
    if "yolov5" in outputs:
        raw = outputs["yolov5"].astype(np.float32)
        return {"boxes": raw[..., :4], "class_scores": raw[..., 4:5] * raw[..., 5:]}
    if "yolov8" in outputs:
        raw = np.swapaxes(outputs["yolov8"], -1, -2)
        return {"boxes": raw[..., :4], "class_scores": raw[..., 4:]}
    if "end_to_end" in outputs:
        raw = outputs["end_to_end"]
        return {"boxes": raw[..., :4], "scores": raw[..., 4], "classes": raw[..., 5]}
    if "detr_logits" in outputs:
        objects = softmax(outputs["detr_logits"].astype(np.float32))[..., :-1]
        return {
            "boxes": outputs["boxes"],
            "scores": objects.max(axis=-1),
            "classes": objects.argmax(axis=-1),
        }
    return outputs


def softmax(logits: Array) -> Array:
    """Along the last axis; without overflow."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares
