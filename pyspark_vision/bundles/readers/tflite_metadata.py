"""TensorFlow Lite's metadata: what a .tflite file says of its input, its outputs and its labels.

A flatbuffer inside the model's own (``TFLITE_METADATA``), after ``metadata_schema.fbs`` of
tflite-support, whose package no longer installs: the few fields that matter are read by their
places in its tables. The label files that it names lie in a zip at the file's end.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark_vision.errors import InvalidModelError

_NAME = b"TFLITE_METADATA"
# Numbers of the schema's unions and enums.
_BOUNDING_BOXES = 3  # ContentProperties.BoundingBoxProperties
_NORMALIZATION, _SCORE_THRESHOLD = 1, 3  # ProcessUnitOptions
_LABEL_FILES = (2, 3)  # AssociatedFileType.TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS
# BoundingBoxType with its `index`, which defaults to 0, 1, 2, 3: of left, top, right, bottom; of
# left, top, width, height; of centre, width, height.
_BOX_FORMATS = {
    (1, (0, 1, 2, 3)): "xyxy",
    (1, (1, 0, 3, 2)): "yxyx",
    (2, (0, 1, 2, 3)): "xywh",
    (3, (0, 1, 2, 3)): "cxcywh",
}
_COORDINATES = {0: "normalized", 1: "pixel"}


@dataclass(frozen=True)
class TensorMetadata:
    """One tensor's metadata: ``(x - mean) / std`` of pixels, how boxes are written, label files.

    Fields are empty or ``None`` where the metadata does not say them. ``label_files``: those
    without a locale, and in English, come first.
    """

    name: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    is_boxes: bool = False
    box_format: str | None = None
    coordinates: str | None = None
    score_threshold: float | None = None
    label_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metadata:
    """The metadata of the inputs and outputs of a model, in the model's order."""

    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()


def read_metadata(path: Path) -> Metadata:
    """The metadata in a .tflite file, empty where there is none.

    Raises :class:`InvalidModelError` where it is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(_NAME) == -1:
            return Metadata()
        try:
            model = schema.Model.GetRootAs(content, 0)
            for index in range(model.MetadataLength()):
                entry = model.Metadata(index)
                if entry.Name() == _NAME:
                    buffer = model.Buffers(entry.Buffer())
                    return _metadata(buffer.DataAsNumpy().tobytes())
        except (struct.error, IndexError, TypeError, ValueError, AttributeError) as error:
            raise InvalidModelError(f"{path}: its metadata is damaged: {error}") from None
    return Metadata()


class _Table:
    """A table of a flatbuffer, whose fields are got by their places in the schema."""

    def __init__(self, content: bytes, position: int) -> None:
        from flatbuffers.table import Table

        self._table = Table(content, position)

    def _offset(self, place: int) -> int:
        return int(self._table.Offset(4 + 2 * place))

    def number(self, place: int) -> int:
        """An enum's or a union's number; 0 without one."""
        from flatbuffers import number_types

        offset = self._offset(place)
        if not offset:
            return 0
        return int(self._table.Get(number_types.Uint8Flags, self._table.Pos + offset))

    def real(self, place: int) -> float:
        from flatbuffers import number_types

        offset = self._offset(place)
        if not offset:
            return 0.0
        return float(self._table.Get(number_types.Float32Flags, self._table.Pos + offset))

    def text(self, place: int) -> str:
        offset = self._offset(place)
        if not offset:
            return ""
        return bytes(self._table.String(self._table.Pos + offset)).decode("utf-8")

    def table(self, place: int) -> _Table | None:
        offset = self._offset(place)
        if not offset:
            return None
        return _Table(self._table.Bytes, self._table.Indirect(self._table.Pos + offset))

    def tables(self, place: int) -> Iterator[_Table]:
        offset = self._offset(place)
        if offset:
            start = self._table.Vector(offset)
            for index in range(self._table.VectorLen(offset)):
                yield _Table(self._table.Bytes, self._table.Indirect(start + 4 * index))

    def numbers(self, place: int, letter: str) -> tuple[Any, ...]:
        """A vector of four-byte numbers: ``f`` or ``I`` of :mod:`struct`."""
        offset = self._offset(place)
        if not offset:
            return ()
        count, start = self._table.VectorLen(offset), self._table.Vector(offset)
        return struct.unpack_from(f"<{count}{letter}", self._table.Bytes, start)


def _metadata(content: bytes) -> Metadata:
    root = _Table(content, struct.unpack_from("<I", content)[0])
    subgraph = next(root.tables(3), None)  # ModelMetadata.subgraph_metadata
    if subgraph is None:
        return Metadata()
    # SubGraphMetadata.input_tensor_metadata and .output_tensor_metadata
    inputs, outputs = (tuple(map(_tensor, subgraph.tables(place))) for place in (2, 3))
    return Metadata(inputs, outputs)


def _tensor(table: _Table) -> TensorMetadata:
    """``TensorMetadata``: name, …, content (3), process_units (4), …, associated_files (6)."""
    fields: dict[str, Any] = {"name": table.text(0)}
    content = table.table(3)
    if content is not None and content.number(0) == _BOUNDING_BOXES:
        fields["is_boxes"] = True
        boxes = content.table(1)
        if boxes is not None:  # index, type, coordinate_type
            index = boxes.numbers(0, "I") or (0, 1, 2, 3)
            fields["box_format"] = _BOX_FORMATS.get((boxes.number(1), index))
            fields["coordinates"] = _COORDINATES.get(boxes.number(2))
    for unit in table.tables(4):
        options = unit.table(1)
        if options is not None and unit.number(0) == _NORMALIZATION:
            fields["mean"], fields["std"] = options.numbers(0, "f"), options.numbers(1, "f")
        if options is not None and unit.number(0) == _SCORE_THRESHOLD:
            fields["score_threshold"] = options.real(0)
    # AssociatedFile: name, description, type, locale.
    files = [
        (entry.text(3), entry.text(0))
        for entry in table.tables(6)
        if entry.number(2) in _LABEL_FILES
    ]
    files.sort(key=lambda file: (file[0] != "", not file[0].startswith("en")))
    return TensorMetadata(**fields, label_files=tuple(name for _, name in files))
