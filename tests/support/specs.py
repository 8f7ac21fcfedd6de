"""Specs without a model file behind them, for tests of what comes before and after the engine."""

from __future__ import annotations

from typing import Any

from pyspark_vision.bundles.spec import ModelFile, ModelSpec

_OUTPUTS = {
    "classify": (("scores", "scores"),),
    "detect": (("boxes", "boxes"), ("scores", "scores")),
    "embed": (("embedding", "embedding"),),
    "segment": (("pixel_scores", "pixel_scores"),),
    "keypoints": (("keypoints", "keypoints"),),
}


def spec_of(task: str = "classify", **fields: Any) -> ModelSpec:
    """A LiteRT model of this task with an 8x8 input, and other fields where given."""
    file = ModelFile("litert", "tflite", "model.tflite", "", "image", _OUTPUTS[task])
    usual = {"name": "small", "task": task, "files": (file,), "input_hw": (8, 8)}
    return ModelSpec(**(usual | fields))
