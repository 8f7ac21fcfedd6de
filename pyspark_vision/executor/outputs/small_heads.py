"""Outputs of small detectors -> the outputs that the head knows: SSD, YuNet, NanoDet, FastestDet.

Layouts as those of :mod:`raw_heads`. Shapes are of one picture: N anchors or cells, C classes,
K keypoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.anchors import anchors_of
from pyspark_vision.executor.outputs.grids import grid_cells
from pyspark_vision.executor.outputs.scores import best_class, sigmoid, softmax

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]

# Of NanoDet's published models: distances of 0 to 7 strides, for four sides.
NANODET_BINS = 8
# NanoDet-Plus has four grids, whose points are the cells' corners; NanoDet three, with points in
# the cells' middles (``nanodet_plus_head.py``, ``gfl_head.py``).
NANODET_GRIDS = (((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5))
FASTESTDET_STRIDE = 16


def ssd(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, 4 + 2K)``: offsets of centre and sides from N anchors, then K points.

    With variances v and an anchor's centre c and sides s, the centre is ``c + offset * v * s``, a
    side ``s * exp(offset * v)``: W. Liu et al., "SSD", and ``convert_locations_to_boxes`` of
    UltraFace's ``box_utils.py``; or ``offset * v * s``, as MediaPipe's
    ``tensors_to_detections_calculator.cc`` with fixed anchors. A point is placed as the centre is,
    there and in RetinaFace's ``decode_landm``; it may stand in an output of its own.
    """
    raw = outputs["ssd_boxes"].astype(np.float32)
    raw = raw.reshape(-1, raw.shape[-1])
    anchors = anchors_of(spec)
    if len(raw) != len(anchors):
        raise ValueError(
            f"the model gives {len(raw)} boxes, and the spec has {len(anchors)} anchors"
        )
    centers, sides = anchors[:, :2], anchors[:, 2:]
    of_center, of_sides = np.array(spec.anchor_variances, np.float32).reshape(2, 2)
    if spec.anchor_sides == "exp":
        with np.errstate(over="ignore"):  # of boxes that score nothing
            own_sides = sides * np.exp(raw[:, 2:4] * of_sides)
    else:
        own_sides = sides * raw[:, 2:4] * of_sides
    boxes = np.concatenate([centers + raw[:, :2] * of_center * sides, own_sides], axis=1)
    others = {name: v for name, v in outputs.items() if not name.startswith("ssd_")}
    points = outputs.get("ssd_keypoints", raw[:, 4:]).reshape(len(raw), -1, 2)
    if points.shape[1]:
        points = points.astype(np.float32) * of_center
        others["keypoints"] = centers[:, None] + points * sides[:, None]
    return {**others, "boxes": boxes}


def yunet(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``cls``, ``obj`` ``(N,)``, ``bbox`` ``(N, 4)``, ``kps`` ``(N, 10)`` of each stride's grid.

    OpenCV, ``objdetect/src/face_detect.cpp``, ``postProcess``: the score is the root of class times
    objectness, each cut to 0..1; the centre ``(cell + offset) * stride``, a side ``exp(value) *
    stride``, a point ``(cell + offset) * stride``, in pixels of the input.
    """
    strides = tuple(
        sorted(int(name.partition("_")[2]) for name in outputs if name.startswith("bbox_"))
    )
    whole = {
        kind: np.concatenate(
            [outputs[f"{kind}_{stride}"].astype(np.float32).reshape(-1, size) for stride in strides]
        )
        for kind, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        if f"{kind}_{strides[0]}" in outputs
    }
    cells, stride_of = grid_cells(spec.input_hw, strides)
    boxes = whole["bbox"]
    if len(boxes) != len(cells):
        raise ValueError(
            f"{len(boxes)} rows do not fit the grids of a {spec.input_hw} input ({len(cells)})"
        )
    scores = np.sqrt(np.clip(whole["cls"], 0, 1) * np.clip(whole["obj"], 0, 1))
    with np.errstate(over="ignore"):
        placed = [(boxes[:, :2] + cells) * stride_of, np.exp(boxes[:, 2:]) * stride_of]
    parts = {"boxes": np.concatenate(placed, axis=1), "class_scores": scores}
    if "kps" in whole:
        points = whole["kps"].reshape(len(boxes), -1, 2)
        parts["keypoints"] = (points + cells[:, None]) * stride_of[:, None]
    return parts


def nanodet(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(N, C + 32)``: classes, then how likely each of eight distances is, for four sides.

    NanoDet, ``gfl_head.py`` and ``nanodet_plus_head.py``: a distance is the mean of 0..7 under the
    softmax, in strides, from the cell's point to the left, top, right and bottom (``Integral``,
    ``distance2bbox``). Classes are probabilities already. Boxes are xyxy in pixels.
    """
    raw = outputs["nanodet"].astype(np.float32)
    grids = [
        (middle, *grid_cells(spec.input_hw, strides, whole=False))
        for strides, middle in NANODET_GRIDS
    ]
    fitting = [grid for grid in grids if len(grid[1]) == len(raw)]
    if not fitting:
        raise ValueError(f"{len(raw)} rows do not fit the grids of a {spec.input_hw} input")
    middle, cells, stride_of = fitting[0]
    likely = softmax(raw[:, -4 * NANODET_BINS :].reshape(-1, 4, NANODET_BINS))
    distances = likely @ np.arange(NANODET_BINS, dtype=np.float32) * stride_of
    points = (cells + middle) * stride_of
    return {
        "boxes": np.concatenate([points - distances[:, :2], points + distances[:, 2:]], axis=1),
        "class_scores": raw[:, : -4 * NANODET_BINS],
    }


def fastestdet(outputs: Outputs, spec: ModelSpec) -> Outputs:
    """``(5 + C, h, w)`` or ``(h, w, 5 + C)``: objectness, box, classes of each cell of 16 pixels.

    FastestDet, ``example/onnx-runtime/runtime.py``: the score is ``objectness ** 0.6`` times
    ``class ** 0.4`` of the best class; the centre ``(cell + tanh(value)) / cells``, a side the
    sigmoid, cxcywh in 0..1.
    """
    raw = outputs["fastestdet"].astype(np.float32)
    rows, columns = (side // FASTESTDET_STRIDE for side in spec.input_hw)
    if raw.shape[:2] != (rows, columns):
        raw = np.moveaxis(raw, 0, -1)
    if raw.shape[:2] != (rows, columns):
        raise ValueError(f"its grid is {raw.shape[:2]}, not {(rows, columns)}")
    raw = raw.reshape(rows * columns, -1)
    cells, _ = grid_cells((rows, columns), (1,))
    centers = (cells + np.tanh(raw[:, 1:3])) / np.array([columns, rows], np.float32)
    classified = best_class(
        {
            "boxes": np.concatenate([centers, sigmoid(raw[:, 3:5])], axis=1),
            "class_scores": raw[:, 5:],
        }
    )
    objectness = np.clip(raw[:, 0], 0, None)
    return {**classified, "scores": objectness**0.6 * np.clip(classified["scores"], 0, None) ** 0.4}
