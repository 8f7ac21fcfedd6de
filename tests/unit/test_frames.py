"""Frames of animations and pages of TIFFs: each a picture, bounded, and what is bad is said."""

from __future__ import annotations

from typing import Any

import pytest
from pictures import asymmetric, encoded, plain_png
from PIL import Image

from pyspark_vision.executor.decode import frames
from pyspark_vision.executor.decode.formats import ALLOWED_FORMATS
from pyspark_vision.executor.decode.images import DecodeOptions, Picture
from pyspark_vision.executor.row_errors import RowError, WarningCode

COLOURS = ("red", "lime", "blue", "white", "black")
RGB = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0))
LOSSLESS: dict[str, dict[str, Any]] = {
    "GIF": {"duration": 50},
    "PNG": {"duration": 50},
    "WEBP": {"duration": 50, "lossless": True},
    "TIFF": {},
}


def animation(kind: str, **save: Any) -> bytes:
    first, *others = (Image.new("RGB", (6, 4), colour) for colour in COLOURS)
    return encoded(first, kind, save_all=True, append_images=others, **LOSSLESS[kind], **save)


def read(data: bytes | None, **options: Any) -> list[Picture | RowError]:
    return list(frames.pictures(data, DecodeOptions(formats=ALLOWED_FORMATS, **options)))


def colours(found: list[Picture | RowError]) -> list[Any]:
    # All at once: the frames must be pictures of their own.
    return [one.image.getpixel((0, 0)) if isinstance(one, Picture) else one for one in found]


@pytest.mark.parametrize("kind", sorted(LOSSLESS))
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("first", RGB[:1]), ("all", RGB), (1, RGB), (2, RGB[::2]), (4, RGB[::4]), (9, RGB[:1])],
)
def test_first_all_or_every_nth_frame(
    kind: str, wanted: str | int, expected: tuple[Any, ...]
) -> None:
    found = read(animation(kind), frames=wanted)
    assert colours(found) == list(expected)
    assert all(isinstance(one, Picture) and one.warnings == () for one in found)


@pytest.mark.parametrize("kind", sorted(LOSSLESS))
def test_the_last_of_too_many_frames_says_so(kind: str) -> None:
    *others, last = read(animation(kind), frames="all", max_frames=3)
    assert len(others) == 2
    assert isinstance(last, Picture)
    assert [one.code for one in last.warnings] == [WarningCode.FRAMES_CAPPED]
    assert "max_frames=3" in last.warnings[0].message
    exactly = read(animation(kind), frames="all", max_frames=5)
    assert len(exactly) == 5
    assert isinstance(exactly[4], Picture)
    assert exactly[4].warnings == ()


def test_pages_of_a_tiff_have_their_own_size_and_mode() -> None:
    pages = [Image.new("RGB", (6, 4), "red"), Image.new("L", (3, 9), 7)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    found = read(data, frames="all")
    assert [one.size_wh for one in found if isinstance(one, Picture)] == [(6, 4), (3, 9)]
    assert colours(found) == [(255, 0, 0), (7, 7, 7)]


def test_the_picture_for_those_who_cannot_play_a_png_is_no_frame_of_it() -> None:
    data = animation("PNG", default_image=True)  # red stands beside the animation
    assert colours(read(data, frames="all")) == list(RGB[1:])
    assert colours(read(data)) == [RGB[0]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "HEIF"])
def test_a_still_picture_has_one_frame(kind: str) -> None:
    (found,) = read(encoded(asymmetric(), kind), frames="all")
    assert isinstance(found, Picture)
    assert found.size_wh == (48, 32)


def test_a_still_picture_may_be_lenient_about_its_end() -> None:
    (found,) = read(encoded(asymmetric(), "JPEG")[:-2], frames="all", decode="lenient")
    assert isinstance(found, Picture)
    assert [one.code for one in found.warnings] == [WarningCode.PICTURE_INCOMPLETE]


@pytest.mark.parametrize(
    ("data", "code"),
    [(None, "null_input"), (b"", "empty_input"), (b"junk", "unsupported_format")],
)
def test_what_is_no_file_of_pictures_is_one_error(data: bytes | None, code: str) -> None:
    (error,) = read(data, frames="all")
    assert isinstance(error, RowError)
    assert error.code == code


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_after_a_bad_frame_of_an_animation_there_are_no_more(kind: str) -> None:
    first, *others = (asymmetric(64, 48).rotate(turn) for turn in (0, 90, 180, 270))
    whole = encoded(first, kind, save_all=True, append_images=others, duration=50)
    *good, bad = read(whole[: len(whole) * 2 // 3], frames="all")
    assert 1 <= len(good) < 4
    assert all(isinstance(one, Picture) for one in good)
    assert isinstance(bad, RowError)
    assert bad.message.startswith(f"frame {len(good)}: {kind}")


def test_other_pages_of_a_tiff_are_read_after_a_bad_one() -> None:
    pages = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    save = {"save_all": True, "append_images": pages[1:], "compression": "tiff_deflate"}
    data = bytearray(encoded(pages[0], "TIFF", **save))
    starts = [
        at for at in range(len(data) - 1) if bytes(data[at : at + 2]) in (b"\x78\x9c", b"\x78\x5e")
    ]
    assert len(starts) == 3
    data[starts[1] : starts[1] + 6] = b"\xff" * 6
    found = read(bytes(data), frames="all")
    assert isinstance(found[1], RowError)
    assert found[1].message.startswith("frame 1: TIFF")
    assert colours([found[0], found[2]]) == [RGB[0], RGB[2]]


def test_each_frame_is_held_against_max_pixels() -> None:
    pages = [Image.new("L", (2, 2)), Image.new("L", (20, 20)), Image.new("L", (3, 3))]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    found = read(data, frames="all", max_pixels=100)
    assert isinstance(found[1], RowError)
    assert found[1].code == "too_many_pixels"
    assert [isinstance(one, Picture) for one in found] == [True, False, True]


def test_frames_of_a_still_png_are_as_the_picture_itself() -> None:
    assert colours(read(plain_png("lime"), frames=3)) == [(0, 255, 0)]
