"""A loaded model over pictures, batch by batch; Spark-free, so that bundles are checked with it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.answer_watch import AnswerWatch
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.decode.preprocess import Placement, Preprocessor
from pyspark_vision.executor.outputs import heads
from pyspark_vision.executor.outputs.heads import HeadOptions
from pyspark_vision.executor.outputs.poses import detect_poses
from pyspark_vision.executor.outputs.segments import segment
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError, RowWarning
from pyspark_vision.executor.source_rows import Source, pictures_of
from pyspark_vision.executor.suspicions import suspicions

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.engines import Engine


@dataclass(frozen=True)
class _Waiting:
    """A picture that stands in the engine's batch: where its row is, and what is known of it."""

    rows: list[Row]
    index: int
    placement: Placement
    size_wh: tuple[int, int]
    warnings: tuple[RowWarning, ...]
    decode_ms: float


class Predictor:
    """A loaded model with its options; ``watch`` sees all answers, and changes none."""

    def __init__(
        self,
        spec: ModelSpec,
        engine: Engine,
        decode_options: DecodeOptions,
        head: HeadOptions,
        watch: AnswerWatch | None = None,
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._decode = decode_options
        self._head = head
        self._watch = watch
        self._preprocessor = Preprocessor(spec, exact=decode_options.exact)
        takes_many = spec.batched_outputs and spec.resize != "keep_aspect"
        self.batch_rows = (spec.fixed_batch or engine.batch_size) if takes_many else 1
        self._batch = self._preprocessor.empty_batch(self.batch_rows)

    def predict(self, sources: Iterable[Source]) -> list[Row]:
        """One row per source, in order; a bad one becomes its error."""
        return [rows[0] for rows in self.stream(sources)]

    def stream(self, sources: Iterable[Source]) -> Iterator[list[Row]]:
        """The rows of each source's pictures, in order: one, or as many as there are frames.

        A bad picture's row is its error. The engine's batches go on from one source to the next.
        """
        unfinished: deque[list[Row]] = deque()
        waiting: list[_Waiting] = []
        for source in sources:
            rows: list[Row] = []
            unfinished.append(rows)
            started = time.perf_counter()
            for picture in pictures_of(source, self._decode, self._preprocessor.decode_hw):
                if isinstance(picture, RowError):
                    rows.append(Row(error=picture, decode_ms=_ms_since(started)))
                else:
                    placement = self._preprocessor.fill(self._batch, len(waiting), picture.image)
                    size_wh, warnings = picture.size_wh, picture.warnings
                    took_ms = _ms_since(started)
                    waiting.append(_Waiting(rows, len(rows), placement, size_wh, warnings, took_ms))
                    rows.append(Row())
                    if len(waiting) == len(self._batch):
                        self._run(waiting)
                        waiting = []
                started = time.perf_counter()
            while unfinished and not (waiting and waiting[0].rows is unfinished[0]):
                yield unfinished.popleft()
        if waiting:
            self._run(waiting)
        yield from unfinished

    def _run(self, waiting: Sequence[_Waiting]) -> None:
        try:
            self._run_batch(waiting, 0)
        # An engine may refuse one picture of a batch: the others must not pay for it.
        except Exception as failure:
            for position, waiting_picture in enumerate(waiting):
                reason = failure
                if len(waiting) > 1:
                    try:
                        self._run_batch([waiting_picture], position)
                        continue
                    except Exception as own_failure:
                        reason = own_failure
                error = RowError(ErrorCode.MODEL_FAILED, f"{type(reason).__name__}: {reason}")
                waiting_picture.rows[waiting_picture.index] = Row(
                    None, *waiting_picture.size_wh, error, waiting_picture.decode_ms
                )

    def _run_batch(self, waiting: Sequence[_Waiting], start: int) -> None:
        count = len(waiting)
        batch = self._batch[start : start + count]
        if self._spec.fixed_batch is not None and count < self._spec.fixed_batch:
            # The rest of the buffer is earlier pictures or noise; its results are not looked at.
            batch = self._batch
        started = time.perf_counter()
        outputs = self._engine.run(self._preprocessor.filled(batch, waiting[0].placement))
        if not self._spec.batched_outputs:
            outputs = {role: values[np.newaxis] for role, values in outputs.items()}
        model_ms = _ms_since(started) / count
        if batch is self._batch:
            outputs = {role: values[start : start + count] for role, values in outputs.items()}
        head_values = [
            self._value({role: values[place] for role, values in outputs.items()}, picture)
            for place, picture in enumerate(waiting)
        ]
        doubts = suspicions(self._spec, outputs, head_values)
        if self._watch is not None:
            self._watch.note(self._batch[start : start + count], outputs, head_values, doubts)
        for place, (picture, value) in enumerate(zip(waiting, head_values, strict=True)):
            warnings = (*picture.warnings, *getattr(value, "warnings", ()))
            if place in doubts:
                warnings += tuple(doubt.warning(self._spec.name) for doubt in doubts[place])
            picture.rows[picture.index] = Row(
                value, *picture.size_wh, None, picture.decode_ms, model_ms, warnings
            )

    def _value(self, outputs: heads.Outputs, picture: _Waiting) -> Any:
        if isinstance(self._head, heads.ClassifyOptions):
            return heads.classify(self._spec, outputs, self._head)
        if isinstance(self._head, heads.DetectOptions):
            return heads.detect(self._spec, outputs, picture.placement, self._head)
        if isinstance(self._head, heads.SegmentOptions):
            return segment(self._spec, outputs, picture.placement, picture.size_wh, self._head)
        if isinstance(self._head, heads.PoseOptions):
            return detect_poses(self._spec, outputs, picture.placement, self._head)
        if isinstance(self._head, heads.MatchOptions):
            return heads.match(self._spec, outputs, self._head)
        assert isinstance(self._head, heads.EmbedOptions)  # lines are read by text_predictor
        return heads.embed(self._spec, outputs, self._head)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
