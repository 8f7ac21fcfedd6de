"""A network of VGG16's shape up to ``fc2`` with drawn weights: 537 MB, ``.onnx`` or ``.tflite``.

Written without a framework, which would take several times the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIDE_PX = 224
# Simonyan and Zisserman's configuration D: filters of 3x3 convolutions; None halves the sides.
_BLOCKS = (64, 64, None, 128, 128, None, *(256,) * 3, None, *(512,) * 3, None, *(512,) * 3, None)
_DENSE = (4096, 4096)

# Kind and shape of weights: ("conv", (3, 3, in, out)), ("dense", (in, out)) or ("pool", ()).
_Layer = tuple[str, tuple[int, ...]]


def layers() -> Iterator[_Layer]:
    """The layers in their order."""
    channels, side = 3, SIDE_PX
    for filters in _BLOCKS:
        if filters is None:
            side //= 2
            yield "pool", ()
        else:
            yield "conv", (3, 3, channels, filters)
            channels = filters
    width = side * side * channels
    for units in _DENSE:
        yield "dense", (width, units)
        width = units


def weights_bytes() -> int:
    """Of all layers, in float32."""
    return sum(4 * int(np.prod(shape)) + 4 * shape[-1] for _, shape in layers() if shape)


def _drawn(index: int, shape: tuple[int, ...]) -> Array:
    """He's initialization: activations keep their size through any number of layers."""
    fan_in = int(np.prod(shape[:-1]))
    drawn = np.random.default_rng(index).standard_normal(shape, np.float32)
    drawn *= np.float32(np.sqrt(2 / fan_in))
    return drawn


def save_onnx(path: Path) -> Path:
    """NCHW, input ``image``, output ``fc2``."""
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    nodes, weights, last = [], [], "image"
    is_flat = False
    for index, (kind, shape) in enumerate(layers()):
        name = f"layer{index}"
        if kind == "pool":
            nodes.append(
                helper.make_node("MaxPool", [last], [name], kernel_shape=[2, 2], strides=[2, 2])
            )
        else:
            values = _drawn(index, shape)
            if kind == "conv":
                values = values.transpose(3, 2, 0, 1).copy()
            elif not is_flat:
                nodes.append(helper.make_node("Flatten", [last], ["flat"]))
                last, is_flat = "flat", True
            weights.append(numpy_helper.from_array(values, f"{name}_w"))
            weights.append(numpy_helper.from_array(np.zeros(shape[-1], np.float32), f"{name}_b"))
            inputs, made = [last, f"{name}_w", f"{name}_b"], [f"{name}_sum"]
            if kind == "conv":
                nodes.append(helper.make_node("Conv", inputs, made, pads=[1, 1, 1, 1]))
            else:
                nodes.append(helper.make_node("Gemm", inputs, made))
            nodes.append(helper.make_node("Relu", made, [name]))
        last = name
    nodes.append(helper.make_node("Identity", [last], ["fc2"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, SIDE_PX, SIDE_PX))
    output = helper.make_tensor_value_info("fc2", TensorProto.FLOAT, (1, _DENSE[-1]))
    graph = helper.make_graph(nodes, "vgg16_fc2", [image], [output])
    graph.initializer.extend(weights)
    weights.clear()
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    graph.Clear()
    model.ir_version = 10
    with path.open("wb") as file:
        file.write(model.SerializeToString())
    return path


def save_tflite(path: Path) -> Path:
    """NHWC, input ``image``, output ``fc2``."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Aligned(schema.BufferT):
        """Written in one piece, at the boundary that kernels load whole vectors from."""

        def Pack(self, builder: Any) -> int:
            data = None
            if self.data is not None:
                content = np.ascontiguousarray(self.data).view(np.uint8).reshape(-1)
                builder.StartVector(1, len(content), 64)
                builder.head = builder.Head() - len(content)
                builder.Bytes[builder.Head() : builder.Head() + len(content)] = content.tobytes()
                data = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return int(schema.BufferEnd(builder))

    buffers, tensors, operators = [Aligned()], [], []

    def tensor(
        name: str, shape: tuple[int, ...], values: Array | None = None, kind: int = 0
    ) -> int:
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, list(shape), kind, 0
        if values is not None:
            buffer = Aligned()
            buffer.data = values
            buffers.append(buffer)
            one.buffer = len(buffers) - 1
        tensors.append(one)
        return len(tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options: Any) -> None:
        one = schema.OperatorT()
        one.opcodeIndex, one.inputs, one.outputs = code, inputs, [output]
        one.builtinOptionsType, one.builtinOptions = kind, options
        operators.append(one)

    option, code = schema.BuiltinOptions, schema.BuiltinOperator
    codes = [code.CONV_2D, code.MAX_POOL_2D, code.RESHAPE, code.FULLY_CONNECTED]
    side, channels = SIDE_PX, 3
    last = first = tensor("image", (1, side, side, 3))
    is_flat = False
    for index, (kind, shape) in enumerate(layers()):
        name = f"layer{index}"
        if kind == "pool":
            pool = schema.Pool2DOptionsT()
            pool.padding = schema.Padding.VALID
            pool.strideW = pool.strideH = pool.filterWidth = pool.filterHeight = 2
            side //= 2
            made = tensor(name, (1, side, side, channels))
            operator(1, [last], made, option.Pool2DOptions, pool)
        elif kind == "conv":
            channels = shape[-1]
            values = _drawn(index, shape).transpose(3, 0, 1, 2).copy()
            conv = schema.Conv2DOptionsT()
            conv.padding, conv.strideW, conv.strideH = schema.Padding.SAME, 1, 1
            conv.dilationWFactor = conv.dilationHFactor = 1
            conv.fusedActivationFunction = schema.ActivationFunctionType.RELU
            weights = tensor(f"{name}_w", values.shape, values)
            bias = tensor(f"{name}_b", (channels,), np.zeros(channels, np.float32))
            made = tensor(name, (1, side, side, channels))
            operator(0, [last, weights, bias], made, option.Conv2DOptions, conv)
        else:
            if not is_flat:
                is_flat = True
                flat = tensor("flat", (1, shape[0]))
                target = np.array([1, shape[0]], np.int32)
                sizes = tensor("flat_shape", (2,), target, schema.TensorType.INT32)
                reshape = schema.ReshapeOptionsT()
                reshape.newShape = target.tolist()
                operator(2, [last, sizes], flat, option.ReshapeOptions, reshape)
                last = flat
            values = _drawn(index, shape).T.copy()
            dense = schema.FullyConnectedOptionsT()
            dense.fusedActivationFunction = schema.ActivationFunctionType.RELU
            weights = tensor(f"{name}_w", values.shape, values)
            bias = tensor(f"{name}_b", shape[-1:], np.zeros(shape[-1], np.float32))
            made = tensor(name, (1, shape[-1]))
            operator(3, [last, weights, bias], made, option.FullyConnectedOptions, dense)
        last = made
    tensors[last].name = "fc2"
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = (
        tensors,
        operators,
        [first],
        [last],
    )
    graph.name = "main"
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], buffers
    model.operatorCodes = []
    for builtin in codes:
        one = schema.OperatorCodeT()
        one.builtinCode = one.deprecatedBuiltinCode = builtin
        one.version = 1
        model.operatorCodes.append(one)
    model.description = "drawn weights"
    # At once: growing would hold two copies.
    builder = flatbuffers.Builder(weights_bytes() + (1 << 20))
    builder.Finish(model.Pack(builder), b"TFL3")
    with path.open("wb") as file:
        file.write(memoryview(builder.Bytes)[builder.Head() :])
    return path
