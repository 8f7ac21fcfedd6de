"""The hot path without Spark: pieces, their bounds, pictures that are drawn on."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fetching import LOCAL_FILES
from pictures import encoded, plain_png
from PIL import Image
from specs import spec_of

from pyspark_vision.executor import pipeline
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.models import model_files
from pyspark_vision.executor.outputs.heads import EmbedOptions
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import RowError, WarningCode
from pyspark_vision.executor.source_rows import Source, pictures_of


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


class Sizes(Predictor):
    """A predictor whose rows have the size of their picture and nothing else."""

    def __init__(self, options: DecodeOptions) -> None:
        self._options = options

    def stream(self, sources: Iterable[Source]) -> Iterator[list[Row]]:
        for source in sources:
            yield [
                Row(error=one) if isinstance(one, RowError) else Row(None, *one.size_wh)
                for one in pictures_of(source, self._options, None)
            ]


def results_of(
    monkeypatch: pytest.MonkeyPatch,
    batches: list[pa.Array],
    *,
    timings: bool = False,
    **decode: Any,
) -> list[list[Any]]:
    """``infer_lists``'s pieces as Python's values."""
    options = DecodeOptions(**decode)
    monkeypatch.setattr(pipeline, "_predictor", lambda inference: Sizes(options))
    spec = spec_of("embed")
    published = model_files.PublishedFile("m", "", False, on_every_node=True)
    inference = pipeline.Inference(
        spec, published, options, EmbedOptions(normalize=False), timings=timings
    )
    return [piece.to_pylist() for piece in pipeline.infer_lists(iter(batches), inference)]


def widths(rows: list[Any]) -> list[Any]:
    return [
        row and [one["error"]["code"] if one["error"] else one["width"] for one in row]
        for row in rows
    ]


def test_a_row_of_several_pictures_has_a_result_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = (plain_png("red", (width, 1)) for width in (1, 2, 3))
    batches = [
        pa.array([None, [], [one, None, two], [b"junk"]], pa.list_(pa.binary())),
        pa.array([[], [three], None], pa.list_(pa.binary())),
        pa.array([], pa.list_(pa.binary())),
        pa.array([None, []], pa.list_(pa.binary())),
    ]

    (rows,) = results_of(monkeypatch, batches)

    assert widths(rows) == [
        None,
        [],
        [1, "null_input", 2],
        ["unsupported_format"],
        [],
        [3],
        None,
        None,
        [],
    ]


@pytest.mark.parametrize("rows", [[None, None], [[]], []])
def test_rows_without_pictures_have_no_results(
    rows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = results_of(monkeypatch, [pa.array(rows, pa.list_(pa.binary()))])

    assert [row for piece in pieces for row in piece] == rows


def test_pieces_of_lists_end_at_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "ROWS_PER_PIECE", 3)
    png = plain_png("red")
    rows = [[png] * count for count in (1, 1, 4, 0, 2, 1)]

    pieces = results_of(monkeypatch, [pa.array(rows, pa.list_(pa.binary()))])

    assert [[len(row) for row in piece] for piece in pieces] == [[1, 1, 4], [0, 2, 1]]


def test_text_and_structs_may_stand_in_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    png = plain_png("red", (2, 1))
    text = pa.array([[base64.b64encode(png).decode(), "?"]])
    pixels = {"width": 3, "height": 1, "data": bytes(9), "error": None}
    structs = pa.array([[pixels, None]])

    assert [widths(rows) for rows in results_of(monkeypatch, [text])] == [[[2, "bad_base64"]]]
    assert [widths(rows) for rows in results_of(monkeypatch, [structs])] == [[[3, "null_input"]]]


def test_frames_of_a_file_are_the_results_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.new("L", (width, 1)) for width in (1, 2, 3)]
    tiff = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    column = pa.array([tiff, None, plain_png("red", (7, 7))], pa.binary())

    (rows,) = results_of(monkeypatch, [column], frames=2, formats=("TIFF", "PNG"), timings=True)

    assert widths(rows) == [[1, 3], ["null_input"], [7]]
    assert [one["attempts"] for row in rows for one in row] == [1, 1, 1, 1]


def test_an_array_where_one_picture_was_expected_says_how_to_register() -> None:
    with pytest.raises(TypeError, match="registered with arrays=True"):
        list(pipeline.decode_images(iter([pa.array([[b"a"]])]), DecodeOptions()))
    with pytest.raises(TypeError, match="it must be an array of pictures"):
        list(pipeline.decode_image_lists(iter([pa.array([b"a"])]), DecodeOptions()))
    with pytest.raises(TypeError, match="it must be binary"):
        list(pipeline.decode_image_lists(iter([pa.array([[1.5]])]), DecodeOptions()))


def test_arrays_of_pictures_are_decoded_to_arrays_of_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    red = plain_png("red", (10, 10))
    column = pa.array([[red, b"junk"], None, [], [red] * 4], pa.list_(pa.binary()))

    (piece,) = pipeline.decode_image_lists(iter([column]), DecodeOptions())
    monkeypatch.setattr(pipeline, "BYTES_PER_DECODED_ROW", 500)
    (bounded,) = pipeline.decode_image_lists(iter([column]), DecodeOptions())

    assert widths(piece.to_pylist()) == [[10, "unsupported_format"], None, [], [10] * 4]
    assert widths(bounded.to_pylist())[3] == [10, 10, "too_many_pixels", "too_many_pixels"]


def test_what_a_decoded_picture_lacks_stays_with_it() -> None:
    cut = encoded(Image.new("RGB", (16, 16), "red"), "JPEG")[:-2]

    (struct,) = pipeline.decode_images(iter([pa.array([cut])]), DecodeOptions(decode="lenient"))

    (source,) = struct.to_pylist()
    assert [one["code"] for one in source["warnings"]] == ["picture_incomplete"]
    (picture,) = pictures_of(source, DecodeOptions(), None)
    assert not isinstance(picture, RowError)
    assert [one.code for one in picture.warnings] == [WarningCode.PICTURE_INCOMPLETE]
