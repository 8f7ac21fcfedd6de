"""A loaded text reader over pictures, row by row; Spark-free, as :mod:`predictor`."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from pyspark_vision.executor.heads import ReadOptions
from pyspark_vision.executor.images import DecodeOptions
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.executor.source_rows import Source, picture_of
from pyspark_vision.executor.text_reader import MAX_SIDE_PX, TextReader


class TextPredictor:
    """A text reader with its options. Pictures differ in size: there is no batch of them."""

    batch_rows = 1

    def __init__(
        self, reader: TextReader, decode_options: DecodeOptions, options: ReadOptions
    ) -> None:
        self._reader = reader
        self._decode = decode_options
        self._options = options

    def predict(self, sources: Iterable[Source]) -> list[Row]:
        """One row per source, in order; a bad one becomes its error."""
        return [self._row(source) for source in sources]

    def _row(self, source: Source) -> Row:
        started = time.perf_counter()
        try:
            image, size_wh = picture_of(source, self._decode, (MAX_SIDE_PX, MAX_SIDE_PX))
        except RowError as error:
            return Row(error=error, decode_ms=_ms_since(started))
        decode_ms, started = _ms_since(started), time.perf_counter()
        try:
            lines = self._reader.read(np.asarray(image), self._options)
        # As in predictor: an engine may refuse a picture, and a row must not end the worker.
        except Exception as failure:
            reason = RowError(ErrorCode.MODEL_FAILED, f"{type(failure).__name__}: {failure}")
            return Row(None, *size_wh, reason, decode_ms)
        return Row(lines, *size_wh, None, decode_ms, _ms_since(started), lines.warnings)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
