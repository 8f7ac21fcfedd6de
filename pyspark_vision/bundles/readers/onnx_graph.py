"""What an ONNX graph does to its input before anything else, and to its outputs at last.

People wrap networks so that these scale and normalize pixels themselves; what is in the graph must
not be done before it once more. :mod:`graph_input` does the same for TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.readers.keras_layers import Preparing, of_steps

Array = np.ndarray[Any, Any]

# Operators that hand pixels on, and those that only look at a tensor.
_SAME = ("Identity", "Cast", "Transpose", "Resize", "Dropout")
_LOOKING = ("Shape", "Size")
_ARITHMETIC = ("Mul", "Div", "Add", "Sub")
# Layers whose numbers have no bounds, and what may come behind them that gives none. A mean or a
# `Relu` of logits (SqueezeNet's end) is one.
_LINEAR = ("Gemm", "MatMul", "Conv")
_SHAPING = (
    *("Identity", "Cast", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
    *("GlobalAveragePool", "AveragePool", "ReduceMean", "Relu"),
)
# No exporter has more before a network's first layer.
_MOST_STEPS = 50
# ImageNet's mean is of red, green, blue: the order is that of what is subtracted, if it falls.
_MEAN_RGB = (0.485, 0.456, 0.406)
_MEAN_ROUNDING = 0.01


def load_graph(path: Path) -> Any | None:
    """The graph of an .onnx file; ``None`` where the package onnx is not there to read it."""
    try:
        import onnx
    except ImportError:
        return None
    return onnx.load(str(path), load_external_data=False).graph


def linear_outputs(graph: Any) -> tuple[str, ...]:
    """The outputs that a linear layer gives as they are: scores there are logits.

    Values of drawn pictures do not tell: a small network's logits may all lie within 0..1.
    """
    working = [node for node in graph.node if node.op_type != "Constant"]
    made_by = {name: node for node in working for name in node.output}
    return tuple(value.name for value in graph.output if _is_linear(value.name, made_by))


def _is_linear(name: str, made_by: Mapping[str, Any]) -> bool:
    for _ in range(_MOST_STEPS):
        node = made_by.get(name)
        if node is None:
            return False
        if node.op_type in _LINEAR:
            return True
        computed = [input_name for input_name in node.input if input_name in made_by]
        is_bias = node.op_type == "Add" and len(computed) == 1
        if not computed or (not is_bias and node.op_type not in _SHAPING):
            return False
        name = computed[0]
    return False


def preparing_of_onnx(graph: Any, tensor: str) -> Preparing:
    """The steps behind the input ``tensor``.

    Where the graph scales pixels, ``fields`` or ``unsaid`` have ``color_order``, too.
    """
    import onnx

    constants = {
        constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer
    }
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    own = of_steps(_steps(graph, tensor, constants))
    if not own.layers:
        return own
    order = _order(_steps(graph, tensor, constants))
    if order is not None:
        return Preparing(own.layers, {**own.fields, "color_order": order}, own.unsaid)
    why = "the graph scales pixels itself, and does not say in which order their colours are"
    return Preparing(own.layers, own.fields, {**own.unsaid, "color_order": why})


def _steps(graph: Any, source: str, constants: dict[str, Array]) -> list[tuple[str, Array, Array]]:
    """(operator, scale, offset) of each step of the chain that begins at ``source``."""
    steps: list[tuple[str, Array, Array]] = []
    for _ in range(_MOST_STEPS):
        following = [
            node for node in graph.node if source in node.input and node.op_type not in _LOOKING
        ]
        if len(following) != 1:
            return steps
        (node,) = following
        if node.op_type in _ARITHMETIC:
            step = _arithmetic(node, source, constants)
            if step is None:
                return steps
            steps.append(step)
        elif node.op_type not in _SAME or node.input[0] != source:
            return steps
        source = node.output[0]
    return steps


def _arithmetic(
    node: Any, source: str, constants: dict[str, Array]
) -> tuple[str, Array, Array] | None:
    first, second = node.input
    number = constants.get(second if first == source else first)
    if number is None or number.size not in (1, 3) or number.dtype.kind not in "fiu":
        return None
    value = number.astype(np.float64).reshape(-1)
    is_first = first == source
    ones, zero = np.ones(1), np.zeros(1)
    if node.op_type == "Mul":
        return "Mul", value, zero
    if node.op_type == "Div":
        return ("Div", 1 / value, zero) if is_first and (value != 0).all() else None
    if node.op_type == "Sub":
        return ("Sub", ones, -value) if is_first else ("Sub", -ones, value)
    return "Add", ones, value


def _order(steps: list[tuple[str, Array, Array]]) -> str | None:
    """The order of colours that the subtracted mean is in, where it is ImageNet's."""
    scale, offset = np.ones(1), np.zeros(1)
    for _, factor, shift in steps:
        scale, offset = scale * factor, offset * factor + shift
    if not (scale != 0).all():
        return None
    mean = np.broadcast_to(-offset / scale, (3,))
    for top in (1, 255):
        for order, known in (("rgb", _MEAN_RGB), ("bgr", _MEAN_RGB[::-1])):
            if np.abs(mean / top - known).max() < _MEAN_ROUNDING:
                return order
    return None
