"""TensorFlow Lite's metadata put into a model, as tflite-support's writers do it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

# A table is {place in metadata_schema.fbs: value}; a list is a vector.
Table = Mapping[int, Any]


class Byte(int):
    """A number of one byte: an enum or the kind of a union."""


class Single(float):
    """A float32."""


def normalization(mean: Sequence[float], std: Sequence[float]) -> Table:
    """A ``ProcessUnit`` with ``NormalizationOptions``."""
    return {0: Byte(1), 1: {0: np.array(mean, np.float32), 1: np.array(std, np.float32)}}


def threshold(score: float) -> Table:
    """A ``ProcessUnit`` with ``ScoreThresholdingOptions``."""
    return {0: Byte(3), 1: {0: Single(score)}}


def label_file(name: str, kind: int = 2, locale: str = "") -> Table:
    """An ``AssociatedFile``: labels of an axis (2), or of values (3)."""
    return {0: name, 2: Byte(kind), **({3: locale} if locale else {})}


def boxes(kind: int = 1, index: Sequence[int] = (1, 0, 3, 2), coordinates: int = 0) -> Table:
    """A ``Content`` with ``BoundingBoxProperties``."""
    places = np.array(index, np.uint32)
    return {0: Byte(3), 1: {0: places, 1: Byte(kind), 2: Byte(coordinates)}}


def tensor(
    name: str,
    content: Table | None = None,
    units: Sequence[Table] = (),
    files: Sequence[Table] = (),
) -> Table:
    """A ``TensorMetadata``."""
    return {0: name, 4: list(units), 6: list(files), **({3: content} if content else {})}


def put_metadata(
    model: Path,
    inputs: Sequence[Table],
    outputs: Sequence[Table],
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write the metadata of its tensors into a .tflite file, and ``files`` behind it."""
    builder = flatbuffers.Builder(1024)
    root = _table(builder, {0: "model", 3: [{2: list(inputs), 3: list(outputs)}]})
    builder.Finish(root, file_identifier=b"M001")
    return put_bytes(model, bytes(builder.Output()), files)


def put_bytes(model: Path, metadata: bytes, files: Mapping[str, str] | None = None) -> Path:
    """As :func:`put_metadata`, of bytes that are taken for metadata."""
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.read_bytes(), 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    content.buffers.append(buffer)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(content.buffers) - 1
    content.metadata = [*(content.metadata or []), entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), file_identifier=b"TFL3")
    model.write_bytes(bytes(builder.Output()))
    if files:
        with zipfile.ZipFile(model, "a") as zipped:
            for name, text in files.items():
                zipped.writestr(name, text)
    return model


def _table(builder: Any, fields: Table) -> int:
    offsets = {place: _value(builder, value) for place, value in fields.items()}
    builder.StartObject(max(fields, default=0) + 1)
    for place, value in fields.items():
        if isinstance(value, Byte):
            builder.PrependUint8Slot(place, value, 0)
        elif isinstance(value, Single):
            builder.PrependFloat32Slot(place, value, 0.0)
        else:
            builder.PrependUOffsetTRelativeSlot(place, offsets[place], 0)
    return int(builder.EndObject())


def _value(builder: Any, value: Any) -> int:
    """Written before the table that holds it; 0 for what stands in the table itself."""
    if isinstance(value, Byte | Single):
        return 0
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, list):
        offsets = [_table(builder, one) for one in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    return _table(builder, value)
