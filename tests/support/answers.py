"""Heads' values of one picture, for tests of what looks at them."""

from __future__ import annotations

import numpy as np

from pyspark_vision.executor.outputs.heads import Detections, Predictions
from pyspark_vision.executor.row_errors import RowWarning, WarningCode

OUTSIDE = (RowWarning(WarningCode.BOXES_WITHOUT_AREA, "1 of 1 boxes; they are left out"),)


def classes(*scores: float) -> Predictions:
    """Classes 0, 1, … with these scores."""
    return Predictions(np.arange(len(scores)), np.array(scores, np.float32))


def boxes(*scores: float, warnings: tuple[RowWarning, ...] = ()) -> Detections:
    """Boxes of class 0 with these scores, in no particular place."""
    count = len(scores)
    xyxy = np.zeros((count, 4), np.float32)
    return Detections(np.zeros(count, int), np.array(scores, np.float32), xyxy, warnings)
