"""Pictures through a model, batch by batch: their order, and engines that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import plain_png

from pyspark_vision.bundles import ModelFile, ModelSpec
from pyspark_vision.executor.heads import ClassifyOptions
from pyspark_vision.executor.images import DecodeOptions
from pyspark_vision.executor.predictor import Predictor

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
