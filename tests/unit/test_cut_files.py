"""Files that are cut short: refused in strict mode, and in lenient mode a picture with a note."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import asymmetric, encoded, pixels, scene_jpeg, tagged
from PIL import Image

from pyspark_vision.executor.decode.images import DecodeOptions, Picture, read_picture
from pyspark_vision.executor.row_errors import RowError, WarningCode

LENIENT = DecodeOptions(decode="lenient")


def scene() -> Image.Image:
    return Image.open(io.BytesIO(scene_jpeg(3))).convert("RGB")  # 320 x 240


def said(picture: Picture) -> str:
    """The one warning's words."""
    (warning,) = picture.warnings
    assert warning.code == WarningCode.PICTURE_INCOMPLETE
    return warning.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_whole_file_has_no_warning_in_lenient_mode(kind: str) -> None:
    data = encoded(scene(), kind)
    lenient, strict = read_picture(data, LENIENT), read_picture(data, DecodeOptions())
    assert lenient.warnings == ()
    assert lenient.image.tobytes() == strict.image.tobytes()


def test_a_jpeg_without_its_end_mark_is_its_picture_with_a_note() -> None:
    whole = encoded(scene(), "JPEG")
    cut = whole[:-2]
    with pytest.raises(RowError, match="truncated"):
        read_picture(cut, DecodeOptions())
    picture = read_picture(cut, LENIENT)
    assert said(picture) == "the file is cut short: 240 of 240 rows are there"
    assert picture.image.tobytes() == read_picture(whole, DecodeOptions()).image.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("target_hw", [None, (50, 50)])
def test_a_jpeg_without_its_last_rows_has_the_others(
    mode: str, target_hw: tuple[int, int] | None
) -> None:
    whole = encoded(scene().convert(mode), "JPEG")
    picture = read_picture(whole[: len(whole) * 3 // 4], LENIENT, target_hw)
    rows = int(said(picture).split(": ")[1].split()[0])
    assert 120 <= rows < 240
    assert picture.size_wh == (320, 240)
    scale = 240 // picture.image.height
    reference = read_picture(whole, LENIENT, target_hw)
    # libjpeg smooths colours over the edge of the last row of blocks.
    own = rows // scale - 2
    assert (pixels(picture.image)[:own] == pixels(reference.image)[:own]).all()
    assert (
        pixels(picture.image)[rows // scale + 16 :] != pixels(reference.image)[rows // scale + 16 :]
    ).any()


def test_missing_rows_are_counted_as_stored_and_the_picture_is_turned_upright() -> None:
    whole = tagged(scene(), 6, "JPEG")  # stored with 240 columns and 320 rows
    picture = read_picture(whole[: len(whole) * 3 // 4], LENIENT)
    assert "of 320 rows" in said(picture)
    assert picture.size_wh == picture.image.size == (320, 240)


def test_a_progressive_jpeg_lacks_detail_and_says_so() -> None:
    whole = encoded(scene(), "JPEG", progressive=True)
    picture = read_picture(whole[: len(whole) * 2 // 3], LENIENT)
    assert "without the detail that its last scans would bring" in said(picture)
    reference = pixels(read_picture(whole, LENIENT).image)
    assert abs(pixels(picture.image) - reference).mean() < 10


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA", "I;16"])
def test_a_png_without_its_last_rows_has_the_others(mode: str) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (60, 41, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    if mode == "I;16":
        picture = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 256)
    else:
        picture = picture.convert(mode)
    whole = encoded(picture, "PNG")
    found = read_picture(whole[: len(whole) * 3 // 4], LENIENT)
    rows = int(said(found).split(": ")[1].split()[0])
    assert 30 <= rows < 60
    reference = pixels(read_picture(whole, LENIENT).image)
    assert (pixels(found.image)[:rows] == reference[:rows]).all()


def test_a_turned_png_of_which_only_the_end_is_missing_is_whole() -> None:
    whole = tagged(asymmetric(), 3, "PNG")
    found = read_picture(whole[:-20], LENIENT)
    assert said(found) == "the file is cut short: 32 of 32 rows are there"
    assert (pixels(found.image) == pixels(asymmetric())).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_with_fewer_than_half_of_its_rows_it_is_no_picture(kind: str) -> None:
    whole = encoded(scene(), kind)
    with pytest.raises(RowError) as caught:
        read_picture(whole[: len(whole) // 3], LENIENT)
    assert caught.value.code == "truncated"
    assert "of 240 rows are there" in caught.value.message


@pytest.mark.parametrize(
    ("kind", "save"), [("GIF", {}), ("BMP", {}), ("WEBP", {}), ("PNG", {"header": True})]
)
def test_what_cannot_be_completed_fails_as_in_strict_mode(kind: str, save: dict[str, Any]) -> None:
    whole = encoded(scene(), kind)
    cut = whole[:30] if save else whole[: len(whole) * 3 // 4]
    with pytest.raises(RowError) as strict:
        read_picture(cut, DecodeOptions())
    with pytest.raises(RowError) as lenient:
        read_picture(cut, LENIENT)
    assert lenient.value.args == strict.value.args


def test_an_interlaced_png_is_not_completed(shared_data: Path) -> None:
    whole = (shared_data / "pngsuite" / "png" / "basi2c08.png").read_bytes()
    with pytest.raises(RowError):
        read_picture(whole[: len(whole) * 3 // 4], LENIENT)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("truncated_image.png", "400 of 480 rows"),
        ("truncated_end_chunk.png", "128 of 128 rows"),
        ("truncated_jpeg.jpg", "100 of 100 rows"),
    ],
)
def test_cut_files_by_others_are_pictures(shared_data: Path, name: str, rows: str) -> None:
    picture = read_picture((shared_data / "hostile" / name).read_bytes(), LENIENT)
    assert rows in said(picture)


def test_damage_is_no_cut(shared_data: Path) -> None:
    for name in ("broken.png", "broken_data_stream.png"):
        with pytest.raises(RowError) as caught:
            read_picture((shared_data / "hostile" / name).read_bytes(), LENIENT)
        assert caught.value.code == "undecodable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_wherever_it_is_cut_nothing_but_row_errors_is_raised(kind: str) -> None:
    whole = encoded(asymmetric(64, 48), kind)
    for end in range(1, len(whole), 7):
        try:
            size_wh = read_picture(whole[:end], LENIENT).size_wh
        except RowError:
            continue
        assert size_wh == (64, 48)
