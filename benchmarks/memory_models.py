"""Keras' MobileNetV2, ResNet50, VGG16 or a tiny model in each format, for `benchmarks.memory`.

`python -m benchmarks.memory_models NAME FOLDER`: random weights by a fixed seed. The frozen
graph is written node by node: a VGG16 in one message is too much.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

from benchmarks.memory import TINY

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIDE = 224


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    import keras

    keras.utils.set_random_seed(0)
    model = tiny(keras) if name == TINY else getattr(keras.applications, name)(weights=None)
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.export(folder / "model", verbose=False)
    save_frozen(model, folder / "model.pb")
    save_onnx(model, folder / "model.onnx")
    (folder / "weights_bytes").write_text(str(model.count_params() * 4), encoding="utf-8")
    (folder / "output").write_text(model.layers[-1].name, encoding="utf-8")


def tiny(keras: Any) -> Any:
    """A convolution and a dense layer."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="last")(x))


def save_frozen(model: Any, path: Path) -> None:
    """A frozen graph with the input ``image:0`` and the output ``scores:0``."""
    import tensorflow as tf

    def call(image: Any) -> Any:
        return tf.identity(model(image, training=False), name="scores")

    spec = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="image")
    function = tf.function(call, input_signature=[spec], autograph=False).get_concrete_function()
    values = {
        inner.op.name: next(v for v in function.graph.variables if v.handle is outer)
        for outer, inner in function.graph.captures
    }
    graph = function.graph.as_graph_def()
    with path.open("wb") as file:
        for node in graph.node:
            if node.name in values:
                continue
            if node.op == "ReadVariableOp":
                constant = tf.compat.v1.NodeDef(name=node.name, op="Const")
                tensor = tf.make_tensor_proto(values[node.input[0]].numpy())
                constant.attr["dtype"].type = tensor.dtype
                constant.attr["value"].tensor.CopyFrom(tensor)
                _write_node(file, constant)
            else:
                del node.input[len([i for i in node.input if not i.startswith("^")]) :]
                _write_node(file, node)


def _write_node(file: IO[bytes], node: Any) -> None:
    """A message of ``GraphDef.node``: messages one after another are one message."""
    encoded = node.SerializeToString()
    size, length = len(encoded), bytearray([0x0A])
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    file.write(bytes(length))
    file.write(encoded)


def save_onnx(model: Any, path: Path) -> None:
    """The layers of these three models as ONNX nodes, NCHW, from ``image`` to ``scores``."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    weights: list[Any] = []
    names: dict[str, str] = {}

    def weight(name: str, values: Any) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def activated(layer: Any, value: str) -> str:
        kind = getattr(getattr(layer, "activation", None), "__name__", "linear")
        if kind == "linear":
            return value
        op = {"relu": "Relu", "softmax": "Softmax"}[kind]
        return add(
            op, [value], f"{layer.name}_{kind}", **({"axis": -1} if kind == "softmax" else {})
        )

    for layer in model.layers:
        kind, own = type(layer).__name__, [variable.numpy() for variable in layer.weights]
        inputs = [
            names[tensor._keras_history.operation.name]
            for tensor in (layer.input if isinstance(layer.input, list) else [layer.input])
            if kind != "InputLayer"
        ]
        name = layer.name
        if kind == "InputLayer":
            value = "image"
        elif kind in ("Conv2D", "DepthwiseConv2D"):
            depthwise = kind == "DepthwiseConv2D"
            kernel = own[0].transpose(2, 3, 0, 1) if depthwise else own[0].transpose(3, 2, 0, 1)
            pads = _same_pads(layer.input.shape[1], layer.kernel_size[0], layer.strides[0])
            value = add(
                "Conv",
                [inputs[0], weight(f"{name}_w", kernel)]
                + [weight(f"{name}_b", bias) for bias in own[1:]],
                name,
                kernel_shape=layer.kernel_size,
                strides=layer.strides,
                pads=pads if layer.padding == "same" else [0] * 4,
                group=layer.input.shape[-1] if depthwise else 1,
            )
            value = activated(layer, value)
        elif kind == "BatchNormalization":
            parts = [weight(f"{name}_{index}", values) for index, values in enumerate(own)]
            value = add("BatchNormalization", [*inputs, *parts], name, epsilon=layer.epsilon)
        elif kind == "ZeroPadding2D":
            (top, bottom), (left, right) = layer.padding
            around = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            value = add("Pad", [*inputs, weight(f"{name}_p", around)], name)
        elif kind == "MaxPooling2D":
            value = add(
                "MaxPool", inputs, name, kernel_shape=layer.pool_size, strides=layer.strides
            )
        elif kind == "ReLU":
            limits = [weight(f"{name}_{n}", np.float32(n)) for n in (0, 6)]
            value = add("Clip", [*inputs, *limits], name)
        elif kind == "Activation":
            value = activated(layer, inputs[0])
        elif kind == "Add":
            value = add("Add", inputs, name)
        elif kind == "GlobalAveragePooling2D":
            value = add("Flatten", [add("GlobalAveragePool", inputs, f"{name}_map")], name)
        elif kind == "Flatten":
            # Keras flattens channels last.
            value = add("Flatten", [add("Transpose", inputs, f"{name}_t", perm=[0, 2, 3, 1])], name)
        elif kind == "Dense":
            parts = [weight(f"{name}_w", own[0]), weight(f"{name}_b", own[1])]
            value = activated(layer, add("Gemm", [*inputs, *parts], name))
        elif kind == "Dropout":
            value = inputs[0]
        else:
            raise ValueError(f"no ONNX for the layer {name!r}, a {kind}")
        names[name] = value
    add("Identity", [value], "scores")
    graph = helper.make_graph(
        nodes,
        model.name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", None])],
        weights,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )


def _same_pads(size: int, kernel: int, stride: int) -> list[int]:
    """TensorFlow's ``same``: what is odd goes to the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2]


if __name__ == "__main__":
    main()
