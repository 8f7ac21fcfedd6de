"""What a TensorFlow graph does to its input before anything else: arithmetic with constants.

Keras 3 exports a SavedModel without its configuration, and people wrap models in functions that
scale pixels: the operators are in the graph, which is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pyspark_vision.bundles.readers.keras_layers import Preparing, of_steps

Array = np.ndarray[Any, Any]

# Operators that hand values on, and those that only look at a tensor.
_SAME = (
    *("Identity", "Cast", "StopGradient", "PreventGradient", "EnsureShape", "Squeeze"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"),
)
_LOOKING = ("Shape", "ShapeN", "Rank", "Size", "NoOp")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_ARITHMETIC = ("Mul", "RealDiv", "Div", "Add", "AddV2", "Sub")
# Of a constant that is worked out in the graph, as Keras' Normalization has its deviation.
_OF_CONSTANTS: dict[str, Callable[..., Array]] = {
    "Sqrt": np.sqrt,
    "Rsqrt": lambda value: 1 / np.sqrt(value),
    "Maximum": np.maximum,
    "Cast": lambda value: value,
    "Identity": lambda value: value,
    "Reshape": lambda value, shape: value,
    "ExpandDims": lambda value, axis: value,
}
# Functions call functions; deeper than any exporter nests them.
_MOST_STEPS = 200


def preparing_of_graph(graph_def: Any, tensor: str) -> Preparing:
    """The steps behind the placeholder ``tensor`` of a graph, as those of a model's layers."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    nodes = list(graph_def.node)
    return of_steps(_steps(functions, nodes, tensor.partition(":")[0], {}, _MOST_STEPS))


def _steps(
    functions: Mapping[str, Any],
    nodes: list[Any],
    source: str,
    given: Mapping[str, Array],
    budget: int,
) -> list[tuple[str, Array, Array]]:
    """(operator, scale, offset) of each step of a chain that begins at ``source``.

    ``given``: arguments of this function that are constants where it is called.
    """
    by_name = {node.name: node for node in nodes}
    steps: list[tuple[str, Array, Array]] = []
    for _ in range(budget):
        following = [
            node
            for node in nodes
            if node.op not in _LOOKING and source in map(_plain, _data_inputs(node))
        ]
        if len(following) != 1:
            return steps
        (node,) = following
        if node.op in _CALLS:
            called = functions.get(node.attr["f"].func.name)
            place = [_plain(input_name) for input_name in _data_inputs(node)].index(source)
            if called is None or place >= len(called.signature.input_arg):
                return steps
            arguments = [argument.name for argument in called.signature.input_arg]
            values = (
                _constant(_plain(input_name), by_name, given) for input_name in _data_inputs(node)
            )
            constants = {
                name: value
                for name, value in zip(arguments, values, strict=False)
                if value is not None
            }
            inside = list(called.node_def)
            return steps + _steps(functions, inside, arguments[place], constants, budget - 1)
        if node.op in _ARITHMETIC:
            step = _arithmetic(node, source, by_name, given)
            if step is None:
                # What is scaled by something else (a variable) has no end that is known.
                return [*steps, (node.op, np.array([np.nan]), np.array([np.nan]))]
            steps.append(step)
        elif node.op not in _SAME:
            return steps
        source = node.name
    return steps


def _arithmetic(
    node: Any, source: str, by_name: Mapping[str, Any], given: Mapping[str, Array]
) -> tuple[str, Array, Array] | None:
    first, second = (_plain(name) for name in _data_inputs(node))
    other = second if first == source else first
    number = _constant(other, by_name, given)
    if number is None or number.size not in (1, 3) or (first == second):
        return None
    is_first = first == source
    ones, zero = np.ones(1), np.zeros(1)
    if node.op == "Mul":
        return "Mul", number, zero
    if node.op in ("RealDiv", "Div"):
        return ("RealDiv", 1 / number, zero) if is_first and (number != 0).all() else None
    if node.op == "Sub":
        return ("Sub", ones, -number) if is_first else ("Sub", -ones, number)
    return "Add", ones, number


def _constant(
    name: str, by_name: Mapping[str, Any], given: Mapping[str, Array], depth: int = 8
) -> Array | None:
    if name in given:
        return given[name]
    node = by_name.get(name)
    if node is None or depth == 0:
        return None
    if node.op == "Const":
        from tensorflow import make_ndarray

        value = make_ndarray(node.attr["value"].tensor)
        return value.astype(np.float64).reshape(-1) if value.dtype.kind in "fiu" else None
    work_out = _OF_CONSTANTS.get(node.op)
    if work_out is None:
        return None
    names = map(_plain, _data_inputs(node))
    values = [_constant(name, by_name, given, depth - 1) for name in names]
    if any(value is None for value in values):
        return None
    return work_out(*values)


def _data_inputs(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]


def _plain(name: str) -> str:
    """``rescaling/mul:z:0`` -> ``rescaling/mul``."""
    return name.partition(":")[0]
