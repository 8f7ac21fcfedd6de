"""Configurations that Keras 2 wrote -> what Keras 3 takes.

Only what means the same: an argument that a layer has no more and whose value was the only one that
it took, and arithmetic with numbers, which Keras 2 wrote as operators of TensorFlow, as the
Rescaling that it is. What is left over is Keras' to refuse.
"""

from __future__ import annotations

import copy
from typing import Any

# Arguments that these layers had in Keras 2, with the only value that they worked with.
_GONE = {
    "DepthwiseConv1D": {"groups": 1},
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv1D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "Conv1DTranspose": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "Conv3DTranspose": {"groups": 1},
}

# Keras 2's layer for an operator of TensorFlow, by the function's name: `x / 127.5` in a model's
# code, as `preprocess_input` of Keras Applications has it.
_OPERATOR_LAYER = "TFOpLambda"
_ARITHMETIC = (
    *("math.truediv", "math.divide", "math.multiply", "math.subtract", "math.add"),
    "__operators__.add",
)


def migrated(config: Any) -> Any:
    """A copy of a model's configuration, as Keras 3 takes it; any JSON comes back as it is.

    >>> migrated({"class_name": "DepthwiseConv2D", "config": {"kernel_size": 3, "groups": 1}})
    {'class_name': 'DepthwiseConv2D', 'config': {'kernel_size': 3}}
    """
    config = copy.deepcopy(config)
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            _migrate(part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return config


def _migrate(part: dict[str, Any]) -> None:
    fields = part.get("config")
    if not isinstance(fields, dict):
        return
    for name, only in _GONE.get(str(part.get("class_name")), {}).items():
        if fields.get(name) == only:
            del fields[name]
    if part.get("class_name") == _OPERATOR_LAYER:
        scaled = _rescaling(fields.get("function"), part.get("inbound_nodes"))
        if scaled is not None:
            scale, offset, source = scaled
            part["class_name"] = "Rescaling"
            part["config"] = {"name": fields.get("name"), "scale": scale, "offset": offset}
            part["inbound_nodes"] = [[[*source, {}]]]


def _rescaling(function: Any, nodes: Any) -> tuple[Any, Any, list[Any]] | None:
    """``x * scale + offset`` of ``[[source, node, tensor, {"y": number}]]``, else ``None``."""
    if function not in _ARITHMETIC or not isinstance(nodes, list) or len(nodes) != 1:
        return None
    (node,) = nodes
    if not isinstance(node, list) or len(node) != 4 or not isinstance(node[3], dict):
        return None
    *source, arguments = node
    number = arguments.get("y")
    numbers = number if isinstance(number, list) else [number]
    if not numbers or any(type(each) not in (int, float) for each in numbers):
        return None
    if function in ("math.truediv", "math.divide"):
        if 0 in numbers:
            return None
        numbers = [1 / each for each in numbers]
    if function == "math.subtract":
        numbers = [-each for each in numbers]
    value = numbers if isinstance(number, list) else numbers[0]
    if function in ("math.truediv", "math.divide", "math.multiply"):
        return value, 0.0, source
    return 1.0, value, source
