"""SSD detectors that are published with their anchors: by these, a file's outputs are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyspark_vision.bundles.readers.contents import TensorFound
from pyspark_vision.bundles.spec import AnchorLayer
from pyspark_vision.executor.outputs.anchors import computed_anchors

Array = np.ndarray[Any, Any]

# In parts of the picture: half of the centres of boxes are nearer to their anchors. Offsets, taken
# for boxes, lie about 0, a quarter of the picture and more away from half of the anchors.
_NEAR = 0.1

_FACE = ((0, "face"),)
_FACE_AFTER_BACKGROUND = ((1, "face"),)
# MediaPipe's `face_detection.proto`; the left and right of the person.
_FACE_POINTS = (
    *("right_eye", "left_eye", "nose_tip", "mouth_center"),
    *("right_ear_tragion", "left_ear_tragion"),
)
# MediaPipe's `hand_landmark.h`: of these seven of 21.
_PALM_POINTS = (
    *("wrist", "index_finger_mcp", "middle_finger_mcp", "ring_finger_mcp", "pinky_mcp"),
    *("thumb_cmc", "thumb_mcp"),
)
# MediaPipe's `pose_detection_cpu.pbtxt`.
_POSE_POINTS = ("mid_hip", "full_body_scale", "mid_shoulder", "upper_body_scale")
# RetinaFace's five, InsightFace's and CenterFace's (WIDER FACE's labels), of the picture's left and
# right.
FACE_POINTS_OF_FIVE = ("left_eye", "right_eye", "nose", "left_mouth_corner", "right_mouth_corner")

# `ImageToTensorCalculator` with `keep_aspect_ratio`, and OpenCV's bilinear resize.
_MEDIAPIPE: dict[str, Any] = {
    "resize": "letterbox",
    "resize_filter": "opencv_bilinear",
    "anchor_sides": "linear",
    "suppression": "weighted",
    "iou_threshold": 0.3,
}


@dataclass(frozen=True)
class SsdFamily:
    """Detectors of one published head.

    ``input_hw``: of these alone, or ``None``; ``classes``: columns of the scores; ``keypoints``:
    their names, after the box, or in an output of their own where ``own_keypoints``; ``fields`` of
    ``ModelSpec``; ``decoded``: whether exports have boxes instead of offsets.
    """

    name: str
    layers: tuple[AnchorLayer, ...]
    classes: int
    fields: Mapping[str, Any]
    labels: tuple[tuple[int, str], ...] = _FACE
    input_hw: tuple[int, int] | None = None
    keypoints: tuple[str, ...] = ()
    own_keypoints: bool = False
    decoded: bool = False

    def anchors(self, input_hw: tuple[int, int]) -> Array:
        """``(N, 4)`` of an input of this size."""
        return computed_anchors(self.layers, input_hw, bool(self.fields.get("anchor_clip")))


def _squares(size: int, layers: Sequence[tuple[int, int]]) -> tuple[AnchorLayer, ...]:
    """Layers ``(stride, how many)`` of anchors as large as the input: MediaPipe's fixed ones."""
    return tuple(AnchorLayer(stride, (float(size),) * count) for stride, count in layers)


def _mediapipe(size: int, normalization: str) -> dict[str, Any]:
    # Offsets are in pixels of the input (`x_scale`, `w_scale`).
    return {**_MEDIAPIPE, "normalization": normalization, "anchor_variances": (1.0 / size,) * 4}


FAMILIES = (
    # mediapipe/modules/face_detection/face_detection_short_range.pbtxt
    SsdFamily(
        "BlazeFace, short range",
        _squares(128, ((8, 2), (16, 6))),
        1,
        _mediapipe(128, "tf"),
        input_hw=(128, 128),
        keypoints=_FACE_POINTS,
    ),
    # …/face_detection_full_range.pbtxt, dense and sparse
    SsdFamily(
        "BlazeFace, full range",
        _squares(192, ((4, 1),)),
        1,
        _mediapipe(192, "tf"),
        input_hw=(192, 192),
        keypoints=_FACE_POINTS,
    ),
    # mediapipe/graphs/face_detection/face_detection_back_mobile_gpu.pbtxt
    SsdFamily(
        "BlazeFace, back camera",
        _squares(256, ((16, 2), (32, 6))),
        1,
        _mediapipe(256, "tf"),
        input_hw=(256, 256),
        keypoints=_FACE_POINTS,
    ),
    # mediapipe/modules/palm_detection/palm_detection_cpu.pbtxt
    SsdFamily(
        "BlazePalm",
        _squares(192, ((8, 2), (16, 6))),
        1,
        _mediapipe(192, "unit"),
        labels=((0, "palm"),),
        input_hw=(192, 192),
        keypoints=_PALM_POINTS,
    ),
    # mediapipe/modules/pose_detection/pose_detection_cpu.pbtxt
    SsdFamily(
        "BlazePose's detector",
        _squares(224, ((8, 2), (16, 2), (32, 6))),
        1,
        _mediapipe(224, "tf"),
        labels=((0, "person"),),
        input_hw=(224, 224),
        keypoints=_POSE_POINTS,
    ),
    # Linzaer, Ultra-Light-Fast-Generic-Face-Detector-1MB: vision/ssd/config/fd_config.py,
    # vision/utils/box_utils.py; onnx exports have boxes, those "without_postprocessing" offsets.
    SsdFamily(
        "UltraFace",
        (
            AnchorLayer(8, (10.0, 16.0, 24.0)),
            AnchorLayer(16, (32.0, 48.0)),
            AnchorLayer(32, (64.0, 96.0)),
            AnchorLayer(64, (128.0, 192.0, 256.0)),
        ),
        2,
        {
            "normalization": "values",
            "mean": (127.0,),
            "std": (128.0,),
            "resize_filter": "opencv_bilinear",
            "color_order": "rgb",
            "background_class": 0,
            "anchor_clip": True,
            "iou_threshold": 0.3,
        },
        labels=_FACE_AFTER_BACKGROUND,
        decoded=True,
    ),
    # AIZOOTech, FaceMaskDetection: tensorflow_infer.py, utils/anchor_generator.py
    SsdFamily(
        "FaceMaskDetection, 260",
        tuple(
            AnchorLayer(stride, tuple(260 * size for size in sizes), (1.0, 0.62, 0.42))
            for stride, sizes in (
                (8, (0.04, 0.056)),
                (16, (0.08, 0.11)),
                (32, (0.16, 0.22)),
                (64, (0.32, 0.45)),
                (128, (0.64, 0.72)),
            )
        ),
        2,
        {
            "normalization": "unit",
            "color_order": "rgb",
            "resize_filter": "opencv_bilinear",
            "iou_threshold": 0.4,
        },
        labels=((0, "mask"), (1, "no mask")),
        input_hw=(260, 260),
    ),
    # biubug6, Pytorch_Retinaface: data/config.py, layers/functions/prior_box.py, utils/box_utils.py
    SsdFamily(
        "RetinaFace",
        (
            AnchorLayer(8, (16.0, 32.0)),
            AnchorLayer(16, (64.0, 128.0)),
            AnchorLayer(32, (256.0, 512.0)),
        ),
        2,
        {
            "normalization": "values",
            # Of BGR pixels in 0..255, which it does not divide.
            "mean": (104.0, 117.0, 123.0),
            "color_order": "bgr",
            "resize": "letterbox",
            "letterbox_anchor": "top_left",
            "resize_filter": "opencv_bilinear",
            "background_class": 0,
            "iou_threshold": 0.4,
        },
        labels=_FACE_AFTER_BACKGROUND,
        keypoints=FACE_POINTS_OF_FIVE,
        own_keypoints=True,
    ),
)


@dataclass(frozen=True)
class SsdOutputs:
    """A family, its anchors for the input, and which of a model's outputs its head's are."""

    family: SsdFamily
    anchors: Array
    boxes: TensorFound
    scores: TensorFound
    keypoints: TensorFound | None = None


def find_families(
    outputs: Sequence[TensorFound], input_hw: tuple[int, int]
) -> Iterator[SsdOutputs]:
    """The families whose head gives just such outputs for an input of this size."""
    for family in FAMILIES:
        if family.input_hw not in (None, input_hw):
            continue
        anchors = family.anchors(input_hw)
        points = 2 * len(family.keypoints)
        columns = [4 if family.own_keypoints else 4 + points, family.classes]
        columns += [points] if family.own_keypoints else []
        if len(outputs) != len(columns):
            continue
        tensors = [
            tensor
            for count in columns
            for tensor in outputs
            if tensor.shape[1:] == (len(anchors), count)
        ]
        if len(tensors) == len(columns):
            yield SsdOutputs(family, anchors, *tensors)


def are_at_anchors(boxes: Array, anchors: Array) -> bool:
    """Whether ``(N, 4)`` numbers are boxes (xyxy in 0..1) about their anchors, and no offsets."""
    centers = (boxes[:, :2] + boxes[:, 2:4]) / 2
    away = np.abs(centers - anchors[:, :2]).max(axis=1)
    return bool(np.median(away) < _NEAR)
