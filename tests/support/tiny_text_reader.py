"""A text reader that knows three letters, and pictures of them: blocks of colour on a dark strip.

The detector takes what is dark for text. The recognizer reads a blue block as "a", a green one as
"b" and a red one as "ж", and nothing where it is dark. A line whose left end is red stands on its
head, says the direction's classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

CHARACTERS = ("a", "b", "ж")
COLORS = {"a": "#0000ff", "b": "#00ff00", "ж": "#ff0000"}

# Of a line: a block, and the dark around it.
BLOCK_PX, GAP_PX, HEIGHT_PX = 24, 12, 30

Placed = tuple[str, tuple[int, int], int]


def picture(*lines: Placed, size_wh: tuple[int, int] = (400, 300)) -> Image.Image:
    """White, with lines of ``(text, (left, top), degrees against the clock)``."""
    image = Image.new("RGB", size_wh, "white")
    for text, left_top, degrees in lines:
        image.paste(strip(text).rotate(degrees, expand=True), left_top)
    return image


def strip(text: str) -> Image.Image:
    """A line by itself: as the detector shows it, one block for each letter."""
    width = GAP_PX + len(text) * (BLOCK_PX + GAP_PX)
    image = Image.new("RGB", (width, HEIGHT_PX), "black")
    draw = ImageDraw.Draw(image)
    for index, letter in enumerate(text):
        left = GAP_PX + index * (BLOCK_PX + GAP_PX)
        draw.rectangle((left, 0, left + BLOCK_PX - 1, HEIGHT_PX - 1), fill=COLORS[letter])
    return image


def save_text_reader(
    folder: Path, *, characters: Sequence[str] | None = CHARACTERS, direction: bool = True
) -> Path:
    """The files under names as PP-OCR's have them; ``characters`` of the metadata, or none."""
    folder.mkdir(parents=True, exist_ok=True)
    save_detector(folder / "tiny_det_infer.onnx")
    save_recognizer(folder / "tiny_rec_infer.onnx", characters)
    if direction:
        _save_direction(folder / "tiny_cls_infer.onnx")
    return folder


def save_detector(path: Path, hw: tuple[int | str, int | str] = ("h", "w")) -> Path:
    """``(N, 3, H, W)`` in -1..1 -> ``(N, 1, H, W)``: near 1 where the mean is below zero."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "steep"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["map"]),
    ]
    weights = [_scalar("steep", -40)]
    return _save(path, nodes, weights, ("n", 3, *hw), ("map", ("n", 1, *hw)))


def save_recognizer(
    path: Path, characters: Sequence[str] | None = CHARACTERS, *, softmax: bool = True
) -> Path:
    """``(N, 3, 48, W)`` -> ``(N, W / 4, 5)``: the blank, three letters by colour, the space."""
    # Of blue, green, red: how much more there is of a letter's colour than of the others.
    by_color = np.array(
        [[0, 0, 0], [1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1], [0, 0, 0]], np.float32
    ).reshape(5, 3, 1, 1)
    bias = np.array([0, -0.4, -0.4, -0.4, -9], np.float32)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["cells"], kernel_shape=[48, 4], strides=[48, 4]),
        helper.make_node("Conv", ["cells", "by_color", "bias"], ["classes"]),
        helper.make_node("Squeeze", ["classes", "axis"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["steps", "steep"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=2),
    ]
    weights = [
        numpy_helper.from_array(by_color, "by_color"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([2], np.int64), "axis"),
        _scalar("steep", 20),
    ]
    output = "probabilities" if softmax else "logits"
    nodes = nodes if softmax else nodes[:-1]
    metadata = {} if characters is None else {"character": "\n".join(characters)}
    return _save(
        path, nodes, weights, ("n", 3, 48, "w"), (output, ("n", "t", 5)), metadata=metadata
    )


def _save_direction(path: Path) -> Path:
    """``(N, 3, 48, 192)`` -> ``(N, 2)``: the second is near 1 where the left end is red."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axes"], ["left"]),
        helper.make_node("ReduceMean", ["left"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["means", "by_color", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["directions"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(np.array([0, 0], np.int64), "start"),
        numpy_helper.from_array(np.array([48, 56], np.int64), "end"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        # Of blue, green and red.
        numpy_helper.from_array(np.array([[0, -30], [0, -30], [0, 60]], np.float32), "by_color"),
        numpy_helper.from_array(np.array([0, -8], np.float32), "bias"),
    ]
    return _save(path, nodes, weights, ("n", 3, 48, 192), ("directions", ("n", 2)))


def _scalar(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)


def _save(
    path: Path,
    nodes: Sequence[Any],
    weights: Sequence[Any],
    shape: Sequence[int | str],
    output: tuple[str, Sequence[int | str]],
    metadata: dict[str, str] | None = None,
) -> Path:
    described = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))
        for name, dims in (("x", shape), output)
    ]
    graph = helper.make_graph(list(nodes), "tiny", described[:1], described[1:], list(weights))
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path
