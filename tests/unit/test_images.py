"""Encoded bytes become upright RGB, or a RowError: formats, modes, orientation, limits, damage."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import asymmetric, encoded, pixels, png_header, tagged
from PIL import Image, ImageCms

from pyspark_vision.executor.decode.formats import ALLOWED_FORMATS, DEFAULT_FORMATS
from pyspark_vision.executor.decode.images import DecodeOptions, decode, upright_to_rgb
from pyspark_vision.executor.row_errors import MAX_MESSAGE_CHARS, ErrorCode, RowError

ALL_FORMATS = DecodeOptions(formats=ALLOWED_FORMATS)
LOSSLESS = {"PNG": {}, "GIF": {}, "WEBP": {"lossless": True}, "BMP": {}}
JPEG = {"quality": 95, "subsampling": 0}


def rgb_of(data: bytes | None, options: DecodeOptions = ALL_FORMATS) -> Image.Image:
    return decode(data, options)[0]


def failure(data: bytes | None, options: DecodeOptions | None = None) -> RowError:
    with pytest.raises(RowError) as caught:
        decode(data, options or DecodeOptions())
    return caught.value


def one_colour(data: bytes) -> tuple[int, ...] | float:
    """The picture's only colour; fails where it has several."""
    colours = rgb_of(data).getcolors()
    assert colours is not None
    assert len(colours) == 1, colours
    return colours[0][1]


# Formats


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    picture = asymmetric()
    image, size_wh = decode(encoded(picture, kind, **LOSSLESS[kind]), DecodeOptions())
    assert (image.mode, size_wh) == ("RGB", (48, 32))
    assert (pixels(image) == pixels(picture)).all()


@pytest.mark.parametrize(
    ("kind", "save", "tolerance"),
    [("JPEG", JPEG, 8), ("WEBP", {"quality": 95}, 16), ("AVIF", {"quality": 95}, 16)],
)
def test_lossy_formats_are_close(kind: str, save: dict[str, int], tolerance: int) -> None:
    picture = asymmetric()
    image = rgb_of(encoded(picture, kind, **save))
    assert image.mode == "RGB"
    assert abs(pixels(image) - pixels(picture)).max() <= tolerance


def test_gif_palette_becomes_rgb() -> None:
    picture = Image.new("RGB", (5, 4), (10, 200, 30))
    assert one_colour(encoded(picture, "GIF")) == (10, 200, 30)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF", "JPEG2000", "JXL"])
def test_other_formats_are_refused_until_allowed(kind: str) -> None:
    data = encoded(asymmetric(), kind)
    error = failure(data)
    assert error.code == ErrorCode.UNSUPPORTED_FORMAT
    assert error.message == (
        f"format {kind}; accepted are JPEG, PNG, GIF, WEBP, BMP; formats=[…, {kind!r}] reads it"
    )
    assert rgb_of(data, DecodeOptions(formats=(kind,))).size == (48, 32)


def test_a_format_left_out_is_refused() -> None:
    error = failure(encoded(asymmetric(), "PNG"), DecodeOptions(formats=("JPEG",)))
    assert error.code == ErrorCode.UNSUPPORTED_FORMAT
    assert error.message == "format PNG; accepted are JPEG; formats=[…, 'PNG'] reads it"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "format PDF"),
        (b"PK\x03\x04" + b"\0" * 40, "format ZIP"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 40, "format ISO media"),
        (b"P6\n1 1\n255\n\0\0\0", "format PPM"),
        (b"hello, I am a text", "no known image format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no known image format"),
        (b"\0", "no known image format"),
        (bytes(range(256)) * 4, "no known image format"),
    ],
)
def test_other_kinds_of_files_are_named_with_what_is_accepted(data: bytes, named: str) -> None:
    error = failure(data)
    assert error.code == ErrorCode.UNSUPPORTED_FORMAT
    assert error.message == f"{named}; accepted are {', '.join(DEFAULT_FORMATS)}"


def test_null_is_null_input() -> None:
    assert failure(None).code == ErrorCode.NULL_INPUT


def test_no_bytes_is_empty_input() -> None:
    assert failure(b"").code == ErrorCode.EMPTY_INPUT


def test_only_the_first_frame_of_an_animation_is_read() -> None:
    red, blue = (Image.new("RGB", (6, 4), colour) for colour in ("red", "blue"))
    for kind in ("GIF", "WEBP", "PNG"):
        save = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(red, kind, save_all=True, append_images=[blue], duration=50, **save)
        assert one_colour(data) == (255, 0, 0), kind


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_extreme_sizes_decode(kind: str, size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size, "white"), kind)
    image, size_wh = decode(data, DecodeOptions(), target_hw=(224, 224))
    assert (image.size, size_wh) == (size, size)
    assert image.getextrema() == ((255, 255),) * 3


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "save", "tolerance"),
    [("PNG", {}, 0), ("WEBP", {"lossless": True}, 0), ("JPEG", JPEG, 8), ("TIFF", {}, 0)],
)
def test_every_orientation_gives_the_same_upright_picture(
    kind: str, save: dict[str, int], tolerance: int, orientation: int
) -> None:
    upright = asymmetric()
    image, size_wh = decode(tagged(upright, orientation, kind, **save), ALL_FORMATS)
    assert (image.size, size_wh) == ((48, 32), (48, 32))
    assert abs(pixels(image) - pixels(upright)).max() <= tolerance


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientations_count_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = asymmetric()
    assert (pixels(rgb_of(encoded(picture, "PNG", exif=exif))) == pixels(picture)).all()


def test_damaged_exif_counts_as_upright() -> None:
    data = encoded(asymmetric(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data, DecodeOptions())[1] == (48, 32)


def test_transparency_is_flattened_in_turned_palette_pictures_too() -> None:
    palette = Image.new("P", (4, 2), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    # Stored 4x2 with orientation 6: the stored top left pixel is the upright top right one.
    exif = Image.Exif()
    exif[0x0112] = 6
    image = rgb_of(encoded(palette, "PNG", transparency=0, exif=exif))
    assert image.size == (2, 4)
    assert image.getpixel((1, 0)) == (0, 0, 255)
    assert image.getpixel((0, 0)) == (255, 255, 255)


# Modes


@pytest.mark.parametrize(
    ("mode", "colour", "flattened"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
        ("LA", (0, 128), (127, 127, 127)),
    ],
)
def test_alpha_is_flattened_over_white(
    mode: str, colour: tuple[int, ...], flattened: tuple[int, ...]
) -> None:
    data = encoded(Image.new(mode, (3, 2), colour), "PNG")
    assert one_colour(data) == pytest.approx(flattened, abs=1)


@pytest.mark.parametrize(
    ("mode", "colour", "transparent", "other"),
    [
        ("RGB", (9, 9, 9), (9, 9, 9), (9, 9, 8)),
        ("L", 9, 9, 8),
        ("1", 0, 0, 1),
        ("I;16", 900, 900, 0),
    ],
)
def test_one_transparent_colour_is_flattened_over_white(
    mode: str, colour: int, transparent: int, other: int
) -> None:
    picture = Image.new(mode, (2, 1), colour)
    picture.putpixel((1, 0), other)
    image = rgb_of(encoded(picture, "PNG", transparency=transparent))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    expected = {"RGB": (9, 9, 8), "L": (8, 8, 8), "1": (255, 255, 255), "I;16": (0, 0, 0)}
    assert image.getpixel((1, 0)) == expected[mode]


def test_palette_with_alpha_per_entry_is_flattened_over_white() -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([255, 0, 0, 0, 0, 0])
    picture.putpixel((1, 0), 1)
    image = rgb_of(encoded(picture, "PNG", transparency=bytes([0, 128])))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 0)) == pytest.approx((127, 127, 127), abs=1)


def test_transparent_gif_is_flattened_over_white() -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    image = rgb_of(encoded(picture, "GIF", transparency=0))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]


def without_adobe(data: bytes) -> bytes:
    """The JPEG less its APP14 segment, which says that CMYK is stored inverted."""
    start = data.index(b"\xff\xee")
    (length,) = struct.unpack(">H", data[start + 2 : start + 4])
    return data[:start] + data[start + 2 + length :]


@pytest.mark.parametrize(
    ("ink", "seen"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
    ],
)
def test_cmyk_jpeg_shows_its_ink(ink: tuple[int, int, int, int], seen: tuple[int, ...]) -> None:
    # Pillow writes the Adobe marker and inverts; it and browsers assume the same without marker.
    adobe = encoded(Image.new("CMYK", (8, 8), ink), "JPEG", quality=95)
    assert b"Adobe" in adobe
    assert one_colour(adobe) == pytest.approx(seen, abs=4)
    assert one_colour(without_adobe(adobe)) == pytest.approx(seen, abs=4)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(kind: str) -> None:
    picture = Image.new("1", (2, 1), 0)
    picture.putpixel((1, 0), 1)
    image = rgb_of(encoded(picture, kind))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (255, 255, 255)]


def test_grey_jpeg_has_three_equal_colours() -> None:
    assert one_colour(encoded(Image.new("L", (8, 8), 77), "JPEG")) == (77, 77, 77)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_rescaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    image = rgb_of(encoded(Image.fromarray(values), kind))
    assert pixels(image)[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 50_000, 100_000]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[100.0, 150.0, 200.0]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.0, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[0.0, 1.0, np.inf]], np.float32), [0, 255, 255]),
        (np.array([[np.nan] * 2], np.float32), [0, 0]),
        (np.array([[-3e38, 0, 3e38]], np.float32), [0, 128, 255]),
    ],
)
def test_integer_and_float_tiff_is_rescaled_not_clipped(
    values: np.ndarray[tuple[int, int], np.dtype[np.float32]], expected: list[int]
) -> None:
    image = rgb_of(encoded(Image.fromarray(values), "TIFF"))
    assert pixels(image)[0, :, 0].tolist() == pytest.approx(expected, abs=1)


def grey_tiff(
    rows: list[list[int]],
    bits: int,
    *,
    white_is_zero: bool = False,
    sample_format: int = 1,
    deflated: bool = False,
    big_endian: bool = False,
) -> bytes:
    """A TIFF of one grey sample per pixel, as a camera writes it: each row ends at a byte."""
    order = ">" if big_endian else "<"
    mask = 2**bits - 1
    data = b""
    for row in rows:
        if bits == 12:
            text = "".join(f"{value & mask:012b}" for value in row)
            text = text.ljust(-(-len(text) // 8) * 8, "0")
            data += int(text, 2).to_bytes(len(text) // 8, "big")
        else:
            kind = {8: "B", 16: "H", 32: "I"}[bits]
            data += struct.pack(f"{order}{len(row)}{kind}", *(value & mask for value in row))
    if deflated:
        data = zlib.compress(data)
    entries = [
        (256, len(rows[0])),
        (257, len(rows)),
        (258, bits),
        (259, 8 if deflated else 1),
        (262, 0 if white_is_zero else 1),
        (273, 8),  # where the pixels begin: after the header
        (277, 1),
        (278, len(rows)),
        (279, len(data)),
        (339, sample_format),
    ]
    directory = struct.pack(f"{order}H", len(entries))
    for tag, value in entries:
        directory += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    data += b"\0" * (len(data) % 2)
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + directory + struct.pack(f"{order}I", 0)


@pytest.mark.parametrize(
    ("bits", "options", "row", "expected"),
    [
        (12, {}, [0, 16, 2048, 4095, 1], [0, 1, 128, 255, 0]),
        (12, {"deflated": True}, [0, 16, 2048, 4095, 1], [0, 1, 128, 255, 0]),
        (16, {}, [0, 257, 4095, 65535], [0, 1, 16, 255]),
        (16, {"big_endian": True}, [0, 257, 4095, 65535], [0, 1, 16, 255]),
        (16, {"deflated": True}, [0, 257, 4095, 65535], [0, 1, 16, 255]),
        (16, {"white_is_zero": True}, [0, 257, 32768, 65535], [255, 254, 127, 0]),
        (8, {"white_is_zero": True}, [0, 1, 255], [255, 254, 0]),
        (16, {"sample_format": 2}, [0, 129, 16384, 32767], [0, 1, 128, 255]),
        (16, {"sample_format": 2, "big_endian": True}, [0, 16384, 32767], [0, 128, 255]),
        (16, {"sample_format": 2}, [-32768, 0, 32767], [0, 128, 255]),
        (8, {"sample_format": 2}, [0, 64, 127], [0, 129, 255]),
        (8, {"sample_format": 2}, [-128, 0, 127], [0, 128, 255]),
        (8, {}, [0, 64, 127, 255], [0, 64, 127, 255]),
        (32, {}, [0, 2**31, 2**32 - 1], [0, 128, 255]),
        (32, {"sample_format": 2}, [-(2**31), 0, 2**31 - 1], [0, 128, 255]),
    ],
)
def test_grey_tiff_is_read_by_what_its_tags_say_of_a_sample(
    bits: int, options: dict[str, Any], row: list[int], expected: list[int]
) -> None:
    image = rgb_of(grey_tiff([row, row[::-1]], bits, **options))
    assert pixels(image)[0].tolist() == [[value] * 3 for value in expected]
    assert pixels(image)[1].tolist() == [[value] * 3 for value in expected[::-1]]


def test_tiff_of_a_few_of_its_levels_is_not_stretched() -> None:
    # A dark picture stays dark: its bits say what is white, not its brightest pixel.
    assert pixels(rgb_of(grey_tiff([[0, 30]], 16)))[0, :, 0].tolist() == [0, 0]
    assert pixels(rgb_of(grey_tiff([[0, 480]], 12)))[0, :, 0].tolist() == [0, 30]


@pytest.mark.parametrize("bits", [14, 64])
def test_tiff_of_other_bits_is_an_error_that_does_not_only_speak_of_damage(bits: int) -> None:
    data = grey_tiff([[0, 1]], 16)
    start = data.index(struct.pack("<HHIH", 258, 3, 1, 16))
    other = data[: start + 8] + struct.pack("<H", bits) + data[start + 10 :]
    error = failure(other, ALL_FORMATS)
    assert error.code == ErrorCode.UNDECODABLE
    assert "of a kind of samples that cannot be read" in error.message


def test_12_bit_tiff_in_strips_is_as_bright_as_a_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [[4095 - i, i, 2 * i] for i in range(40)]
    whole = pixels(rgb_of(grey_tiff(rows, 12)))
    monkeypatch.setattr("pyspark_vision.executor.decode.images._STRIP_PIXELS", 7 * 3)
    assert (pixels(rgb_of(grey_tiff(rows, 12))) == whole).all()
    assert whole.max() == 255


@pytest.mark.parametrize("name", ["12in16bit.tif", "16bit.cropped.tif"])
def test_16_bit_tiff_of_others_keeps_its_levels(name: str, shared_data: Path) -> None:
    path = shared_data / "hostile" / name
    with Image.open(path) as stored:
        expected = np.rint(np.asarray(stored).astype(float) / 257)
    found = pixels(rgb_of(path.read_bytes()))[:, :, 0]
    assert abs(found - expected).max() <= 1


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 128, 0), (30, 60, 200), (128, 128, 128)])
def test_lab_tiff_is_converted_to_its_colour(colour: tuple[int, int, int]) -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    picture = Image.new("RGB", (4, 4), colour)
    converted = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    assert converted is not None
    assert one_colour(encoded(converted, "TIFF")) == pytest.approx(colour, abs=8)


def test_pictures_larger_than_a_strip_convert_as_whole_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = asymmetric(40, 30).convert("CMYK")
    whole = pixels(upright_to_rgb(picture))
    monkeypatch.setattr("pyspark_vision.executor.decode.images._STRIP_PIXELS", 7 * 40)
    assert (pixels(upright_to_rgb(picture)) == whole).all()


# Limits


def test_max_bytes_is_the_largest_accepted_size() -> None:
    data = encoded(asymmetric(), "PNG")
    assert rgb_of(data, DecodeOptions(max_bytes=len(data))).size == (48, 32)
    error = failure(data, DecodeOptions(max_bytes=len(data) - 1))
    assert error.code == ErrorCode.TOO_MANY_BYTES
    assert error.message == f"{len(data)} bytes; the limit is max_bytes={len(data) - 1}"


def test_max_pixels_is_the_largest_accepted_size() -> None:
    data = encoded(asymmetric(48, 32), "PNG")
    assert rgb_of(data, DecodeOptions(max_pixels=48 * 32)).size == (48, 32)
    error = failure(data, DecodeOptions(max_pixels=48 * 32 - 1))
    assert error.code == ErrorCode.TOO_MANY_PIXELS
    assert error.message == "48x32 pixels; the limit is max_pixels=1535"


@pytest.mark.parametrize("size", [(8_000, 7_000), (12_000, 12_000), (2_000_000_000, 2)])
def test_too_many_pixels_is_known_from_the_header(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert failure(png_header(*size)).code == ErrorCode.TOO_MANY_PIXELS


def test_a_gif_whose_first_frame_is_larger_than_its_canvas_counts_by_the_frame() -> None:
    data = bytearray(encoded(Image.new("L", (30, 20), 255), "GIF"))
    data[6:10] = struct.pack("<HH", 2, 2)  # the canvas ("logical screen")
    assert decode(bytes(data), DecodeOptions())[1] == (30, 20)
    assert failure(bytes(data), DecodeOptions(max_pixels=599)).code == ErrorCode.TOO_MANY_PIXELS


# As in production (images.py ignores it); pytest would make the warning an error.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_max_pixels_above_pillows_warning_is_honoured() -> None:
    # 100 Mpx, where Pillow warns; the limit allows it, and only then the missing pixels count.
    error = failure(png_header(10_000, 10_000), DecodeOptions(max_pixels=200_000_000))
    assert error.code == ErrorCode.TRUNCATED


# Reduced decode


@pytest.mark.parametrize(
    ("target_hw", "decoded_wh"),
    [
        ((50, 50), (100, 100)),  # 1/8 is exactly twice the target
        ((51, 50), (200, 200)),
        ((100, 100), (200, 200)),
        ((200, 200), (400, 400)),
        ((201, 201), (800, 800)),
        ((1000, 1000), (800, 800)),
        ((10, 10), (100, 100)),  # no smaller scale than 1/8
        ((10, 200), (400, 400)),
    ],
)
def test_reduced_decode_is_never_smaller_than_twice_the_target(
    target_hw: tuple[int, int], decoded_wh: tuple[int, int]
) -> None:
    data = encoded(Image.new("RGB", (800, 800)), "JPEG")
    image, size_wh = decode(data, DecodeOptions(), target_hw)
    assert (image.size, size_wh) == (decoded_wh, (800, 800))


@pytest.mark.parametrize(
    ("options", "target_hw"),
    [(DecodeOptions(), None), (DecodeOptions(exact=True), (10, 10)), (DecodeOptions(True), None)],
)
def test_full_scale_without_target_or_with_exact(
    options: DecodeOptions, target_hw: tuple[int, int] | None
) -> None:
    data = encoded(Image.new("RGB", (800, 600)), "JPEG")
    image, size_wh = decode(data, options, target_hw)
    assert (image.size, size_wh) == ((800, 600), (800, 600))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_only_jpeg_is_reduced(kind: str) -> None:
    data = encoded(Image.new("RGB", (800, 600)), kind)
    assert decode(data, ALL_FORMATS, (10, 10))[0].size == (800, 600)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpeg_are_reduced_too(mode: str) -> None:
    image, size_wh = decode(encoded(Image.new(mode, (800, 600)), "JPEG"), DecodeOptions(), (10, 10))
    assert (image.mode, image.size, size_wh) == ("RGB", (100, 75), (800, 600))


def test_reduced_size_is_measured_on_the_upright_picture() -> None:
    # Upright 400x1600 (w x h); a target of 150x50 (h x w) allows 1/4: 100x400, 1/8 would not do.
    upright = asymmetric(400, 1600)
    for orientation in (1, 6):
        data = tagged(upright, orientation, "JPEG")
        image, size_wh = decode(data, DecodeOptions(), (150, 50))
        assert (image.size, size_wh) == ((100, 400), (400, 1600)), orientation


def test_reported_size_of_odd_pictures_is_the_sources() -> None:
    data = tagged(Image.new("RGB", (803, 601)), 6, "JPEG")
    image, size_wh = decode(data, DecodeOptions(), (20, 20))
    assert (image.size, size_wh) == ((101, 76), (803, 601))


# Damage


def cut(kind: str) -> bytes:
    noise = random.Random(7).randbytes(64 * 64 * 3)
    data = encoded(Image.frombytes("RGB", (64, 64), noise), kind)
    return data[: len(data) // 2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF"])
def test_half_a_file_is_truncated(kind: str) -> None:
    error = failure(cut(kind), ALL_FORMATS)
    assert error.code == ErrorCode.TRUNCATED
    assert error.message.startswith(f"{kind}: ")


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_half_a_webp_or_avif_is_no_picture(kind: str) -> None:
    # Their libraries do not say why.
    assert failure(cut(kind), ALL_FORMATS).code in (ErrorCode.TRUNCATED, ErrorCode.UNDECODABLE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_damaged_header_is_undecodable_under_the_formats_name(kind: str) -> None:
    data = encoded(asymmetric(), kind)[:12]
    error = failure(data, ALL_FORMATS)
    assert error.code in (ErrorCode.UNDECODABLE, ErrorCode.TRUNCATED)
    assert error.message.startswith(f"{kind}: ")


VALID = {
    "JPEG": tagged(asymmetric(), 6, "JPEG"),
    "CMYK": encoded(asymmetric().convert("CMYK"), "JPEG"),
    "progressive": encoded(asymmetric(), "JPEG", progressive=True),
    "PNG": tagged(asymmetric(), 3, "PNG"),
    "palette": encoded(asymmetric().quantize(16), "PNG", transparency=3),
    "GIF": encoded(asymmetric(), "GIF", save_all=True, append_images=[asymmetric()]),
    "WEBP": tagged(asymmetric(), 8, "WEBP"),
    "BMP": encoded(asymmetric(), "BMP"),
    "TIFF": tagged(asymmetric(), 5, "TIFF", compression="tiff_lzw"),
    "AVIF": encoded(asymmetric(), "AVIF"),
}


@pytest.mark.parametrize("name", sorted(VALID))
def test_nothing_but_row_errors_escapes_for_mutated_files(name: str) -> None:
    chance = random.Random(f"{name} 2024")
    for _ in range(300 // len(VALID)):
        data = bytearray(VALID[name])
        for _ in range(chance.randint(1, 12)):
            # Mostly in the first 100 bytes, where the structure is.
            end = min(len(data), chance.choice((20, 100, len(data))))
            data[chance.randrange(end)] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        try:
            image, size_wh = decode(bytes(data), ALL_FORMATS, chance.choice((None, (8, 8))))
        except RowError as error:
            assert_readable(error.message)
        else:
            assert image.mode == "RGB"
            assert min(size_wh) >= 1


def assert_readable(message: str) -> None:
    assert message.isprintable()
    assert 0 < len(message) <= MAX_MESSAGE_CHARS
    assert " object at 0x" not in message
    assert "BytesIO" not in message


# Files by others


def hostile_files(shared_data: Path) -> list[Path]:
    folders = (shared_data / "hostile", shared_data / "pngsuite" / "png")
    return [file for folder in folders for file in sorted(folder.iterdir())]


@pytest.mark.parametrize("options", [DecodeOptions(), ALL_FORMATS], ids=["default", "all"])
def test_every_file_by_others_decodes_or_gives_a_readable_row_error(
    shared_data: Path, options: DecodeOptions
) -> None:
    files = hostile_files(shared_data)
    assert len(files) > 200
    for file in files:
        try:
            image, size_wh = decode(file.read_bytes(), options)
        except RowError as error:
            assert_readable(error.message)
        else:
            assert (image.mode, image.size) == ("RGB", size_wh), file.name


# PngSuite: x.. are the broken ones, all others are valid. The wrong checksum of pixel data is not
# looked at by Pillow.
def test_all_valid_files_of_pngsuite_decode_and_no_broken_one(shared_data: Path) -> None:
    for file in sorted((shared_data / "pngsuite" / "png").glob("*.png")):
        data = file.read_bytes()
        if file.name.startswith("x") and file.name != "xcsn0g01.png":
            assert failure(data).code in (
                ErrorCode.UNDECODABLE,
                ErrorCode.UNSUPPORTED_FORMAT,
                ErrorCode.TRUNCATED,
            ), file.name
        else:
            with Image.open(io.BytesIO(data)) as header:
                assert rgb_of(data).size == header.size, file.name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("truncated_jpeg.jpg", ErrorCode.TRUNCATED),
        ("truncated_image.png", ErrorCode.TRUNCATED),
        ("truncated_end_chunk.png", ErrorCode.TRUNCATED),
        ("shortfile.bmp", ErrorCode.TRUNCATED),
        ("broken.png", ErrorCode.UNDECODABLE),
        ("broken_data_stream.png", ErrorCode.UNDECODABLE),
        ("unknown_compression_method.png", ErrorCode.UNDECODABLE),
        ("png_decompression_dos.png", ErrorCode.UNDECODABLE),
        ("zero_width.gif", ErrorCode.UNDECODABLE),
        ("decompression_bomb.gif", ErrorCode.TOO_MANY_PIXELS),
        ("decompression_bomb.ico", ErrorCode.UNSUPPORTED_FORMAT),
        ("hopper.tar", ErrorCode.UNSUPPORTED_FORMAT),
        ("hopper.heif", ErrorCode.UNSUPPORTED_FORMAT),
        ("hopper.avif", ErrorCode.UNSUPPORTED_FORMAT),
        ("multipage.tiff", ErrorCode.UNSUPPORTED_FORMAT),
        ("negative_size.ppm", ErrorCode.UNSUPPORTED_FORMAT),
        ("test-ole-file.doc", ErrorCode.UNSUPPORTED_FORMAT),
    ],
)
def test_a_bad_file_by_others_gets_its_reason(
    shared_data: Path, name: str, code: ErrorCode
) -> None:
    assert failure((shared_data / "hostile" / name).read_bytes()).code == code


@pytest.mark.parametrize(
    ("name", "size_wh"),
    [
        ("hopper_bad_exif.jpg", (500, 500)),
        ("exif_typeerror.jpg", (800, 531)),
        ("junk_jpeg_header.jpg", (1024, 768)),
        ("frozenpond.mpo", (640, 480)),
        ("sugarshack_bad_mpo_header.jpg", (640, 480)),
        ("truncated_app14.jpg", (100, 100)),
        ("dispose_prev.gif", (100, 100)),
        ("no_palette.gif", (1, 1)),
        ("iss634.webp", (245, 245)),
        ("itxt_chunks.png", (2400, 2000)),
    ],
)
def test_damaged_metadata_does_not_cost_the_picture(
    shared_data: Path, name: str, size_wh: tuple[int, int]
) -> None:
    data = (shared_data / "hostile" / name).read_bytes()
    assert decode(data, DecodeOptions())[1] == size_wh


def test_orientations_by_others_agree(shared_data: Path) -> None:
    hostile = shared_data / "hostile"
    two, six, eight = (
        pixels(rgb_of((hostile / f"hopper_orientation_{name}").read_bytes()))
        for name in ("2.jpg", "6.jpg", "8.webp")
    )
    assert abs(two - six).mean() < 6
    assert abs(two - eight).mean() < 6


def test_the_same_landscape_in_all_orientations_looks_the_same(shared_data: Path) -> None:
    reference, *others = (
        pixels(rgb_of((shared_data / "exif" / f"Landscape_{n}.jpg").read_bytes()).resize((90, 60)))
        for n in range(1, 9)
    )
    for n, other in enumerate(others, start=2):
        assert abs(reference - other).mean() < 12, n


def test_cmyk_sample_by_others_is_dark_with_red(shared_data: Path) -> None:
    seen = pixels(rgb_of((shared_data / "hostile" / "pil_sample_cmyk.jpg").read_bytes()))
    assert seen.mean() < 100
    red, green, blue = np.moveaxis(seen, 2, 0)
    assert ((red > 150) & (green < 80) & (blue < 80)).mean() > 0.05


def test_palette_transparency_by_others_shows_white(shared_data: Path) -> None:
    image = rgb_of((shared_data / "pngsuite" / "png" / "tbbn3p08.png").read_bytes())
    assert image.getpixel((0, 0)) == (255, 255, 255)
