"""Masks as runs of pixels in COCO's order and text, made without a whole mask in memory.

COCO counts pixels column by column: the pixel in row ``y`` of column ``x`` is number
``x * height + y``. A mask is the lengths of its runs in turn, of pixels outside and inside, and
its text is that of ``rleToString`` in cocoapi's ``common/maskApi.c``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Pixels that are worked on at a time: 4 MB of float32.
_BLOCK_PIXELS = 1 << 20
# Sides of the squares in which the best class of each pixel is found. Of a square's many classes
# few can be the best one anywhere in it, the fewer the smaller it is.
_TILE_PX = 64
# Of a class map: no class at all, outside of what the model has seen.
NO_CLASS = np.iinfo(np.uint16).max
# A side moves by float32's rounding, which must not take a column of pixels with it.
_ROUNDING_PX = 1e-3
# Five bits for each character of a number of up to 32 bits and its sign.
_MOST_CHARACTERS = 7


@dataclass(frozen=True)
class Runs:
    """Pixels of a picture: ``starts`` and ``ends`` ``(N,)`` int64, ascending and apart."""

    hw: tuple[int, int]
    starts: Array
    ends: Array

    @property
    def area(self) -> int:
        """How many pixels."""
        return int((self.ends - self.starts).sum())

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """The box around them, normalized to the picture; all 0 where there are none."""
        if not self.starts.size:
            return 0.0, 0.0, 0.0, 0.0
        height, width = self.hw
        last = self.ends - 1
        left, right = self.starts[0] // height, last[-1] // height + 1
        # What goes on into the next column has been at the lower edge and at the upper one.
        over = (self.starts // height != last // height).any()
        top, bottom = (self.starts % height).min(), (last % height).max() + 1
        top, bottom = (0, height) if over else (top, bottom)
        return (
            float(left) / width,
            float(top) / height,
            float(right) / width,
            float(bottom) / height,
        )

    @property
    def counts(self) -> str:
        """COCO's compressed text.

        >>> Runs((2, 3), np.array([1]), np.array([4])).counts
        '132'
        """
        return compressed(_lengths(self))


def compressed(lengths: Array) -> str:
    """Lengths of runs ``(N,)``, the first outside -> COCO's text (``rleToString``)."""
    left = lengths.astype(np.int64)
    left[3:] = lengths[3:] - lengths[1:-2]
    characters = np.zeros((left.size, _MOST_CHARACTERS), np.uint8)
    goes_on = np.ones(left.size, bool)
    for place in range(_MOST_CHARACTERS):
        bits = left & 0x1F
        left = left >> 5
        has_more = goes_on & np.where(bits & 0x10, left != -1, left != 0)
        characters[:, place] = np.where(goes_on, (bits | (has_more << 5)) + 48, 0)
        goes_on = has_more
    return bytes(characters[characters > 0]).decode("ascii")


def decompressed(counts: str) -> Array:
    """COCO's text -> lengths of runs ``(N,)`` (``rleFrString``); ``ValueError`` for other text.

    >>> decompressed("132").tolist()
    [1, 3, 2]
    """
    coded = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    is_last = (coded & 0x20) == 0
    if coded.size and (coded.min() < 0 or coded.max() > 0x3F or not is_last[-1]):
        raise ValueError("not a run-length mask in COCO's text")
    if not coded.size:
        return coded
    ends = np.flatnonzero(is_last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).max() > _MOST_CHARACTERS:
        raise ValueError("a run-length mask with a number of more than 32 bits")
    place = np.arange(coded.size) - np.repeat(starts, ends - starts)
    lengths = np.add.reduceat((coded & 0x1F) << (5 * place), starts)
    is_negative = (coded[ends - 1] & 0x10) != 0
    lengths -= is_negative.astype(np.int64) << (5 * (ends - starts))
    lengths[1::2] = np.cumsum(lengths[1::2])
    lengths[2::2] = np.cumsum(lengths[2::2])
    return lengths


def decoded(size: tuple[int, int], counts: str) -> Array:
    """A mask's ``size`` and ``counts`` -> ``(height, width)`` bool.

    ``ValueError`` where the runs are not as many pixels as the size says.
    """
    height, width = size
    lengths = decompressed(counts)
    if height < 1 or width < 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"runs of {int(lengths.sum())} pixels do not fill {width}x{height}")
    inside = np.arange(lengths.size) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T


@dataclass(frozen=True)
class Axis:
    """How the pixels of one side of the picture lie on a map's cells.

    ``pixels`` that the model has seen, from ``first`` on: each lies between the centres of the
    cells ``low`` and ``high``, ``part`` of the way (0..1); ``nearest`` is the cell it lies in.
    """

    first: int
    low: Array
    high: Array
    part: Array
    nearest: Array

    @property
    def pixels(self) -> int:
        """How many pixels."""
        return int(self.low.size)

    def within(self, begin: float, end: float) -> Axis:
        """Only the pixels ``begin <= pixel < end``, as Ultralytics' ``crop_mask`` takes them."""
        first = max(0, int(np.ceil(begin - _ROUNDING_PX)) - self.first)
        last = max(first, int(np.ceil(end - _ROUNDING_PX)) - self.first)
        return self._part(slice(first, last))

    def tiles(self, most_pixels: int) -> Iterator[Axis]:
        """The same pixels in pieces of at most ``most_pixels``, in their order."""
        for start in range(0, self.pixels, most_pixels):
            yield self._part(slice(start, start + most_pixels))

    def window(self) -> tuple[slice, Axis]:
        """The cells that count, and the axis over them alone."""
        if not self.pixels:
            return slice(0, 0), self
        begin, end = int(self.low[0]), int(self.high[-1]) + 1
        own = Axis(self.first, self.low - begin, self.high - begin, self.part, self.nearest - begin)
        return slice(begin, end), own

    def _part(self, cut: slice) -> Axis:
        pixels = (self.low[cut], self.high[cut], self.part[cut], self.nearest[cut])
        return Axis(self.first + cut.start, *pixels)


def axis(cells: int, pixels: int, scale: float, shift: float) -> Axis:
    """``cells`` of a map over ``pixels`` of the picture, where ``source = scale * map + shift``.

    Cells' centres are half a cell from their sides, and beyond the outermost centres values stay
    as they are: PyTorch's ``interpolate`` with ``align_corners=False``, OpenCV's ``INTER_LINEAR``.
    Cells of a letterbox's padding are left out, to whole cells, as Ultralytics' ``scale_masks``.
    """
    centers = (np.arange(pixels) + 0.5) / pixels
    places = (centers - shift) / scale
    has_seen = np.flatnonzero((places >= 0) & (places < 1))
    first, last = (int(has_seen[0]), int(has_seen[-1]) + 1) if has_seen.size else (0, 0)
    places = places[first:last] * cells
    begin = min(max(0, round(-shift / scale * cells)), cells - 1)
    end = max(begin, min(cells, round((1 - shift) / scale * cells)) - 1)
    along = np.clip(places - 0.5, begin, end)
    low = np.floor(along).astype(np.int64)
    nearest = np.clip(np.floor(places).astype(np.int64), 0, cells - 1)
    part = (along - low).astype(np.float32)
    return Axis(first, low, np.minimum(low + 1, end), part, nearest)


def runs_above(
    values: Array, threshold: float, rows: Axis, columns: Axis, hw: tuple[int, int]
) -> Runs:
    """The pixels whose value, between those of a map ``(h, w)``, is above ``threshold``."""
    runs: list[tuple[Array, Array]] = []
    if rows.pixels:
        for block in columns.tiles(max(1, _BLOCK_PIXELS // rows.pixels)):
            of_columns = _between(values, block, 1)
            inside = _between(of_columns.T, rows, 1) > threshold
            runs.append(_runs_of_columns(inside, block.first, rows.first, hw[0]))
    return _joined(runs, hw)


def best_classes(scores: Array, rows: Axis, columns: Axis, hw: tuple[int, int]) -> Array:
    """The class of each pixel that is best between the cells of ``(C, h, w)`` scores.

    Returns ``(width, height)`` uint16, columns first as COCO counts; ``NO_CLASS`` where the model
    has not looked. Ties keep the lower class.
    """
    height, width = hw
    best = np.full((width, height), NO_CLASS, np.uint16)
    likely = _likely_classes(scores)
    for across in columns.tiles(_TILE_PX):
        of_columns, across = across.window()
        for down in rows.tiles(_TILE_PX):
            of_rows, down = down.window()
            x, y = across.first, down.first
            tile = best[x : x + across.pixels, y : y + down.pixels]
            between = likely[:, of_rows.start : of_rows.start + int(down.low[-1]) + 1]
            between = between[:, :, of_columns.start : of_columns.start + int(across.low[-1]) + 1]
            classes = np.flatnonzero(between.any(axis=(1, 2)))
            if classes.size == 1:
                tile[...] = classes[0]
                continue
            window = scores[classes, of_rows, of_columns]
            mixed = _between(_between(window, across, 2), down, 1)
            tile[...] = classes[mixed.argmax(axis=0)].T
    return best


def _likely_classes(scores: Array) -> Array:
    """``(C, h, w)`` -> which classes can be the best between a cell, its right and lower ones.

    No value in between is above the largest of its corners, or below the least one.
    """
    most, least = scores, scores
    for side in (1, 2):
        after = [*range(1, scores.shape[side]), scores.shape[side] - 1]
        most = np.maximum(most, np.take(most, after, axis=side))
        least = np.minimum(least, np.take(least, after, axis=side))
    likely: Array = most >= least.max(axis=0)
    return likely


def nearest_classes(class_map: Array, rows: Axis, columns: Axis, hw: tuple[int, int]) -> Array:
    """As :func:`best_classes`, of a map ``(h, w)`` that holds the classes themselves."""
    height, width = hw
    best = np.full((width, height), NO_CLASS, np.uint16)
    x, y = columns.first, rows.first
    best[x : x + columns.pixels, y : y + rows.pixels] = class_map[
        np.ix_(rows.nearest, columns.nearest)
    ].T
    return best


def runs_of_classes(classes: Array) -> Iterator[tuple[int, Runs]]:
    """``(width, height)`` classes -> each class with its runs, in ascending order."""
    width, height = classes.shape
    flat = classes.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], starts])
    ends = np.concatenate([starts[1:], [flat.size]])
    of_runs = flat[starts]
    order = np.argsort(of_runs, kind="stable")
    class_ids, first = np.unique(of_runs[order], return_index=True)
    for class_id, own in zip(class_ids.tolist(), np.split(order, first[1:]), strict=True):
        if class_id != NO_CLASS:
            yield class_id, Runs((height, width), starts[own], ends[own])


def _between(values: Array, along: Axis, number: int) -> Array:
    """Linear between neighbours, at each of the pixels of ``along``, which is axis ``number``."""
    shape = [1] * values.ndim
    shape[number] = along.pixels
    lower = np.take(values, along.low, axis=number)
    upper = np.take(values, along.high, axis=number)
    mixed: Array = lower + (upper - lower) * along.part.reshape(shape)
    return mixed


def _runs_of_columns(inside: Array, x: int, y: int, height: int) -> tuple[Array, Array]:
    """``(columns, rows)`` bool, whose first pixel is ``x, y`` -> starts and ends of runs."""
    columns, rows = inside.shape
    edged = np.zeros((columns, rows + 2), np.int8)
    edged[:, 1:-1] = inside
    steps = np.diff(edged, axis=1)
    pixels = []
    for step in (1, -1):
        column, row = np.nonzero(steps == step)
        pixels.append((column + x) * height + row + y)
    return pixels[0], pixels[1]


def _joined(runs: list[tuple[Array, Array]], hw: tuple[int, int]) -> Runs:
    """Runs that end where the next one starts, at the top of a column, are one."""
    empty = np.empty(0, np.int64)
    starts = np.concatenate([empty, *(starts for starts, _ in runs)])
    ends = np.concatenate([empty, *(ends for _, ends in runs)])
    is_new = np.ones(starts.size, bool)
    is_new[1:] = starts[1:] != ends[:-1]
    is_last = np.ones(starts.size, bool)
    is_last[:-1] = is_new[1:]
    return Runs(hw, starts[is_new], ends[is_last])


def _lengths(runs: Runs) -> Array:
    """Of runs outside and inside in turn; the first is outside, and may be 0."""
    height, width = runs.hw
    edges = np.stack([runs.starts, runs.ends], axis=1).reshape(-1)
    lengths = np.diff(edges, prepend=0, append=height * width)
    return lengths if lengths[-1] or lengths.size == 1 else lengths[:-1]
