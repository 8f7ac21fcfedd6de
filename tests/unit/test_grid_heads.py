"""SCRFD, PicoDet and CenterFace give the numbers of their publishers' code, loop by loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from specs import spec_of

from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.executor.outputs.raw_heads import split

Array = np.ndarray[Any, Any]
HW = (64, 96)


def parts_of(outputs: dict[str, Array], input_hw: tuple[int, int] = HW) -> dict[str, Array]:
    roles = tuple((role, role) for role in outputs)
    file = ModelFile("onnx", "onnx", "m.onnx", "", "image", roles)
    return split(outputs, spec_of("detect", files=(file,), input_hw=input_hw))


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(0.5, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("strides", "anchors"), [((8, 16, 32), 2), ((8, 16, 32), 1), ((8, 16, 32, 64, 128), 1)]
)
def test_scrfd(strides: tuple[int, ...], anchors: int) -> None:
    """InsightFace, python-package/insightface/model_zoo/scrfd.py, ``forward``."""
    input_hw = (128, 256)
    outputs, boxes, scores, points = {}, [], [], []
    for stride in strides:
        height, width = input_hw[0] // stride, input_hw[1] // stride
        count = height * width * anchors
        for kind, columns in (("score", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = drawn(stride + columns, count, columns)
        y, x = np.mgrid[:height, :width]
        corners = np.stack([x, y], axis=-1).astype(np.float32).reshape((-1, 2)) * stride
        centers = np.stack([corners] * anchors, axis=1).reshape((-1, 2))
        distance = outputs[f"bbox_{stride}"] * stride
        for k, (left_x, top_y) in enumerate(centers):
            left, top, right, bottom = distance[k]
            boxes.append([left_x - left, top_y - top, left_x + right, top_y + bottom])
            scores.append(outputs[f"score_{stride}"][k])
            own = outputs[f"kps_{stride}"][k] * stride
            points.append([[left_x + own[i], top_y + own[i + 1]] for i in range(0, 10, 2)])

    parts = parts_of(outputs, input_hw)

    np.testing.assert_allclose(parts["boxes"], boxes, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(parts["class_scores"], scores)
    np.testing.assert_allclose(parts["keypoints"], points, rtol=1e-5, atol=1e-4)


def test_picodet() -> None:
    """PaddleDetection, ``PicoDetPostProcess``, with sides that are no multiples of 64."""
    input_hw = (80, 72)
    outputs, boxes, scores = {}, [], []
    for stride in (8, 16, 32, 64):
        rows, columns = (int(np.ceil(side / stride)) for side in input_hw)
        outputs[f"score_{stride}"] = drawn(stride, rows * columns, 3)
        outputs[f"dist_{stride}"] = drawn(stride + 1, rows * columns, 32)
        columns_of, rows_of = np.meshgrid(
            np.arange(input_hw[1] / stride), np.arange(input_hw[0] / stride)
        )
        middles = zip(
            (columns_of.flatten() + 0.5) * stride,
            (rows_of.flatten() + 0.5) * stride,
            strict=True,
        )
        for k, (x, y) in enumerate(middles):
            exponents = np.exp(outputs[f"dist_{stride}"][k].reshape(4, 8).astype(np.float64))
            shares = exponents / exponents.sum(axis=1, keepdims=True)
            left, top, right, bottom = (shares * np.arange(8)).sum(axis=1) * stride
            boxes.append([x - left, y - top, x + right, y + bottom])
            scores.append(outputs[f"score_{stride}"][k])

    parts = parts_of(outputs, input_hw)

    np.testing.assert_allclose(parts["boxes"], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(parts["class_scores"], scores)


def test_centerface() -> None:
    """CenterFace, prj-python/centerface.py, ``decode``: corners are cut, the far ones follow."""
    rows, columns = HW[0] // 4, HW[1] // 4
    heatmap, scale, offset, landmark = (
        drawn(seed, count, rows, columns) for seed, count in ((1, 1), (2, 2), (3, 2), (4, 10))
    )
    boxes, points = [], []
    for c0 in range(rows):
        for c1 in range(columns):
            s0, s1 = np.exp(scale[0, c0, c1]) * 4, np.exp(scale[1, c0, c1]) * 4
            o0, o1 = offset[0, c0, c1], offset[1, c0, c1]
            x1 = max(0, (c1 + o1 + 0.5) * 4 - s1 / 2)
            y1 = max(0, (c0 + o0 + 0.5) * 4 - s0 / 2)
            x1, y1 = min(x1, HW[1]), min(y1, HW[0])
            boxes.append([x1, y1, min(x1 + s1, HW[1]), min(y1 + s0, HW[0])])
            points.append(
                [
                    [
                        landmark[j * 2 + 1, c0, c1] * s1 + x1,
                        landmark[j * 2, c0, c1] * s0 + y1,
                    ]
                    for j in range(5)
                ]
            )

    parts = parts_of(
        {
            "center_map": heatmap,
            "center_sides": scale,
            "center_offsets": offset,
            "center_points": landmark,
        }
    )

    np.testing.assert_allclose(parts["boxes"], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(parts["class_scores"][:, 0], heatmap.reshape(-1))
    np.testing.assert_allclose(parts["keypoints"], points, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "outputs",
    [
        {"score_8": np.zeros((7, 1)), "bbox_8": np.zeros((7, 4))},
        {"score_8": np.zeros((7, 3)), "dist_8": np.zeros((7, 32))},
        {
            "center_map": np.zeros((1, 8, 8)),
            "center_sides": np.zeros((2, 8, 8)),
            "center_offsets": np.zeros((2, 8, 8)),
        },
    ],
    ids=["SCRFD", "PicoDet", "CenterFace"],
)
def test_outputs_of_another_size_say_so(outputs: dict[str, Array]) -> None:
    with pytest.raises(ValueError, match=r"(of a|for an input of) \(64, 96\)"):
        parts_of(outputs)
