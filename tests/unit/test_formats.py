"""Formats by choice: HEIF, JPEG 2000 and JPEG XL, their names, and what reads them."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from pictures import asymmetric, encoded, pixels, tagged
from PIL import Image

from pyspark_vision.columns.options import decode_options
from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.decode import formats, jxl
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.row_errors import RowError


@pytest.mark.parametrize(
    ("kind", "save"),
    [
        ("HEIF", {"quality": 95, "chroma": 444}),
        ("JPEG2000", {"irreversible": False}),
        ("JXL", {"lossless": True}),
    ],
)
def test_a_format_that_was_chosen_is_read(kind: str, save: dict[str, Any]) -> None:
    data = encoded(asymmetric(), kind, **save)
    image, size_wh = decode(data, DecodeOptions(formats=(kind,)))
    assert (image.mode, size_wh) == ("RGB", (48, 32))
    assert abs(pixels(image) - pixels(asymmetric())).max() <= (16 if kind == "HEIF" else 0)


@pytest.mark.parametrize("kind", ["HEIF", "JPEG2000", "JXL"])
@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB"])
def test_modes_of_the_formats_by_choice_become_rgb(kind: str, mode: str) -> None:
    picture = Image.new("RGB", (16, 16), (200, 0, 0)).convert(mode)
    image, _ = decode(encoded(picture, kind), DecodeOptions(formats=(kind,)))
    expected = picture.convert("RGB").getpixel((8, 8))
    assert image.getpixel((8, 8)) == pytest.approx(expected, abs=8)


def test_a_heif_by_others_is_read(shared_data: Path) -> None:
    data = (shared_data / "hostile" / "hopper.heif").read_bytes()
    image, size_wh = decode(data, DecodeOptions(formats=("HEIF",)))
    assert image.size == size_wh
    assert min(size_wh) >= 64


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heif_is_turned_upright_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.open(io.BytesIO(tagged(asymmetric(64, 32), orientation, "PNG")))
    stored.load()
    data = encoded(stored, "HEIF", exif=exif.tobytes(), quality=95)
    image, size_wh = decode(data, DecodeOptions(formats=("HEIF",)))
    assert size_wh == (64, 32)
    assert abs(pixels(image) - pixels(asymmetric(64, 32))).mean() < 6


def test_tags_do_not_turn_a_jxl_whose_decoder_has_turned_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(asymmetric(), "JXL", exif=exif.tobytes(), lossless=True)
    image, size_wh = decode(data, DecodeOptions(formats=("JXL",)))
    assert size_wh == (48, 32)
    assert (pixels(image) == pixels(asymmetric())).all()


@pytest.mark.parametrize(
    "size_wh", [(8, 8), (256, 256), (1, 1), (300, 7), (257, 513), (9000, 3), (40_000, 1), (120, 80)]
)
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jxl_is_known_before_it_is_decoded(
    size_wh: tuple[int, int], container: bool
) -> None:
    data = encoded(Image.new("L", size_wh), "JXL", use_container=container)
    assert jxl.size_wh(data) == size_wh


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\0free",
        b"junk",
    ],
)
def test_no_header_no_size(data: bytes) -> None:
    assert jxl.size_wh(data) is None


@pytest.mark.parametrize("kind", ["HEIF", "JPEG2000", "JXL"])
def test_too_many_pixels_of_a_format_by_choice_are_refused_from_the_header(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(asymmetric(), kind)

    def load(self: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    if kind == "JXL":  # decodes when it is opened
        monkeypatch.setattr("pillow_jxl.JpegXLImagePlugin.JXLImageFile._open", load)
    with pytest.raises(RowError) as caught:
        decode(data, DecodeOptions(formats=(kind,), max_pixels=48 * 32 - 1))
    assert caught.value.code == "too_many_pixels"


@pytest.mark.parametrize("kind", ["HEIF", "JPEG2000", "JXL"])
def test_a_damaged_file_of_a_format_by_choice_is_an_error(kind: str) -> None:
    data = encoded(asymmetric(), kind)
    for bad in (data[:12], data[: len(data) // 2], data[:20] + bytes(len(data) - 20)):
        with pytest.raises(RowError) as caught:
            decode(bad, DecodeOptions(formats=(kind,)))
        assert caught.value.code in ("undecodable", "truncated")
        assert caught.value.message.startswith(kind) or "0x0" in caught.value.message


def test_other_names_of_formats_are_known_and_repeated_ones_are_one() -> None:
    options = decode_options("f", {"formats": ["heic", "HEIF", "jpg", "jp2", "JpegXL"]})
    assert options.formats == ("HEIF", "JPEG", "JPEG2000", "JXL")


@pytest.mark.parametrize("bad", ["JPEG", [], ["PSD"], ["JPEG", "RAW"], None, 5])
def test_other_formats_are_refused_on_the_driver(bad: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"f: formats=.*it is a list of JPEG, PNG"):
        decode_options("f", {"formats": bad})


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("HEIC", "pillow_heif", "heif"), ("JXL", "pillow_jxl", "jxl")]
)
def test_a_missing_extra_is_said_on_the_driver_and_by_executors(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = formats.ALIASES.get(name, name)
    data = encoded(asymmetric(), kind)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(MissingDependencyError) as missing:
        decode_options("f", {"formats": ["JPEG", name]})
    assert str(missing.value) == (
        f"f: formats has {kind}, which needs the extra {extra}, here and on executors: "
        f"pip install 'pyspark_vision[{extra}]'"
    )
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(formats, "_plugged_in", set())
    with pytest.raises(ImportError, match=rf"{kind} \(extra {extra}\): executors need it"):
        decode(data, DecodeOptions(formats=("JPEG", kind)))


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("decode", "loose", "decode='loose'; it is one of strict, lenient"),
        ("decode", None, "decode=None; it is one of strict, lenient"),
        ("icc", True, "icc=True; it is one of ignore, srgb"),
        ("icc", "p3", "icc='p3'; it is one of ignore, srgb"),
        ("frames", 0, "frames=0; it is 'first', 'all', or n"),
        ("frames", -1, "frames=-1; it is 'first', 'all', or n"),
        ("frames", True, "frames=True; it is 'first', 'all', or n"),
        ("frames", 1.5, "frames=1.5; it is 'first', 'all', or n"),
        ("frames", "last", "frames='last'; it is 'first', 'all', or n"),
        ("max_frames", 0, "max_frames=0 must be a whole number of at least 1"),
    ],
)
def test_a_bad_choice_is_refused_on_the_driver(keyword: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        decode_options("f", {keyword: value})
    assert words in str(refused.value)
