"""A frozen graph's file -> the graph without its large constants, and those as arrays.

A ``GraphDef`` with its weights in it is copied whole at each step from the file to the kernels
(Python's bytes, the message, its serialized form, TensorFlow's own message, its functions), and
has 2 GB at most. So the file's protocol buffers are walked, and weights go to their place at once.

The numbers of fields are those of ``graph.proto``, ``node_def.proto``, ``attr_value.proto`` and
``tensor.proto`` of TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.executor.engines import aligned

Array = np.ndarray[Any, Any]

# Constants below it stay in the graph: TensorFlow folds small ones into others.
LARGE_BYTES = 1 << 20

# Protocol buffers' wire types; those of fixed size with their bytes.
_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BYTES = 10

_GRAPH_NODE = 1
_NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE = 1, 2, 5
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_TENSOR = 8
_TENSOR_DTYPE, _TENSOR_SHAPE, _TENSOR_CONTENT = 1, 2, 4


@dataclass(frozen=True)
class _Field:
    """A field of a message, from its tag at ``tag`` on: a number, or bytes ``start`` to ``end``."""

    number: int
    tag: int
    value: int
    start: int
    end: int


@dataclass(frozen=True)
class _Constant:
    """A ``Const`` node whose values lie in the file from ``start`` on."""

    name: str
    dtype: int
    shape: bytes
    start: int
    size: int


def read_graph(path: str | Path, *, values: bool = True) -> tuple[Any, dict[str, Array]]:
    """The ``GraphDef`` in ``path``, and its constants of a megabyte or more by their node's name.

    In the graph itself these are zero. With ``values=False`` they are not read, and the dictionary
    is empty. Raises protobuf's ``DecodeError`` for what is no graph or was cut short, ``OSError``.
    """
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    arrays: dict[str, Array] = {}
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        merged = 0  # what lies before it is in the graph
        for field in _fields(file, 0, end):
            large = field.number == _GRAPH_NODE and field.end - field.start >= LARGE_BYTES
            constant = _constant(file, field) if large else None
            if constant is None:
                continue
            node = _zeros(tf, constant)
            shape = tf.TensorShape(node.attr["value"].tensor.tensor_shape)
            dtype = tf.as_dtype(constant.dtype)
            if constant.size != shape.num_elements() * dtype.size:
                continue
            graph_def.MergeFromString(_read(file, merged, field.tag))
            merged = field.end
            graph_def.node.append(node)
            if values:
                array = aligned.empty(shape.as_list(), dtype.as_numpy_dtype)
                file.seek(constant.start)
                file.readinto(array.reshape(-1).view(np.uint8).data)
                arrays[constant.name] = array
        graph_def.MergeFromString(_read(file, merged, end))
    return graph_def, arrays


def _fields(file: BufferedReader, start: int, end: int) -> Iterator[_Field]:
    position = start
    while position < end:
        tag = position
        key, position = _varint(file, position, end)
        number, wire = key >> 3, key & 7
        value = 0
        if wire == _VARINT:
            value, after = _varint(file, position, end)
        elif wire == _BYTES:
            size, position = _varint(file, position, end)
            after = position + size
        elif wire in _FIXED_BYTES:
            after = position + _FIXED_BYTES[wire]
        else:
            raise _decode_error(f"wire type {wire} at byte {tag}")
        if after > end or number == 0:
            raise _decode_error(f"field {number} at byte {tag} does not end within its message")
        yield _Field(number, tag, value, position, after)
        position = after


def _varint(file: BufferedReader, position: int, end: int) -> tuple[int, int]:
    """The number at ``position``, and where it ends."""
    file.seek(position)
    encoded = file.read(min(_VARINT_BYTES, end - position))
    value = 0
    for index, byte in enumerate(encoded):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _decode_error(f"no number at byte {position}")


def _constant(file: BufferedReader, node: _Field) -> _Constant | None:
    """A large node, if it is a ``Const`` whose values stand in it as they do in memory."""
    name = op = shape = b""
    dtype, content = 0, None
    for field in _fields(file, node.start, node.end):
        if field.number == _NODE_NAME:
            name = _read(file, field.start, field.end)
        elif field.number == _NODE_OP:
            op = _read(file, field.start, field.end)
        elif field.number == _NODE_ATTRIBUTE:
            for tensor in _tensors(file, field):
                if tensor.number == _TENSOR_DTYPE:
                    dtype = tensor.value
                elif tensor.number == _TENSOR_SHAPE:
                    shape = _read(file, tensor.start, tensor.end)
                elif tensor.number == _TENSOR_CONTENT:
                    content = tensor
    if op != b"Const" or content is None:
        return None
    return _Constant(name.decode(), dtype, shape, content.start, content.end - content.start)


def _tensors(file: BufferedReader, attribute: _Field) -> Iterator[_Field]:
    """The fields of the tensor in a node's attribute ``value``."""
    key = b""
    for entry in _fields(file, attribute.start, attribute.end):
        if entry.number == _ENTRY_KEY:
            key = _read(file, entry.start, entry.end)
        elif entry.number == _ENTRY_VALUE and key == b"value":
            for value in _fields(file, entry.start, entry.end):
                if value.number == _VALUE_TENSOR:
                    yield from _fields(file, value.start, value.end)


def _zeros(tf: Any, constant: _Constant) -> Any:
    """The node with a shape and no values, which stands for zeros."""
    node = tf.compat.v1.NodeDef(name=constant.name, op="Const")
    node.attr["dtype"].type = constant.dtype
    tensor = node.attr["value"].tensor
    tensor.dtype = constant.dtype
    tensor.tensor_shape.ParseFromString(constant.shape)
    return node


def _read(file: BufferedReader, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _decode_error(text: str) -> Exception:
    from google.protobuf.message import DecodeError

    error: Exception = DecodeError(text)
    return error
