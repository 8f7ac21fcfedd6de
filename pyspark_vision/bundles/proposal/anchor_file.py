"""A file of anchors -> their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pyspark_vision.errors import InvalidModelError


def read_anchors(path: str | Path) -> tuple[float, ...]:
    """The numbers of a ``.npy``, ``.json`` or text file (with commas or spaces), row by row.

    Four a row: an anchor's centre x, y, width and height in 0..1 of the input. Nothing in the file
    is executed. Raises :class:`InvalidModelError` for another file or shape.
    """
    file = Path(path)
    try:
        if file.suffix == ".npy":
            numbers = np.load(file, allow_pickle=False)
        elif file.suffix == ".json":
            numbers = np.array(json.loads(file.read_text(encoding="utf-8")), float)
        else:
            text = file.read_text(encoding="utf-8")
            rows = [line.replace(",", " ").split() for line in text.splitlines()]
            numbers = np.array([[float(n) for n in row] for row in rows if row])
        anchors = np.asarray(numbers, np.float64).reshape(-1, numbers.shape[-1])
    except (OSError, ValueError, TypeError, IndexError, EOFError) as error:
        raise InvalidModelError(f"the anchors in {file} cannot be read: {error}") from None
    if anchors.shape[1] != 4 or not len(anchors):
        raise InvalidModelError(
            f"the anchors in {file} have the shape {numbers.shape}, not (N, 4): centre x, y, width "
            "and height of each in 0..1"
        )
    return tuple(map(float, anchors.astype(np.float32).ravel()))
