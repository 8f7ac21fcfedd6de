"""One way to read a model's outputs, and what comes with each of them by convention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyspark_vision.bundles.readers.contents import TensorFound

# Fields of ModelSpec by raw role. Ultralytics' LetterBox and division by 255; YOLOX's `preproc`
# (BGR in 0..255, at the top left); Hugging Face's DetrImageProcessor, and RTDetrImageProcessor,
# which divides by 255 and stretches.
_PIXELS = {"coordinates": "pixel", "box_format": "cxcywh"}
_LETTERBOX = {"resize": "letterbox", "pad_value": 114}
_YOLO = {**_PIXELS, **_LETTERBOX, "normalization": "unit"}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "yolov5": _YOLO,
    "yolov8": _YOLO,
    "yolov8_rows": _YOLO,
    "end_to_end": {**_YOLO, "box_format": "xyxy"},
    "batch_rows": {**_YOLO, "box_format": "xyxy", "batched_outputs": False},
    "yolox": {
        **(_PIXELS | _LETTERBOX),
        "letterbox_anchor": "top_left",
        "letterbox_rounding": "floor",
        "normalization": "none",
        "color_order": "bgr",
    },
    "yolov2": {"coordinates": "normalized", "box_format": "cxcywh", "normalization": "unit"},
    "detr_rows": {"coordinates": "normalized", "box_format": "cxcywh", "normalization": "unit"},
    "detr_logits": {
        "coordinates": "normalized",
        "box_format": "cxcywh",
        "normalization": "torch",
    },
    "detr_sigmoid": {"coordinates": "normalized", "box_format": "cxcywh", "normalization": "unit"},
    "scored_boxes": {"coordinates": "pixel", "box_format": "xyxy"},
    "ssd_boxes": {"coordinates": "normalized", "box_format": "cxcywh"},
    # OpenCV's FaceDetectorYN: BGR in 0..255, padded with black on the right and below.
    "cls_8": {
        **_PIXELS,
        "normalization": "none",
        "color_order": "bgr",
        "resize": "letterbox",
        "letterbox_anchor": "top_left",
        "iou_threshold": 0.3,
    },
    # InsightFace's scrfd.py: `blobFromImage` with 1/128, 127.5 and swapped colours, of a picture at
    # the top left of a black one.
    "score_8": {
        "coordinates": "pixel",
        "box_format": "xyxy",
        "normalization": "values",
        "mean": (127.5,),
        "std": (128.0,),
        "color_order": "rgb",
        "resize": "letterbox",
        "letterbox_anchor": "top_left",
        "letterbox_rounding": "floor",
        "resize_filter": "opencv_bilinear",
        "iou_threshold": 0.4,
    },
    # PaddleDetection's picodet_reader.yml, whose Resize and NormalizeImage keep no ratio.
    "dist_8": {
        "coordinates": "pixel",
        "box_format": "xyxy",
        "normalization": "torch",
        "resize": "stretch",
    },
    # CenterFace's prj-python/centerface.py: RGB in 0..255, stretched to multiples of 32.
    "center_map": {
        "coordinates": "pixel",
        "box_format": "xyxy",
        "normalization": "none",
        "color_order": "rgb",
        "resize": "stretch",
        "resize_filter": "opencv_bilinear",
        "stride": 32,
        "iou_threshold": 0.3,
    },
    # NanoDet's config/*.yml: BGR, its own mean and deviation, stretched by OpenCV.
    "nanodet": {
        "coordinates": "pixel",
        "box_format": "xyxy",
        "color_order": "bgr",
        "normalization": "values",
        "mean": (103.53, 116.28, 123.675),
        "std": (57.375, 57.12, 58.395),
        "resize_filter": "opencv_bilinear",
        "iou_threshold": 0.6,
    },
    # FastestDet's runtime.py: BGR in 0..1, stretched; its INTER_AREA is Pillow's box filter.
    "fastestdet": {
        "coordinates": "normalized",
        "box_format": "cxcywh",
        "normalization": "unit",
        "color_order": "bgr",
        "resize_filter": "box",
        "iou_threshold": 0.35,
    },
}
# Of which the decoding gives the unit of the boxes, whatever their values are.
COMPUTED_COORDINATES = frozenset(
    {
        *("yolov2", "ssd_boxes", "cls_8", "nanodet", "fastestdet"),
        *("score_8", "dist_8", "center_map"),
    }
)

Array = np.ndarray[Any, Any]
# Outputs of each trial run, by role -> why they cannot be what a reading says, or None.
Check = Callable[[Sequence[Mapping[str, Array]]], str | None]


@dataclass(frozen=True)
class Reading:
    """One way to read a model's outputs.

    ``roles``: role -> tensor name; ``why``: the evidence, in words; ``fields`` of ``ModelSpec``
    that come with it; ``is_certain``: no other reading has such outputs; ``settled``: fields that
    the reading itself settles; ``doubt``: why another task, which this library does not know, may
    have such outputs. ``labels`` where it names its classes; ``check`` looks at the trial runs for
    what this reading alone needs.
    """

    task: str
    roles: tuple[tuple[str, str], ...]
    why: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    is_certain: bool = False
    settled: tuple[str, ...] = ()
    labels: tuple[tuple[int, str], ...] = ()
    check: Check | None = None
    doubt: str = ""


def plain(name: str) -> str:
    """``StatefulPartitionedCall/detection_boxes:0`` -> ``detection_boxes``."""
    return name.lower().split(":")[0].rsplit("/", 1)[-1]


def shown(tensor: TensorFound) -> str:
    return f"{tensor.name} {list(tensor.shape)}"
