"""A loaded text reader over pictures, row by row; Spark-free, as :mod:`predictor`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np

from pyspark_vision.executor.decode.images import DecodeOptions, Picture
from pyspark_vision.executor.outputs.heads import ReadOptions
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.executor.source_rows import Source, pictures_of
from pyspark_vision.executor.text.text_reader import MAX_SIDE_PX, TextReader


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
        return [rows[0] for rows in self.stream(sources)]

    def stream(self, sources: Iterable[Source]) -> Iterator[list[Row]]:
        """The rows of each source's pictures, in order, as of :meth:`Predictor.stream`."""
        for source in sources:
            rows: list[Row] = []
            started = time.perf_counter()
            for picture in pictures_of(source, self._decode, (MAX_SIDE_PX, MAX_SIDE_PX)):
                rows.append(self._row(picture, _ms_since(started)))
                started = time.perf_counter()
            yield rows

    def _row(self, picture: Picture | RowError, decode_ms: float) -> Row:
        if isinstance(picture, RowError):
            return Row(error=picture, decode_ms=decode_ms)
        size_wh, started = picture.size_wh, time.perf_counter()
        try:
            lines = self._reader.read(np.asarray(picture.image), self._options)
        # As in predictor: an engine may refuse a picture, and a row must not end the worker.
        except Exception as failure:
            reason = RowError(ErrorCode.MODEL_FAILED, f"{type(failure).__name__}: {failure}")
            return Row(None, *size_wh, reason, decode_ms)
        return Row(
            lines,
            *size_wh,
            None,
            decode_ms,
            _ms_since(started),
            (*picture.warnings, *lines.warnings),
        )


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
