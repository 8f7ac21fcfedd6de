"""Text in pictures, in two stages: a detector finds lines, a recognizer reads each of them.

Between the two, a small classifier may say which lines are upside down. The three are ONNX files in
one folder, as PP-OCR has them, prepared and read as RapidOCR 1.4.4 does (``main.py`` and
``config.yaml``, whose numbers these are).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.decode.opencv import clipper, opencv
from pyspark_vision.executor.decode.preprocess import mean_std
from pyspark_vision.executor.engines.onnx import start_session
from pyspark_vision.executor.models.model_files import CHARACTERS, DETECTOR, DIRECTION, RECOGNIZER
from pyspark_vision.executor.outputs.heads import ReadOptions, TextLines
from pyspark_vision.executor.row_errors import RowWarning, WarningCode
from pyspark_vision.executor.text.text_boxes import MAX_CANDIDATES, text_quads
from pyspark_vision.executor.text.text_lines import cut_out, decode_ctc, line_input

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# The sides of a picture: no longer, no shorter; where it is resized, multiples of the stride, as
# the sides of the detector's input are.
MAX_SIDE_PX, _MIN_SIDE_PX, _STRIDE_PX = 2000, 30, 32
# What is longer gets black on both of its long sides, since the detector's input is enlarged to
# its least side. RapidOCR pads wide pictures only, and enlarges high ones without bounds.
_MAX_ASPECT = 8
# Height and width where the file leaves them open; a recognizer's input is as wide or wider.
_DIRECTION_HW, RECOGNIZER_HW = (48, 192), (48, 320)
_LINES_IN_BATCH = 6
# Above this probability a line is taken for upside down.
_UPSIDE_DOWN = 0.9


@dataclass(frozen=True)
class _Fitted:
    """A picture as lines are found in it: where in its pixels the picture lies."""

    pixels: Array
    left_top: tuple[int, int]
    size_wh: tuple[int, int]


class TextReader:
    """The models of a folder, loaded."""

    def __init__(self, spec: ModelSpec, folder: str, threads: int) -> None:
        """Raises ``ImportError`` where a package of the extra ``ocr`` is not installed."""
        clipper()
        # By default OpenCV takes all cores of the machine, which Spark gave to other tasks.
        opencv().setNumThreads(threads)
        self._least_side_px = min(spec.input_hw)
        self._is_bgr = spec.color_order == "bgr"
        self._mean, self._std = (values.astype(np.float32) for values in mean_std(spec))
        place = Path(folder)
        self.detector = _Network(place / DETECTOR, threads)
        self.recognizer = _Network(place / RECOGNIZER, threads)
        self.direction: _Network | None = None
        if (place / DIRECTION).is_file():
            self.direction = _Network(place / DIRECTION, threads)
        self._characters = json.loads((place / CHARACTERS).read_text(encoding="utf-8"))

    def read(self, rgb: Array, options: ReadOptions) -> TextLines:
        """An upright picture ``(H, W, 3)`` uint8 -> its lines of text, in reading order."""
        fitted = _fitted(np.ascontiguousarray(rgb[:, :, ::-1]) if self._is_bgr else rgb)
        height, width = fitted.pixels.shape[:2]
        quads, candidates = text_quads(
            self.score_map(fitted.pixels),
            (width, height),
            options.box_threshold,
            options.unclip_ratio,
        )
        lines = []
        for index, quad in enumerate(quads):
            line, is_turned = cut_out(fitted.pixels, quad)
            lines.append(line)
            if is_turned:  # its right side is on top now
                quads[index] = np.roll(quad, -1, axis=0)
        self._turn_upright(lines, quads)
        read = self.texts(lines)
        least = options.score_threshold
        kept = [i for i, (text, score) in enumerate(read) if text and score >= least]
        corners = (quads[kept] - np.array(fitted.left_top)) / np.array(fitted.size_wh)
        return TextLines(
            tuple(read[index][0] for index in kept),
            np.array([read[index][1] for index in kept], np.float32),
            corners.clip(0, 1).astype(np.float32),
            (_capped(candidates),) if candidates > MAX_CANDIDATES else (),
        )

    def score_map(self, pixels: Array) -> Array:
        """``(H, W, 3)`` -> how much of a text each place is, in 0..1: ``(h, w)``."""
        height, width = pixels.shape[:2]
        ratio = max(1.0, self._least_side_px / min(height, width))
        resized = opencv().resize(pixels, (_to_stride(width * ratio), _to_stride(height * ratio)))
        batch = ((resized.astype(np.float32) - self._mean) / self._std).transpose(2, 0, 1)
        score_map: Array = self.detector.run(np.ascontiguousarray(batch[np.newaxis]))[0, 0]
        return score_map

    def texts(self, lines: Sequence[Array]) -> list[tuple[str, float]]:
        """Text and score of each line; a batch is as wide as its longest one."""
        read = [("", 0.0)] * len(lines)
        height, width = self.recognizer.hw(RECOGNIZER_HW)
        for batch in _of_similar_width(lines):
            if not self.recognizer.has_fixed_width:
                longest = max(_aspect(lines[index]) for index in batch)
                width = int(height * max(RECOGNIZER_HW[1] / height, longest))
            inputs = np.stack([line_input(lines[index], (height, width)) for index in batch])
            for index, steps in zip(batch, self.recognizer.run(inputs), strict=True):
                read[index] = decode_ctc(steps, self._characters)
        return read

    def _turn_upright(self, lines: list[Array], quads: Array) -> None:
        """Lines that are upside down are turned, and their corners begin at the other end."""
        if self.direction is None:
            return
        hw = self.direction.hw(_DIRECTION_HW)
        for batch in _of_similar_width(lines):
            inputs = np.stack([line_input(lines[index], hw) for index in batch])
            for index, (_, upside_down) in zip(batch, self.direction.run(inputs), strict=True):
                if upside_down > _UPSIDE_DOWN:
                    lines[index] = np.ascontiguousarray(lines[index][::-1, ::-1])
                    quads[index] = np.roll(quads[index], 2, axis=0)


class _Network:
    """One of the files: an input ``(N, 3, H, W)``, of which all but the 3 may be open."""

    def __init__(self, path: Path, threads: int) -> None:
        # Inputs come in many sizes, and what the largest took would be kept.
        self._session = start_session(str(path), threads, keeps_arena=False)
        image = self._session.get_inputs()[0]
        self._name = image.name
        self._images, _, self._height, self._width = (
            size if isinstance(size, int) and size > 0 else None for size in image.shape
        )

    def hw(self, usual: tuple[int, int]) -> tuple[int, int]:
        """Height and width; those that the file leaves open are the usual ones."""
        return self._height or usual[0], self._width or usual[1]

    @property
    def has_fixed_width(self) -> bool:
        return self._width is not None

    def run(self, batch: Array) -> Array:
        """``(N, 3, H, W)`` -> its output ``(N, …)``."""
        at_a_time = self._images or len(batch)
        outputs = [
            self._session.run(None, {self._name: batch[start : start + at_a_time]})[0]
            for start in range(0, len(batch), at_a_time)
        ]
        return np.concatenate(outputs)


def _fitted(pixels: Array) -> _Fitted:
    height, width = (int(side) for side in pixels.shape[:2])
    if max(height, width) > MAX_SIDE_PX:
        height, width = _scaled(height, width, MAX_SIDE_PX / max(height, width))
    if min(height, width) < _MIN_SIDE_PX:
        height, width = _scaled(height, width, _MIN_SIDE_PX / min(height, width))
        # What is 1 pixel high and 2,000 wide would be 64,000 wide now.
        height, width = min(height, MAX_SIDE_PX), min(width, MAX_SIDE_PX)
    if (height, width) != pixels.shape[:2]:
        pixels = opencv().resize(pixels, (width, height))
    top = left = 0
    if height <= _MIN_SIDE_PX or width / height > _MAX_ASPECT:
        top = _padding(height, width)
    elif height / width > _MAX_ASPECT:
        left = _padding(width, height)
    if top or left:
        pixels = np.pad(pixels, ((top, top), (left, left), (0, 0)))
    return _Fitted(pixels, (left, top), (width, height))


def _scaled(height: int, width: int, ratio: float) -> tuple[int, int]:
    return _to_stride(height * ratio), _to_stride(width * ratio)


def _to_stride(side_px: float) -> int:
    return max(1, round(int(side_px) / _STRIDE_PX)) * _STRIDE_PX


def _padding(short_px: int, long_px: int) -> int:
    """Of each side, in pixels: half of what lacks to a quarter of the long side."""
    return abs(max(long_px // _MAX_ASPECT, _MIN_SIDE_PX) * 2 - short_px) // 2


def _of_similar_width(lines: Sequence[Array]) -> Iterator[list[int]]:
    """Indices in batches: the narrowest first."""
    order = sorted(range(len(lines)), key=lambda index: _aspect(lines[index]))
    for start in range(0, len(order), _LINES_IN_BATCH):
        yield order[start : start + _LINES_IN_BATCH]


def _aspect(line: Array) -> float:
    return float(line.shape[1] / line.shape[0])


def _capped(candidates: int) -> RowWarning:
    return RowWarning(
        WarningCode.LINES_CAPPED,
        f"{candidates:,} places look like text; only {MAX_CANDIDATES:,} were read: cut the picture "
        "into parts",
    )
