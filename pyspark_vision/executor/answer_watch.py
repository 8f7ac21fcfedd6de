"""Whether a model's answers can be right at all: watched in each worker, and said once in its log.

Of what one picture shows (:mod:`suspicions`) its row has a warning; here it is said once for each
model and kind in a process. What only many pictures show, the log alone says: rows do not depend on
what their worker had before them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.heads import Detections, Outputs
from pyspark_vision.executor.suspicions import OUTSIDE, Suspicion, said_of

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# So many different pictures with the same answer, to the last bit.
SAME_ANSWERS = 1000
# So many pictures with boxes above the threshold, and none of these in its picture.
ALL_OUTSIDE = 20
# Of a picture, each 997th value: to tell pictures apart, not to compare them.
_PIXEL_STEP = 997

_log = logging.getLogger(__name__)
_watches: dict[str, AnswerWatch] = {}


class AnswerWatch:
    """What one model has answered in this process so far."""

    def __init__(self, spec: ModelSpec) -> None:
        self._name = spec.name
        self._said: set[str] = set()
        self._pictures = 0
        self._pictures_outside = 0
        self._has_found = False
        # While all answers are the same: the first one, and the pictures that had it.
        self._first_answer: int | None = None
        self._inputs: set[int] = set()
        self._has_varied = False

    def note(
        self,
        pixels: Array,
        outputs: Outputs,
        values: Sequence[Any],
        suspicions: Mapping[int, Sequence[Suspicion]],
    ) -> None:
        """A batch of the engine, N pictures: the model's input and outputs ``(N, …)``, the head's
        values, and what :func:`suspicions.suspicions` says of them."""
        self._pictures += len(values)
        for of_picture in suspicions.values():
            for suspicion in of_picture:
                # One picture's boxes may lie in the padding of a right model's.
                if suspicion.kind != OUTSIDE:
                    self._say(suspicion.kind, suspicion.problem)
        if not self._has_found:
            self._note_outside(values, suspicions)
        if not self._has_varied:
            self._note_same(pixels, outputs)

    def _note_outside(
        self, values: Sequence[Any], suspicions: Mapping[int, Sequence[Suspicion]]
    ) -> None:
        self._has_found = any(
            not isinstance(value, Detections) or value.scores.size for value in values
        )
        self._pictures_outside += sum(
            suspicion.kind == OUTSIDE
            for of_picture in suspicions.values()
            for suspicion in of_picture
        )
        if not self._has_found and self._pictures_outside >= ALL_OUTSIDE:
            self._say(
                "boxes",
                f"in {self._pictures_outside} pictures with boxes above the threshold, of "
                f"{self._pictures}, none of these lies in its picture",
            )

    def _note_same(self, pixels: Array, outputs: Outputs) -> None:
        for place, picture in enumerate(pixels):
            # As the model gave it: of a head's best classes, the first may be 1.0 in all pictures.
            answer = hash(b"".join(values[place].tobytes() for values in outputs.values()))
            if self._first_answer is None:
                self._first_answer = answer
            if answer != self._first_answer:
                self._has_varied = True
                self._inputs.clear()
                return
            self._inputs.add(hash(picture.reshape(-1)[::_PIXEL_STEP].tobytes()))
            if len(self._inputs) >= SAME_ANSWERS:
                self._has_varied = True  # said; there is no more to be learnt
                number = len(self._inputs)
                self._say("same", f"its answer to {number:,} different pictures was the same")
                return

    def _say(self, kind: str, problem: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            _log.warning("%s", said_of(self._name, problem))


def watch_of(spec: ModelSpec) -> AnswerWatch:
    """The watch of this model in this process."""
    if spec.digest not in _watches:
        _watches[spec.digest] = AnswerWatch(spec)
    return _watches[spec.digest]
