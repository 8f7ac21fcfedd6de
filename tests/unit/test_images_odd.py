"""Pictures of odd sizes, tags and modes: what a crop, a strip or a strange tag must not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import asymmetric, encoded, pixels, tagged
from PIL import Image
from specs import spec_of

from pyspark_vision.executor.decode import images
from pyspark_vision.executor.decode.formats import ALLOWED_FORMATS
from pyspark_vision.executor.decode.images import DecodeOptions, decode, upright_to_rgb
from pyspark_vision.executor.decode.preprocess import Preprocessor
from pyspark_vision.executor.row_errors import ErrorCode, RowError

ALL_FORMATS = DecodeOptions(formats=ALLOWED_FORMATS)


# Sizes whose division in float64 ends outside of the picture: found by trying 200,000 of them.
@pytest.mark.parametrize(
    ("size_wh", "input_hw"),
    [
        ((3824, 3648), (123, 592)),
        ((3631, 3765), (308, 552)),
        ((2858, 824), (613, 444)),
    ],
)
def test_center_crop_stays_within_the_picture(
    size_wh: tuple[int, int], input_hw: tuple[int, int]
) -> None:
    preprocessor = Preprocessor(spec_of(resize="center_crop", input_hw=input_hw))
    batch = preprocessor.empty_batch(1)
    placement = preprocessor.fill(batch, 0, Image.new("RGB", size_wh, "white"))
    assert (batch == 255).all()
    assert min(placement.x_shift, placement.y_shift) >= 0


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_does_not_turn_the_target(orientation: int) -> None:
    # 1600x400, for an input of 50x150 (h x w): 1/4 is allowed, 1/8 only were it turned.
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.new("RGB", (1600, 400)), "JPEG", exif=exif)
    image, size_wh = decode(data, DecodeOptions(), (50, 150))
    assert (image.size, size_wh) == ((400, 100), (1600, 400))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_upright_once(orientation: int) -> None:
    upright = asymmetric(64, 32)
    image, size_wh = decode(tagged(upright, orientation, "AVIF", quality=95), ALL_FORMATS)
    assert size_wh == (64, 32)
    assert abs(pixels(image) - pixels(upright)).mean() < 6


def floats(low: float, high: float) -> Image.Image:
    return Image.fromarray(np.linspace(low, high, 30 * 40, dtype=np.float32).reshape(30, 40))


def transparent_palette() -> Image.Image:
    picture = asymmetric(40, 30).quantize(16)
    picture.info["transparency"] = 3
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        asymmetric(40, 30).convert("L"),
        asymmetric(40, 30).convert("RGBA"),
        asymmetric(40, 30).convert("LA"),
        asymmetric(40, 30).convert("1"),
        transparent_palette(),
        floats(-5, 900),
        floats(0, 1),
        Image.fromarray(np.arange(0, 60_000, 50, dtype=np.uint16).reshape(30, 40)),
        Image.fromarray(np.arange(-600, 600, dtype=np.int32).reshape(30, 40)),
    ],
    ids=["L", "RGBA", "LA", "1", "palette", "float", "unit float", "16-bit", "integer"],
)
def test_strips_give_what_the_whole_picture_gives(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pixels(upright_to_rgb(picture))
    monkeypatch.setattr(images, "_STRIP_PIXELS", 7 * 40)  # does not divide the 30 rows
    assert (pixels(upright_to_rgb(picture)) == whole).all()
    assert whole.min() < whole.max()


def test_picture_wider_than_a_strip_is_taken_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = asymmetric(40, 30).convert("L")
    monkeypatch.setattr(images, "_STRIP_PIXELS", 10)
    assert (pixels(upright_to_rgb(picture)) == pixels(picture.convert("RGB"))).all()


@pytest.mark.parametrize(
    ("colour", "flattened"), [((0, 255), (255, 0, 0)), ((0, 0), (255, 255, 255))]
)
def test_palette_with_an_alpha_channel_is_flattened_over_white(
    colour: tuple[int, int], flattened: tuple[int, int, int]
) -> None:
    picture = Image.new("P", (2, 2), 0)
    picture.putpalette([255, 0, 0])
    with_alpha = picture.convert("PA")
    with_alpha.putalpha(colour[1])
    assert upright_to_rgb(with_alpha).getpixel((0, 0)) == flattened


def mpo() -> bytes:
    """A stereo photo: two JPEGs in one file."""
    return encoded(
        asymmetric(800, 600), "MPO", save_all=True, append_images=[Image.new("RGB", (800, 600))]
    )


def test_mpo_counts_as_jpeg() -> None:
    image, size_wh = decode(mpo(), DecodeOptions(formats=("JPEG",)))
    assert size_wh == (800, 600)
    assert abs(pixels(image) - pixels(asymmetric(800, 600))).max() <= 24


def test_mpo_is_reduced_as_a_jpeg() -> None:
    image, size_wh = decode(mpo(), DecodeOptions(), (50, 50))
    assert (image.size, size_wh) == ((200, 150), (800, 600))


# WEBP ends at 16,383 pixels a side.
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (16_000, 1)])
@pytest.mark.parametrize(
    ("kind", "save"), [("WEBP", {"lossless": True}), ("GIF", {}), ("TIFF", {}), ("AVIF", {})]
)
def test_extreme_sizes_of_other_formats_decode(
    kind: str, save: dict[str, Any], size: tuple[int, int]
) -> None:
    _, size_wh = decode(encoded(Image.new("RGB", size), kind, **save), ALL_FORMATS)
    assert size_wh == size


def gif_header(width: int, height: int) -> bytes:
    screen = width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\x80\0\0"
    frame = b"," + bytes(4) + screen[:4] + b"\0"
    return b"GIF89a" + screen + bytes(6) + frame + b"\x02\x02\x44\x01\0;"


@pytest.mark.parametrize("size", [(60_000, 900), (65_535, 65_535)])
def test_gif_bomb_is_known_from_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(RowError) as caught:
        decode(gif_header(*size), DecodeOptions())
    assert caught.value.code == ErrorCode.TOO_MANY_PIXELS


def test_the_gif_header_of_a_small_picture_is_taken() -> None:
    assert decode(gif_header(1, 1), DecodeOptions())[1] == (1, 1)
