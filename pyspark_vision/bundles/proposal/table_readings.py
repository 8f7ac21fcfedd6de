"""The layouts of a table of boxes: which of them has as many rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pyspark_vision.bundles.proposal.reading import CONVENTIONS, Array, Reading, shown
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.executor.outputs.grids import grid_cells

# A model that suppresses its own boxes returns a few hundred (Ultralytics: 300); a raw one-class
# YOLOv5, whose rows are six numbers too, thousands.
_MOST_END_TO_END_BOXES = 1000
# A box without an object may be anything.
_LEAST_ORDERED = 0.75
# Of RT-DETR's and DETR's configurations: 100, 300; D-FINE and RT-DETRv2 have 300, Co-DETR 900.
_MOST_QUERIES = 1000
# Ultralytics' and YOLOX's grids: P5, and with a finer or a coarser one (P2, P6).
_STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))

# In parts of the picture: half of a grid's boxes lie nearer to their cells. Of offsets from these,
# which are about the same in each cell, half lie a quarter of it away and more.
_NEAR_CELLS = 0.1


def table_readings(
    tensor: TensorFound, input_hw: tuple[int, int], classes: int | None, *, ultralytics: bool
) -> Iterator[Reading]:
    """One table of boxes: which layout has as many rows and columns."""
    _, rows, columns = tensor.shape
    table = shown(tensor)
    counts = _grid_counts(input_hw)
    if columns == 6 and rows <= _MOST_END_TO_END_BOXES:
        yield _end_to_end(tensor, ultralytics=ultralytics)
    by_rows = _fits_grid(rows, counts, 1)
    if rows > 4 and (columns == -1 or rows < columns):
        is_certain = _fits_grid(columns, counts, 1) and _classes_fit(rows - 4, classes)
        yield raw_reading(
            "yolov8", tensor, f"{table}: YOLOv8's columns of a box", is_certain or ultralytics
        )
    if columns <= 5:
        return
    triple = _fits_grid(rows, counts, 3)
    if rows != -1 and rows <= _MOST_QUERIES and not (by_rows or triple) and columns < rows:
        what = f"{table}: queries of box and scores, as RT-DETR by Ultralytics"
        yield raw_reading("detr_rows", tensor, what, ultralytics)
    if rows == -1 or columns < rows:
        if not by_rows and (rows == -1 or rows > _MOST_QUERIES or not ultralytics):
            is_certain = triple and _classes_fit(columns - 5, classes)
            yield raw_reading(
                "yolov5", tensor, f"{table}: rows of box, objectness and classes", is_certain
            )
        if by_rows or rows == -1:
            if ultralytics or classes in (None, columns - 4):
                certain = ultralytics or classes == columns - 4
                rows_of_it = f"{table}: rows of box and classes"
                yolov8 = raw_reading("yolov8_rows", tensor, rows_of_it, certain)
                yield yolov8 if ultralytics else _of_cells(yolov8, input_hw, are_places=True)
            if not ultralytics and classes in (None, columns - 5):
                certain = classes == columns - 5
                what = f"{table}: rows of a grid's box, objectness and classes, as YOLOX"
                yolox = raw_reading("yolox", tensor, what, certain)
                yield _of_cells(yolox, input_hw, are_places=False)
                worked_out = raw_reading(
                    "yolov5", tensor, f"{what}, with its boxes worked out", certain
                )
                yield _of_cells(worked_out, input_hw, are_places=True)


def _of_cells(reading: Reading, input_hw: tuple[int, int], *, are_places: bool) -> Reading:
    """With a check that boxes lie at their cells, which offsets from these do not."""
    ((role, _),) = reading.roles

    def check(runs: Sequence[Mapping[str, Array]]) -> str | None:
        lie_there = _lie_at_cells(runs[-1][role][:, :4].astype(np.float64), input_hw)
        if lie_there in (None, are_places):
            return None
        if are_places:
            return "its boxes do not lie at their cells: they are offsets, which `yolox` reads"
        return "its boxes lie at their cells: they are worked out already"

    return replace(reading, check=check)


def _lie_at_cells(boxes: Array, input_hw: tuple[int, int]) -> bool | None:
    """Whether rows (centre, sides), in pixels or in 0..1, lie near the cells that they are of.

    ``None`` where that is not to be told.
    """
    for strides in _STRIDES:
        cells, of_stride = grid_cells(input_hw, strides)
        if len(cells) == len(boxes):
            break
    else:
        return None
    own = boxes.any(axis=1)
    if not own.any():
        return None
    sides = np.array(input_hw[::-1])
    middles = (cells[own] + 0.5) * of_stride[own] / sides
    away = [np.median(np.abs(boxes[own, :2] / unit - middles).max(axis=1)) for unit in (sides, 1.0)]
    return bool(min(away) < _NEAR_CELLS)


def _end_to_end(tensor: TensorFound, *, ultralytics: bool) -> Reading:
    """Of YOLO, or of EfficientDet, whose pictures are prepared in another way."""

    def are_corners(runs: Sequence[Mapping[str, Array]]) -> str | None:
        rows = np.concatenate([run["end_to_end"] for run in runs])
        left, top, right, bottom = rows[rows[:, 4] > 0][:, :4].T
        ordered = (right >= left) & (bottom >= top)
        if not ordered.size or ordered.mean() >= _LEAST_ORDERED:
            return None
        return "most of its boxes end before they begin: their numbers are no corners"

    why = f"{shown(tensor)}: a few rows of box, score and class"
    reading = raw_reading("end_to_end", tensor, why, is_certain=ultralytics)
    return replace(reading, is_certain=True, check=None if ultralytics else are_corners)


def tables_of(contents: ModelFound, input_hw: tuple[int, int]) -> list[TensorFound]:
    """The outputs that may be tables of boxes ``(N, rows, columns)``."""
    return [
        tensor
        for tensor in contents.outputs
        if len(tensor.shape) == 3 and not is_of_places(tensor, input_hw)
    ]


def shortened(tensor: TensorFound, by: int) -> Iterator[TensorFound]:
    """A table without ``by`` of its rows, then without ``by`` of its columns."""
    batch, rows, columns = tensor.shape
    if rows > by + 4:
        yield replace(tensor, shape=(batch, rows - by, columns))
    if columns > by + 4:
        yield replace(tensor, shape=(batch, rows, columns - by))


def raw_reading(role: str, tensor: TensorFound, why: str, is_certain: bool = True) -> Reading:
    """``is_certain``: the layout's conventions are those of this file, too."""
    settled = ("box_format", "normalization") if is_certain else ("box_format",)
    return Reading("detect", ((role, tensor.name),), why, CONVENTIONS[role], is_certain, settled)


def is_of_places(tensor: TensorFound, input_hw: tuple[int, int]) -> bool:
    """Whether it has a number for each place, as depths ``(1, H, W)``: no table, and no tokens."""
    return len(tensor.shape) == 3 and tensor.shape[1:] in (
        input_hw,
        tuple(side // 2 for side in input_hw),
    )


def _grid_counts(input_hw: tuple[int, int]) -> set[int]:
    """How many cells the usual grids over an input have together."""
    height, width = input_hw
    return {
        sum((height // stride) * (width // stride) for stride in strides) for strides in _STRIDES
    }


def _fits_grid(count: int, counts: set[int], anchors: int) -> bool:
    return count > 0 and count % anchors == 0 and count // anchors in counts


def _classes_fit(columns: int, classes: int | None) -> bool:
    return classes is None or columns == classes
