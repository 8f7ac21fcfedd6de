"""A face detector with YuNet's outputs, made so that what it finds is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_models import save_constant

# In parts of any picture of the input's proportions: one face, and its five points.
FACE_XYXY = (0.0, 0.0, 0.5, 0.5)
FACE_POINTS = ((0.125, 0.25), (0.25, 0.25), (0.375, 0.25), (0.5, 0.25), (-4.5, 0.25))


def save_yunet(path: Path) -> Path:
    """One face of 32x32 pixels at the top left of a 64x64 input; a point lies outside."""
    outputs = {}
    for stride in (8, 16, 32):
        count = (64 // stride) ** 2
        for kind, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = np.zeros((1, count, columns), np.float32)
    outputs["cls_32"][0, 0] = outputs["obj_32"][0, 0] = 0.9
    outputs["bbox_32"][0, 0, :2] = 0.5
    outputs["kps_32"][0, 0] = [number * 2 for point in FACE_POINTS for number in point]
    return save_constant(path, outputs)
