"""The hot path without Spark: pieces, their bounds, pictures that are drawn on."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from fetching import LOCAL_FILES
from pictures import plain_png
from PIL import Image

from pyspark_vision.executor import pipeline
from pyspark_vision.executor.images import DecodeOptions


@pytest.mark.parametrize(
    ("batch_rows", "sizes"),
    [
        (1, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]),
        (48, [48, 96, 192, 240, 240]),
        (300, [300, 300]),
    ],
)
def test_pieces_grow_from_one_batch_of_the_engine(batch_rows: int, sizes: list[int]) -> None:
    growing = pipeline._piece_sizes(batch_rows, most_rows=256)

    assert list(itertools.islice(growing, len(sizes))) == sizes


def test_decoded_pictures_leave_in_pieces_bounded_by_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "BYTES_PER_PIECE", 3 * 100 * 100)
    batch = pa.array(
        [plain_png("red", (100, 100))] * 5 + [None, plain_png("red", (50, 50))], pa.binary()
    )

    pieces = list(pipeline.decode_images(iter([batch]), DecodeOptions()))

    assert [len(piece) for piece in pieces] == [1, 1, 1, 1, 1, 2]
    assert [row["width"] for piece in pieces for row in piece.to_pylist()] == [100] * 5 + [None, 50]


def test_fetched_files_leave_in_pieces_bounded_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BYTES_PER_PIECE", 500)
    sizes = [200, 300, 600, 10, 20]
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}").write_bytes(b"x" * size)
    uris = [(tmp_path / f"{number}").as_uri() for number in range(len(sizes))]

    pieces = list(pipeline.fetch_objects(iter([pa.array([*uris, None])]), LOCAL_FILES))

    assert [len(piece) for piece in pieces] == [2, 1, 3]
    rows = [row for piece in pieces for row in piece.to_pylist()]
    assert [len(row["content"]) for row in rows[:-1]] == sizes
    assert rows[-1]["error"]["code"] == "null_input"


def test_a_picture_with_a_side_that_no_jpeg_holds_is_not_drawn() -> None:
    sizes = [(65_500, 1), (65_501, 1), (1, 65_500), (1, 65_501), (4, 4)]
    images = pa.array([*(plain_png("red", size) for size in sizes), b"junk", None], pa.binary())
    none = pa.array([[]] * len(images), pa.list_(pa.null()))

    (drawn,) = pipeline.draw_on_images(iter([(images, none)]), DecodeOptions())

    jpegs = [jpeg and Image.open(io.BytesIO(jpeg)).size for jpeg in drawn.to_pylist()]
    assert jpegs == [(65_500, 1), None, (1, 65_500), None, (4, 4), None, None]
