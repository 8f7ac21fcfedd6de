"""ONNX models of a few operators, made so that what they return is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_constant(
    path: Path,
    outputs: Mapping[str, Any],
    input_shape: Sequence[int | str] = (1, 3, 64, 64),
    metadata: Mapping[str, str] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """A model that returns ``outputs`` (name -> values with a batch of one) for any picture.

    Arrays of int64 come out as such, all else as float32.
    """
    nodes, weights, described = (
        [helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0)],
        [],
        [],
    )
    nodes.append(helper.make_node("Cast", ["sum"], ["total"], to=TensorProto.FLOAT))
    weights.append(numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    nodes.append(helper.make_node("Mul", ["total", "zero"], ["nothing"]))
    for name, values in outputs.items():
        is_whole = isinstance(values, np.ndarray) and values.dtype == np.int64
        kind = TensorProto.INT64 if is_whole else TensorProto.FLOAT
        array = np.array(values, np.float32)
        weights.append(numpy_helper.from_array(array, f"{name}_values"))
        nodes.append(helper.make_node("Add", [f"{name}_values", "nothing"], [f"{name}_real"]))
        nodes.append(helper.make_node("Cast", [f"{name}_real"], [name], to=kind))
        described.append(helper.make_tensor_value_info(name, kind, array.shape))
    return _save(path, nodes, weights, (input_shape, dtype), described, metadata)


def save_warner(path: Path) -> Path:
    """A raw detector that finds two boxes in any picture, one of them without area."""
    table = np.zeros((12, 5), np.float32)
    table[:2] = [(32, 32, 16, 16, 0.9), (32, 32, 0, 16, 0.9)]
    return save_constant(path, {"output0": table.T[None]})


def save_classifier(
    path: Path,
    input_shape: Sequence[int | str] = ("batch", 3, 8, 8),
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Logits of three classes: the mean of each channel of the input, times ten."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Mul", ["flat", "ten"], ["logits"]),
    ]
    weights = [numpy_helper.from_array(np.array(10, np.float32), "ten")]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (input_shape[0], 3))]
    return _save(path, nodes, weights, (input_shape, TensorProto.FLOAT), outputs, metadata)


def save_scaled(path: Path, steps: Sequence[tuple[str, Any]]) -> Path:
    """Logits of three classes after ``(operator, constant)`` of one number or one per colour."""
    nodes, weights, source = [helper.make_node("Cast", ["image"], ["pixels"], to=1)], [], "pixels"
    for index, (operator, number) in enumerate(steps):
        values = np.array(number, np.float32).reshape(1, -1, 1, 1)
        weights.append(numpy_helper.from_array(values, f"number_{index}"))
        nodes.append(helper.make_node(operator, [source, f"number_{index}"], [f"step_{index}"]))
        source = f"step_{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["means"]))
    nodes.append(helper.make_node("Flatten", ["means"], ["logits"]))
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3))]
    return _save(path, nodes, weights, ((1, 3, 8, 8), TensorProto.FLOAT), outputs, None)


def save_dense(path: Path, classes: int = 16, scale: float = 1.0) -> Path:
    """Logits of an 8x8 picture by one dense layer, whose weights are drawn; small by ``scale``."""
    drawn = np.random.default_rng(0).standard_normal((3 * 8 * 8, classes)).astype(np.float32)
    drawn = np.abs(drawn) * np.float32(scale) if scale != 1 else drawn
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "drawn"], ["logits"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, classes))]
    weights = [numpy_helper.from_array(drawn, "drawn")]
    return _save(path, nodes, weights, ((1, 3, 8, 8), TensorProto.FLOAT), outputs, None)


def save_yolo_masks(path: Path) -> Path:
    """Ultralytics' segmentation: one dog in any picture, in the left half of a box."""
    table = np.zeros((84, 10), np.float32)
    table[0] = (32, 32, 32, 16, 0.1, 0.9, 1, 0, 0, 0)
    prototypes = np.zeros((1, 4, 16, 16), np.float32)
    prototypes[0, 0] = np.where(np.arange(16) < 8, 5, -5)
    metadata = {"task": "segment", "stride": "32", "names": "{0: 'cat', 1: 'dog'}"}
    outputs = {"output0": table.T[None], "output1": prototypes}
    return save_constant(path, outputs, metadata=metadata)


def save_yolo_points(path: Path) -> Path:
    """Ultralytics' pose: one person in any picture, whose points are all in one place."""
    table = np.zeros((84, 56), np.float32)
    table[0] = (32, 32, 32, 16, 0.9, *(16, 32, 0.8) * 17)
    metadata = {
        "task": "pose",
        "stride": "32",
        "names": "{0: 'person'}",
        "kpt_shape": "[17, 3]",
    }
    return save_constant(path, {"output0": table.T[None]}, metadata=metadata)


def save_colors(path: Path, sides: Sequence[int | str] = (64, 64), step: int = 8) -> Path:
    """A model of class maps: red, green and blue are the classes, each side's ``step``-th the map.

    ``sides``: of the input; names leave them open, and the map's with them.
    """
    is_open = any(isinstance(side, str) for side in sides)
    sizes: dict[str, Any] = {"kernel_shape": [step, step], "strides": [step, step]}
    nodes = [helper.make_node("AveragePool", ["image"], ["logits"], **sizes)]
    of_map = ("h", "w") if is_open else (64 // step, 64 // step)
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3, *of_map))]
    return _save(path, nodes, [], ((1, 3, *sides), TensorProto.FLOAT), outputs, None)


def save_poser(path: Path) -> Path:
    """MoveNet's output: a person whose points lie in the middle, as sure as the picture is red."""
    nodes = [
        helper.make_node("ReduceMax", ["image", "axes"], ["most"], keepdims=1),
        helper.make_node("Slice", ["most", "from", "to", "channel"], ["red"]),
        helper.make_node("Mul", ["red", "by_red"], ["scores"]),
        helper.make_node("Add", ["scores", "places"], ["points"]),
    ]
    places = np.zeros((1, 1, 17, 3), np.float32)
    places[..., :2] = (0.5, 0.25)
    by_red = np.zeros((1, 1, 17, 3), np.float32)
    by_red[..., 2] = 1 / 255
    weights = [
        numpy_helper.from_array(np.array(values), name)
        for name, values in (("from", [0]), ("to", [1]), ("channel", [1]))
    ]
    weights += [
        numpy_helper.from_array(np.array([2, 3]), "axes"),
        numpy_helper.from_array(places, "places"),
        numpy_helper.from_array(by_red, "by_red"),
    ]
    outputs = [helper.make_tensor_value_info("points", TensorProto.FLOAT, (1, 1, 17, 3))]
    shape: Sequence[int | str] = (1, 3, 64, 64)
    domains = [helper.make_opsetid("", 18)]
    return _save(path, nodes, weights, (shape, TensorProto.FLOAT), outputs, None, domains)


def save_custom_operator(path: Path) -> Path:
    """A model with an operator that nobody but its author has."""
    node = helper.make_node("Sharpen", ["image"], ["scores"], domain="org.example")
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 3))]
    domains = [helper.make_opsetid("org.example", 1)]
    return _save(path, [node], [], ((1, 3, 8, 8), TensorProto.FLOAT), outputs, None, domains)


def save_with_sizes(path: Path) -> Path:
    """One box, (0.3, 0.15, 0.7, 0.35) of ``orig_target_sizes``, of class 1 with 0.9."""
    nodes = [
        helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["sizes", "sizes"], ["sides"], axis=1),
        helper.make_node("Unsqueeze", ["sides", "axis"], ["rows"]),
        helper.make_node("Mul", ["rows", "unit"], ["boxes"]),
        helper.make_node("Add", ["score", "nothing"], ["scores"]),
        helper.make_node("Identity", ["label"], ["labels"]),
    ]
    values: dict[str, np.ndarray[Any, Any]] = {
        "zero": np.zeros((), np.float32),
        "axis": np.array([1], np.int64),
        "unit": np.array([0.3, 0.15, 0.7, 0.35], np.float32),
        "score": np.array([[0.9]], np.float32),
        "label": np.array([[1]], np.int64),
    }
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, ("N", 1)),
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ("N", 1, 4)),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("N", 1)),
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in values.items()]
    sizes = helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, ("N", 2))
    image = (("N", 3, 64, 64), TensorProto.FLOAT)
    return _save(path, nodes, weights, image, outputs, None, more_inputs=[sizes])


def save_with_text(path: Path) -> Path:
    """A picture and ``input_ids`` in, as CLIP's two sides in one graph."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1),
        helper.make_node("Cast", ["input_ids"], ["text"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["text"], ["text_mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "text_mean"], ["logits_per_image"]),
    ]
    outputs = [helper.make_tensor_value_info("logits_per_image", TensorProto.FLOAT, (1, 1, 1, 1))]
    text = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("batch", "tokens"))
    image = (("batch", 3, 8, 8), TensorProto.FLOAT)
    return _save(path, nodes, [], image, outputs, None, more_inputs=[text])


def save_with_mask(path: Path, mask_shape: Sequence[int | str]) -> Path:
    """A vector of two: the mean of the picture, and the sum of ``pixel_mask`` beside it."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Cast", ["pixel_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["mask"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axes"], ["mean_2d"]),
        helper.make_node("Unsqueeze", ["sum", "axes"], ["sum_2d"]),
        helper.make_node("Concat", ["mean_2d", "sum_2d"], ["pooler_output"], axis=1),
    ]
    weights = [numpy_helper.from_array(np.array([0, 1], np.int64), "axes")]
    outputs = [helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, (1, 2))]
    mask = helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, mask_shape)
    image = (("batch", "channels", "height", "width"), TensorProto.FLOAT)
    return _save(path, nodes, weights, image, outputs, None, more_inputs=[mask])


def _save(
    path: Path,
    nodes: Sequence[Any],
    weights: Sequence[Any],
    image: tuple[Sequence[int | str], int],
    outputs: Sequence[Any],
    metadata: Mapping[str, str] | None,
    domains: Sequence[Any] = (),
    more_inputs: Sequence[Any] = (),
) -> Path:
    shape, dtype = image
    inputs = [helper.make_tensor_value_info("image", dtype, shape), *more_inputs]
    graph = helper.make_graph(list(nodes), "tiny", inputs, list(outputs), list(weights))
    has_own = any(not domain.domain for domain in domains)
    opsets = [*([] if has_own else [helper.make_opsetid("", 17)]), *domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path
