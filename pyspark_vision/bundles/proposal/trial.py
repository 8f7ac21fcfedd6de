"""A model run on a few drawn pictures: what only values can tell about its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.preprocess import Preprocessor
from pyspark_vision.executor.engines import load_engine

Array = np.ndarray[Any, Any]


class NoAxisOfPicturesError(InvalidModelError):
    """An output whose first axis does not count pictures, of which a row of it is no answer."""


# A model that takes pictures in their own shape is tried with less than the largest.
_LARGEST_OWN_SHAPE = 512


def trial_hw(spec: ModelSpec) -> tuple[int, int]:
    """The size of the drawn pictures for a model: its input's, or what is quick."""
    if spec.resize != "keep_aspect":
        return spec.input_hw
    height, width = (min(side, _LARGEST_OWN_SHAPE) for side in spec.input_hw)
    return height, width


def trial_pictures(input_hw: tuple[int, int]) -> tuple[Array, ...]:
    """Grey, noise, a ramp of each colour, and discs: ``(H, W, 3)`` uint8; the grey one is blank."""
    height, width = input_hw
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ramp = np.stack([x / max(1, width - 1), y / max(1, height - 1), 1 - x / max(1, width - 1)], -1)
    discs = np.full((height, width, 3), 200, np.uint8)
    for place, color in ((0.3, (220, 30, 30)), (0.7, (20, 60, 200))):
        inside = np.hypot(x / width - place, y / height - place) < 0.2
        discs[inside] = color
    return (
        np.full((height, width, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8),
        (ramp * 255).astype(np.uint8),
        discs,
    )


def trial_runs(spec: ModelSpec, pictures: Sequence[Array]) -> list[dict[str, Array]]:
    """What the model says of each picture: role -> its output, without the axis of pictures.

    The model is loaded once. Raises :class:`InvalidModelError` where it cannot run, and
    :class:`NoAxisOfPicturesError` where an output does not have as many places as pictures.
    """
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(spec.fixed_batch or 1)
    runs = []
    try:
        engine = load_engine(spec, spec.path, threads=1)
        for pixels in pictures:
            for index in range(len(batch)):
                placement = preprocessor.fill(batch, index, Image.fromarray(pixels))
            runs.append(engine.run(preprocessor.filled(batch, placement)))
    except Exception as error:  # whatever an engine raises, the caller learns which model it was
        raise InvalidModelError(
            f"{spec.path} cannot run on {spec.file.engine} with a {batch.shape} {batch.dtype} "
            f"input: {type(error).__name__}: {error}"
        ) from error
    if not spec.batched_outputs:
        return runs
    return [
        {role: _of_first(values, role, len(batch)) for role, values in run.items()} for run in runs
    ]


def _of_first(values: Array, role: str, pictures: int) -> Array:
    """The first picture's part of an output."""
    if values.ndim and len(values) == pictures:
        own: Array = values[0]
        return own
    raise NoAxisOfPicturesError(
        f"its output for {role} has the shape {list(values.shape)} for {pictures} "
        f"picture{'s' * (pictures > 1)}: the first axis does not count pictures. Steps of a text "
        "line (CTC) come so; export the model with the axis of pictures first"
    )
