"""Whether a model's answers can be right at all: watched in each worker, and said once.

A model that is read wrongly runs and gives rows all the same. What no right model does is a warning
``model_suspect`` of the row that shows it, and a line in the worker's log: once for each model and
kind in a process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.heads import Detections, Outputs, Predictions
from pyspark_vision.executor.row_errors import RowWarning, WarningCode

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# So many different pictures with the same answer, to the last bit.
SAME_ANSWERS = 1000
# So many pictures with boxes above the threshold, and none of these in its picture.
ALL_OUTSIDE = 20
# Rounding of quantized scores, and of float16.
_ROUNDING = 5e-3
# NaN is looked for in each of the first pictures, then in one of as many: it takes a pass over all
# outputs.
_NAN_EVERY = 100
# Of a picture, each 997th value: to tell pictures apart, not to compare them.
_PIXEL_STEP = 997

_log = logging.getLogger(__name__)
_watches: dict[str, AnswerWatch] = {}


class AnswerWatch:
    """What one model has answered in this process so far."""

    def __init__(self, spec: ModelSpec) -> None:
        self._name = spec.name
        self._gives_probabilities = spec.score_kind in ("probability", "binary")
        self._said: set[str] = set()
        self._pictures = 0
        self._pictures_inside = 0
        self._pictures_outside = 0
        # While all answers are the same: the first one, and the pictures that had it.
        self._first_answer: int | None = None
        self._inputs: set[int] = set()
        self._has_varied = False

    def note(self, pixels: Array, outputs: Outputs, value: Any) -> tuple[RowWarning, ...]:
        """The warnings that this picture's answer brings, mostly none.

        ``pixels``: the model's input; ``outputs`` by role as the model gave them; ``value``: the
        head's.
        """
        self._pictures += 1
        warnings = []
        for kind, problem in self._problems(pixels, outputs, value):
            if kind not in self._said:
                self._said.add(kind)
                text = f"model {self._name!r} may be read wrongly: {problem}; see docs/models.md"
                _log.warning("%s", text)
                warnings.append(RowWarning(WarningCode.MODEL_SUSPECT, text))
        return tuple(warnings)

    def _problems(self, pixels: Array, outputs: Outputs, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, Predictions | Detections):
            yield from self._beyond(value.scores)
        if self._pictures <= _NAN_EVERY or self._pictures % _NAN_EVERY == 0:
            yield from _nan(outputs)
        if isinstance(value, Detections):
            yield from self._outside(value)
        if not self._has_varied:
            yield from self._same(pixels, outputs, value)

    def _beyond(self, scores: Array) -> Iterator[tuple[str, str]]:
        if not self._gives_probabilities or not scores.size:
            return
        low, high = float(scores.min()), float(scores.max())
        if high > 1 + _ROUNDING or low < -_ROUNDING:
            yield (
                "scores",
                f"its scores are from {low:.4g} to {high:.4g} in one picture, and the spec says "
                "that they are probabilities",
            )

    def _outside(self, found: Detections) -> Iterator[tuple[str, str]]:
        are_outside = any(one.code == WarningCode.BOXES_WITHOUT_AREA for one in found.warnings)
        if found.scores.size:
            self._pictures_inside += 1
        elif are_outside:
            self._pictures_outside += 1
        if not self._pictures_inside and self._pictures_outside >= ALL_OUTSIDE:
            yield (
                "boxes",
                f"in {self._pictures_outside} pictures with boxes above the threshold, of "
                f"{self._pictures}, none of these lies in its picture",
            )

    def _same(self, pixels: Array, outputs: Outputs, value: Any) -> Iterator[tuple[str, str]]:
        answer = hash(_answer(outputs, value))
        if self._first_answer is None:
            self._first_answer = answer
        if answer != self._first_answer:
            self._has_varied = True
            self._inputs.clear()
            return
        self._inputs.add(hash(pixels.reshape(-1)[::_PIXEL_STEP].tobytes()))
        if len(self._inputs) >= SAME_ANSWERS:
            self._has_varied = True  # said; there is no more to be learnt
            yield "same", f"its answer to {len(self._inputs):,} different pictures was the same"


def watch_of(spec: ModelSpec) -> AnswerWatch:
    """The watch of this model in this process."""
    return _watches.setdefault(spec.digest, AnswerWatch(spec))


def _nan(outputs: Outputs) -> Iterator[tuple[str, str]]:
    if "count" in outputs:  # behind the real boxes is whatever memory held
        return
    for role, values in outputs.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            count = int(np.isnan(values).sum())
            yield "nan", f"{count:,} of {values.size:,} numbers of its output {role} are NaN"


def _answer(outputs: Outputs, value: Any) -> bytes:
    """To the last bit; of a picture in which nothing was found, what the model gave."""
    if isinstance(value, Predictions):
        return bytes(value.class_ids.tobytes() + value.scores.tobytes())
    if isinstance(value, Detections):
        if not value.scores.size:
            return b"".join(values.tobytes() for values in outputs.values())
        return bytes(value.class_ids.tobytes() + value.scores.tobytes() + value.xyxy.tobytes())
    return bytes(np.asarray(value).tobytes())
