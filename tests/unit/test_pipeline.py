"""The hot path without Spark: pieces, bounds, engines that fail."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pyspark_vision.bundles import ModelFile, ModelSpec
from pyspark_vision.executor import pipeline
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


def png(color: str, size: tuple[int, int] = (4, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def predictor(engine: MeanColors) -> Predictor:
    return Predictor(SPEC, engine, DecodeOptions(), ClassifyOptions(1, 0.0))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_rows_keep_their_order_whatever_the_batch_size(batch_size: int) -> None:
    sources = [png("red"), None, png("lime"), b"junk", png("blue"), png("red"), png("lime")]

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
    sources = [png("red"), png("black"), png("blue")]

    rows = predictor(MeanColors(batch_size)).predict(sources)

    assert [row.value and int(row.value.class_ids[0]) for row in rows] == [0, None, 2]
    assert rows[1].error is not None
    assert (rows[1].error.code.value, rows[1].error.message) == (
        "model_failed",
        "RuntimeError: black",
    )
    assert (rows[1].width, rows[1].height) == (4, 4)


@pytest.mark.parametrize(
    ("batch_rows", "sizes"),
    [
        (1, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]),
        (48, [48, 96, 192, 240, 240]),
        (300, [300, 300]),
    ],
)
def test_pieces_grow_from_one_batch_of_the_engine(batch_rows: int, sizes: list[int]) -> None:
    assert list(itertools.islice(pipeline._piece_sizes(batch_rows), len(sizes))) == sizes


def test_no_rows_run_nothing() -> None:
    engine = MeanColors(4)

    assert predictor(engine).predict([]) == []
    assert engine.runs == []


def test_decoded_pictures_leave_in_pieces_bounded_by_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "BYTES_PER_PIECE", 3 * 100 * 100)
    batch = pa.array([png("red", (100, 100))] * 5 + [None, png("red", (50, 50))], pa.binary())

    pieces = list(pipeline.decode_images(iter([batch]), DecodeOptions()))

    assert [len(piece) for piece in pieces] == [1, 1, 1, 1, 1, 2]
    assert [row["width"] for piece in pieces for row in piece.to_pylist()] == [100] * 5 + [None, 50]


@pytest.mark.parametrize(("width", "height", "n_bytes"), [(3, 3, 26), (0, 0, 0), (-1, -1, 3)])
def test_an_image_struct_with_the_wrong_number_of_bytes_is_that_rows_error(
    width: int, height: int, n_bytes: int
) -> None:
    source = {"width": width, "height": height, "data": b"\0" * n_bytes, "error": None}

    (row,) = predictor(MeanColors(1)).predict([source])

    assert row.error is not None
    assert row.error.code.value == "undecodable"
    assert f"{width}x{height}" in row.error.message


def test_a_picture_with_a_side_that_no_jpeg_holds_is_not_drawn() -> None:
    sizes = [(65_500, 1), (65_501, 1), (1, 65_500), (1, 65_501), (4, 4)]
    images = pa.array([*(png("red", size) for size in sizes), b"junk", None], pa.binary())
    none = pa.array([[]] * len(images), pa.list_(pa.null()))

    (drawn,) = pipeline.draw_on_images(iter([(images, none)]), DecodeOptions())

    jpegs = [jpeg and Image.open(io.BytesIO(jpeg)).size for jpeg in drawn.to_pylist()]
    assert jpegs == [(65_500, 1), None, (1, 65_500), None, (4, 4), None, None]


def test_the_error_of_decode_image_is_handed_on() -> None:
    error = {"code": "truncated", "message": "JPEG: cut"}
    source = {"width": None, "height": None, "data": None, "error": error}

    (row,) = predictor(MeanColors(1)).predict([source])

    assert row.error is not None
    assert (row.error.code.value, row.error.message) == ("truncated", "JPEG: cut")
