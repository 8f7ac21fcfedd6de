"""Pictures through a model, batch by batch: their order, and engines that fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pictures import encoded, plain_png
from PIL import Image

from pyspark_vision.bundles import ModelFile, ModelSpec
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.outputs.heads import ClassifyOptions
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.row_errors import WarningCode

SPEC = ModelSpec(
    name="fake",
    task="classify",
    files=(ModelFile("litert", "tflite", "m.tflite", "0" * 64, "in", (("scores", "out"),)),),
    input_hw=(2, 2),
    input_dtype="uint8",
)


class MeanColors:
    """An engine whose scores are the mean of each colour / 255; it refuses black pictures."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.runs: list[int] = []

    def run(self, batch: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        self.runs.append(len(batch))
        if not batch.reshape(len(batch), -1).any(axis=1).all():
            raise RuntimeError("black")
        return {"scores": batch.mean(axis=(1, 2)).astype(np.float32) / 255}


def predictor(engine: MeanColors) -> Predictor:
    return Predictor(SPEC, engine, DecodeOptions(), ClassifyOptions(1, 0.0))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_rows_keep_their_order_whatever_the_batch_size(batch_size: int) -> None:
    sources = [
        plain_png("red"),
        None,
        plain_png("lime"),
        b"junk",
        plain_png("blue"),
        plain_png("red"),
        plain_png("lime"),
    ]

    rows = predictor(MeanColors(batch_size)).predict(sources)

    best = [row.value and int(row.value.class_ids[0]) for row in rows]
    assert best == [0, None, 1, None, 2, 0, 1]
    assert [row.error and row.error.code.value for row in rows] == [
        None,
        "null_input",
        None,
        "unsupported_format",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_picture_that_the_engine_refuses_does_not_cost_its_neighbours(batch_size: int) -> None:
    sources = [plain_png("red"), plain_png("black"), plain_png("blue")]

    rows = predictor(MeanColors(batch_size)).predict(sources)

    assert [row.value and int(row.value.class_ids[0]) for row in rows] == [0, None, 2]
    assert rows[1].error is not None
    assert (rows[1].error.code.value, rows[1].error.message) == (
        "model_failed",
        "RuntimeError: black",
    )
    assert (rows[1].width, rows[1].height) == (4, 4)


def test_no_rows_run_nothing() -> None:
    engine = MeanColors(4)

    assert predictor(engine).predict([]) == []
    assert engine.runs == []


def animation(*colours: str) -> bytes:
    first, *others = (Image.new("RGB", (4, 4), colour) for colour in colours)
    return encoded(first, "GIF", save_all=True, append_images=others, duration=50)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_each_source_has_the_rows_of_its_frames(batch_size: int) -> None:
    sources = [
        animation("red", "lime", "blue"),
        None,
        plain_png("blue"),
        animation("lime", "black", "red"),
        b"junk",
    ]
    engine = MeanColors(batch_size)
    options = DecodeOptions(frames="all")

    found = list(Predictor(SPEC, engine, options, ClassifyOptions(1, 0.0)).stream(sources))

    answers = [
        [row.error.code.value if row.error else int(row.value.class_ids[0]) for row in rows]
        for rows in found
    ]
    assert answers == [
        [0, 1, 2],
        ["null_input"],
        [2],
        [1, "model_failed", 0],
        ["unsupported_format"],
    ]


def test_batches_of_the_engine_go_on_from_one_source_to_the_next() -> None:
    engine = MeanColors(4)
    options = DecodeOptions(frames="all")
    sources = [animation("red", "lime", "blue"), animation("red", "lime", "blue")]

    rows = list(Predictor(SPEC, engine, options, ClassifyOptions(1, 0.0)).stream(sources))

    assert [len(one) for one in rows] == [3, 3]
    assert engine.runs == [4, 2]


def test_rows_are_there_as_soon_as_their_batch_was_run() -> None:
    used: list[int] = []

    def sources() -> Iterator[bytes]:
        for number in range(6):
            used.append(number)
            yield plain_png("red")

    stream = predictor(MeanColors(2)).stream(sources())
    next(stream)

    assert used == [0, 1]


def test_what_a_picture_lacks_is_a_warning_of_its_row() -> None:
    cut = encoded(Image.new("RGB", (16, 16), "red"), "JPEG")[:-2]
    options = DecodeOptions(decode="lenient")

    (row,) = Predictor(SPEC, MeanColors(1), options, ClassifyOptions(1, 0.0)).predict([cut])

    assert row.error is None
    assert [one.code for one in row.warnings] == [WarningCode.PICTURE_INCOMPLETE]
