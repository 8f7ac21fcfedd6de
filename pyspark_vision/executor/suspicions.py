"""What no right model answers, seen in one picture's answer alone: the row's ``model_suspect``.

Of the picture and the model only, so that a row is the same whichever worker makes it, and however
often. What more than one picture shows is :mod:`answer_watch`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.outputs.heads import Detections, Outputs, Predictions
from pyspark_vision.executor.outputs.poses import Poses
from pyspark_vision.executor.outputs.segments import Segments
from pyspark_vision.executor.row_errors import RowWarning, WarningCode

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

# Rounding of quantized scores, and of float16.
_ROUNDING = 5e-3
# Their heads refuse NaN: the row has `model_failed`.
_REFUSING_TASKS = ("classify", "embed", "dual_encoder")

SCORES, NAN, OUTSIDE = "scores", "nan", "outside"


@dataclass(frozen=True)
class Suspicion:
    """``kind``: one of the three above; ``problem`` with its numbers."""

    kind: str
    problem: str

    def warning(self, model: str) -> RowWarning:
        """For a row of the model with this name."""
        return RowWarning(WarningCode.MODEL_SUSPECT, said_of(model, self.problem))


def said_of(model: str, problem: str) -> str:
    """The whole text, for rows and logs."""
    return f"model {model!r} may be read wrongly: {problem}; see docs/models.md"


def suspicions(
    spec: ModelSpec, outputs: Outputs, values: Sequence[Any]
) -> dict[int, list[Suspicion]]:
    """Of a batch of the engine: by the picture's place in it, of those that show something.

    ``outputs`` by role, ``(N, …)``, as the model gave them; ``values``: the head's, N.
    """
    by_place: dict[int, list[Suspicion]] = {}
    if spec.score_kind in ("probability", "binary"):
        for place, value in enumerate(values):
            for suspicion in _beyond(value):
                by_place.setdefault(place, []).append(suspicion)
    if spec.task not in _REFUSING_TASKS:
        for place, suspicion in _nan(outputs):
            by_place.setdefault(place, []).append(suspicion)
    if spec.task == "detect":
        for place, value in enumerate(values):
            for suspicion in _outside(value):
                by_place.setdefault(place, []).append(suspicion)
    return by_place


def _beyond(value: Any) -> Iterator[Suspicion]:
    if not isinstance(value, Predictions | Detections | Segments | Poses) or not value.scores.size:
        return
    # They are best first.
    high, low = value.scores[0], value.scores[-1]
    if high > 1 + _ROUNDING or low < -_ROUNDING:
        yield Suspicion(
            SCORES,
            f"its scores are from {low:.4g} to {high:.4g} in one picture, and the spec says that "
            "they are probabilities",
        )


def _nan(outputs: Outputs) -> Iterator[tuple[int, Suspicion]]:
    if "count" in outputs:  # behind the real boxes is whatever memory held
        return
    for role, values in outputs.items():
        if values.dtype.kind != "f" or not values.size:
            continue
        with np.errstate(invalid="ignore"):
            # The least is NaN where one is: no second array as large as the output.
            least = values.reshape(len(values), -1).min(axis=1)
        for place in np.flatnonzero(np.isnan(least)).tolist():
            count = int(np.isnan(values[place]).sum())
            text = f"{count:,} of {values[place].size:,} numbers of its output {role} are NaN"
            yield place, Suspicion(NAN, text)


def _outside(value: Any) -> Iterator[Suspicion]:
    if not isinstance(value, Detections) or value.scores.size:
        return
    for warning in value.warnings:
        if warning.code == WarningCode.BOXES_WITHOUT_AREA:
            shares = warning.message.partition(";")[0]
            yield Suspicion(OUTSIDE, f"all its boxes in one picture are outside of it: {shares}")
