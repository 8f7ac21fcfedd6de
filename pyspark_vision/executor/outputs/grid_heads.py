"""Outputs of detectors without anchors, by grid -> the outputs that the head knows.

SCRFD, PicoDet and CenterFace. Layouts as those of :mod:`raw_heads`; shapes are of one picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.grids import grid_cells
from pyspark_vision.executor.outputs.scores import softmax

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]

CENTERFACE_STRIDE = 4


def scrfd(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``score`` ``(N, C)``, ``bbox`` ``(N, 4)``, ``kps`` ``(N, 2K)`` of each stride's grid.

    InsightFace, ``scrfd.py``, ``forward``: N is one or two for each cell; distances in strides from
    the cell's corner to the left, top, right and bottom (``distance2bbox``), and to the points
    (``distance2kps``). Boxes are xyxy in pixels of the input.
    """
    parts = []
    for stride in _strides(outputs, "score_"):
        cells, _ = grid_cells(spec.input_hw, (stride,))
        distances = _rows(outputs[f"bbox_{stride}"], 4)
        if not len(cells) or len(distances) % len(cells):
            raise ValueError(
                f"{len(distances)} rows do not fit the grid of stride {stride} of a "
                f"{spec.input_hw} input ({len(cells)} cells)"
            )
        corners = np.repeat(cells, len(distances) // len(cells), axis=0)
        near, far = corners - distances[:, :2], corners + distances[:, 2:]
        part = {
            "boxes": np.concatenate([near, far], axis=1) * stride,
            "class_scores": outputs[f"score_{stride}"].reshape(len(distances), -1),
        }
        if f"kps_{stride}" in outputs:
            points = outputs[f"kps_{stride}"].astype(np.float32).reshape(len(distances), -1, 2)
            part["keypoints"] = (corners[:, None] + points) * stride
        parts.append(part)
    return _joined(parts)


def distributions(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``score`` ``(N, C)``, ``dist`` ``(N, 4 * bins)`` of each stride's grid.

    PaddleDetection, ``pico_head.py`` and ``deploy/third_engine/demo_onnxruntime``
    (``PicoDetPostProcess``): a distance is the mean of the bins' numbers under the softmax, in
    strides, from the cell's middle to the left, top, right and bottom. Boxes are xyxy in pixels.
    """
    parts = []
    for stride in _strides(outputs, "dist_"):
        cells, _ = grid_cells(spec.input_hw, (stride,), whole=False)
        raw = outputs[f"dist_{stride}"].astype(np.float32)
        if len(raw) != len(cells):
            raise ValueError(
                f"{len(raw)} rows do not fit the grid of stride {stride} of a {spec.input_hw} "
                f"input ({len(cells)} cells)"
            )
        likely = softmax(raw.reshape(len(cells), 4, -1))
        distances = likely @ np.arange(likely.shape[-1], dtype=np.float32)
        near, far = cells + 0.5 - distances[:, :2], cells + 0.5 + distances[:, 2:]
        parts.append(
            {
                "boxes": np.concatenate([near, far], axis=1) * stride,
                "class_scores": outputs[f"score_{stride}"].reshape(len(cells), -1),
            }
        )
    return _joined(parts)


def centerface(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``center_map`` ``(1, h, w)``, ``center_sides``, ``center_offsets`` ``(2, h, w)``, points.

    CenterFace, ``prj-python/centerface.py``, ``decode``: of each cell of four pixels its score, the
    logarithm of height and width in cells, where the centre is from the cell's middle (y, x), and
    ``center_points`` ``(2K, h, w)``, y and x in sides of the box from its corner. Corners are cut
    to the input, and the far ones follow. Boxes are xyxy in pixels of the input.
    """
    height, width = spec.input_hw
    scores = outputs["center_map"].astype(np.float32)
    rows, columns = scores.shape[-2:]
    sides, offsets = (
        outputs[role].astype(np.float32).reshape(2, -1).T[:, ::-1]
        for role in ("center_sides", "center_offsets")
    )
    if (rows * CENTERFACE_STRIDE, columns * CENTERFACE_STRIDE) != (height, width):
        raise ValueError(f"its map is {(rows, columns)} for an input of {(height, width)}")
    cells, _ = grid_cells((rows, columns), (1,))
    with np.errstate(over="ignore"):  # of cells that score nothing
        sides_px = np.exp(sides) * CENTERFACE_STRIDE
    limit = np.array([width, height], np.float32)
    centers = (cells + offsets + 0.5) * CENTERFACE_STRIDE
    near = np.clip(centers - sides_px / 2, 0, limit)
    far = np.minimum(near + sides_px, limit)
    parts = {
        "boxes": np.concatenate([near, far], axis=1),
        "class_scores": scores.reshape(-1, 1),
    }
    if "center_points" in outputs:
        points = outputs["center_points"].astype(np.float32).reshape(-1, 2, rows * columns)
        parts["keypoints"] = (
            points.transpose(2, 0, 1)[..., ::-1] * sides_px[:, None] + near[:, None]
        )
    return parts


def _strides(outputs: Outputs, prefix: str) -> list[int]:
    return sorted(int(role.removeprefix(prefix)) for role in outputs if role.startswith(prefix))


def _rows(values: Array, columns: int) -> Array:
    return values.astype(np.float32).reshape(-1, columns)


def _joined(parts: list[Outputs]) -> Outputs:
    return {role: np.concatenate([part[role] for part in parts]) for role in parts[0]}
