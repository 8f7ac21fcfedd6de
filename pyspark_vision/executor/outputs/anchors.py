"""Anchor boxes of SSD detectors: where their offsets count from."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import AnchorLayer, ModelSpec

Array = np.ndarray[Any, Any]


def anchors_of(spec: ModelSpec) -> Array:
    """``(N, 4)`` centre, width and height in 0..1 of the input: computed, or as the spec has them.

    Not to be written to.
    """
    if spec.anchor_layers:
        return computed_anchors(spec.anchor_layers, spec.input_hw, spec.anchor_clip)
    return _as_given(spec.anchors)


@functools.lru_cache(maxsize=8)
def computed_anchors(
    layers: tuple[AnchorLayer, ...], input_hw: tuple[int, int], clip: bool
) -> Array:
    """``(N, 4)`` cxcywh in 0..1: layer by layer, row by row, the anchors of a cell together.

    Centres lie in the middle of the cells of a map of ``ceil(side / stride)``, as in MediaPipe's
    ``ssd_anchors_calculator.cc``, UltraFace's ``fd_config.py`` and ``generate_priors``, and
    FaceMaskDetection's ``anchor_generator.py``, which has the order of sizes and ratios, too.

    >>> from pyspark_vision.bundles.spec import AnchorLayer
    >>> computed_anchors((AnchorLayer(32, (16, 8), (1, 4)),), (32, 64), False).tolist()[:3]
    [[0.25, 0.5, 0.25, 0.5], [0.25, 0.5, 0.125, 0.25], [0.25, 0.5, 0.5, 0.25]]
    """
    height, width = input_hw
    boxes = []
    for stride, sizes, ratios in layers:
        rows, columns = -(-height // stride), -(-width // stride)
        pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
        y, x = np.mgrid[:rows, :columns]
        cells = np.empty((rows * columns, len(pairs), 4))
        cells[..., 0] = (x.reshape(-1, 1) + 0.5) / columns
        cells[..., 1] = (y.reshape(-1, 1) + 0.5) / rows
        cells[..., 2] = [size * math.sqrt(ratio) / width for size, ratio in pairs]
        cells[..., 3] = [size / math.sqrt(ratio) / height for size, ratio in pairs]
        boxes.append(cells.reshape(-1, 4))
    anchors = np.concatenate(boxes).astype(np.float32)
    return np.clip(anchors, 0, 1) if clip else anchors


@functools.lru_cache(maxsize=8)
def _as_given(numbers: tuple[float, ...]) -> Array:
    return np.array(numbers, np.float32).reshape(-1, 4)
