"""One line of text: cut out of the picture, made an input, and what a recognizer says of it.

As RapidOCR 1.4.4 does it (``main.py``, ``ch_ppocr_rec``, ``ch_ppocr_cls``), which is PaddleOCR's
way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyspark_vision.executor.decode.opencv import opencv

Array = np.ndarray[Any, Any]

# A line that is so many times higher than wide is written from top to bottom, or turned by 90
# degrees.
_TALL = 1.5
# Class 0 of a CTC recognizer is "no further character".
_BLANK = 0


def cut_out(pixels: Array, quad: Array) -> tuple[Array, bool]:
    """The inside of a quadrilateral as a rectangle ``(h, w, 3)``, and whether it was turned.

    A tall one is turned by 90 degrees against the clock.
    """
    cv2 = opencv()
    top_left, top_right, bottom_right, bottom_left = quad
    width, height = (
        max(1, int(max(np.linalg.norm(a - b), np.linalg.norm(c - d))))
        for a, b, c, d in (
            (top_left, top_right, bottom_right, bottom_left),
            (top_left, bottom_left, top_right, bottom_right),
        )
    )
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    line = cv2.warpPerspective(
        pixels,
        cv2.getPerspectiveTransform(quad.astype(np.float32), target),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
        flags=cv2.INTER_CUBIC,
    )
    if height / width >= _TALL:
        return np.ascontiguousarray(np.rot90(line)), True
    return line, False


def line_input(line: Array, input_hw: tuple[int, int]) -> Array:
    """A line ``(h, w, 3)`` -> ``(3, H, W)`` float32 in -1..1: to the height H, zeros on its right.

    A line that is longer than W is pressed together.
    """
    height, width = input_hw
    own_width = min(width, math.ceil(height * line.shape[1] / line.shape[0]))
    resized = opencv().resize(line, (own_width, height))
    prepared = np.zeros((3, height, width), np.float32)
    prepared[:, :, :own_width] = (resized.astype(np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5
    return prepared


def decode_ctc(probabilities: Array, characters: Sequence[str]) -> tuple[str, float]:
    """``(T, C)`` probabilities of T steps -> the text, and the mean of its characters' own.

    The best class of each step; what is repeated counts once, and class 0 not at all (Graves et
    al., "Connectionist Temporal Classification", 2006, best path decoding). ``characters``: of
    each class, that of class 0 is not looked at. No character at all scores 0.

    >>> steps = np.eye(3)[[1, 1, 0, 1, 2]] * 0.9
    >>> decode_ctc(steps, ["", "a", "b"])
    ('aab', 0.9)
    """
    classes = probabilities.argmax(axis=1)
    is_new = np.ones(len(classes), bool)
    is_new[1:] = classes[1:] != classes[:-1]
    counts = is_new & (classes != _BLANK)
    if not counts.any():
        return "", 0.0
    text = "".join(characters[index] for index in classes[counts])
    return text, float(probabilities.max(axis=1)[counts].mean())
