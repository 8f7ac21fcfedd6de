"""Colours go to sRGB by the picture's profile where that is asked for."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from pictures import asymmetric, encoded, pixels, tagged
from PIL import Image, ImageCms

from pyspark_vision.executor.decode import images
from pyspark_vision.executor.decode.formats import ALLOWED_FORMATS
from pyspark_vision.executor.decode.images import DecodeOptions, Picture, read_picture
from pyspark_vision.executor.row_errors import WarningCode

SRGB = DecodeOptions(icc="srgb", formats=ALLOWED_FORMATS)


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def text(words: str) -> bytes:
    encoded_text = words.encode("utf-16-be")
    head = struct.pack(">IIHHII", 1, 12, *b"\0\0", 0, 0)[:8]
    return (
        b"mluc\0\0\0\0" + head + b"enUS" + struct.pack(">II", len(encoded_text), 28) + encoded_text
    )


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 4 for a screen (ICC.1:2022, 7)."""
    tags = {b"desc": text("test"), b"cprt": text("none"), b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x04300000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    return head.ljust(128, b"\0") + table + body


# sRGB's primaries in D50, with red and green exchanged, and a linear curve: what is off is seen.
SWAPPED = profile(
    b"RGB ",
    {
        b"rXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"gXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2)),
    },
)
LINEAR_GREY = profile(b"GRAY", {b"kTRC": gamma(1.0)})


def read(
    picture: Image.Image, kind: str = "PNG", icc_profile: bytes = SWAPPED, **save: Any
) -> Picture:
    return read_picture(encoded(picture, kind, icc_profile=icc_profile, **save), SRGB)


def warning_codes(picture: Picture) -> list[str]:
    return [one.code.value for one in picture.warnings]


@pytest.mark.parametrize(
    ("kind", "save"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_a_profile_says_what_the_samples_mean(kind: str, save: dict[str, Any]) -> None:
    picture = Image.new("RGB", (8, 8), (250, 0, 0))
    found = read(picture, kind, **save)
    assert found.image.getpixel((4, 4)) == pytest.approx((0, 250, 0), abs=6)
    assert warning_codes(found) == []


def test_without_being_asked_for_a_profile_is_ignored() -> None:
    data = encoded(Image.new("RGB", (2, 2), (250, 0, 0)), "PNG", icc_profile=SWAPPED)
    found = read_picture(data, DecodeOptions())
    assert (found.image.getpixel((0, 0)), found.warnings) == ((250, 0, 0), ())


def test_a_picture_without_profile_or_with_that_of_srgb_stays_as_it_is() -> None:
    plain = read_picture(encoded(asymmetric(), "PNG"), SRGB)
    assert (pixels(plain.image) == pixels(asymmetric())).all()
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert abs(pixels(read(asymmetric(), icc_profile=own).image) - pixels(asymmetric())).max() <= 1


def test_it_is_littlecms_that_converts() -> None:
    picture = asymmetric()
    expected = ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(SWAPPED)), ImageCms.createProfile("sRGB")
    )
    assert expected is not None
    assert (pixels(read(picture).image) == pixels(expected)).all()


def test_grey_goes_by_a_grey_profile() -> None:
    found = read(Image.new("L", (2, 2), 55), icc_profile=LINEAR_GREY)
    # Of linear light 55 / 255 (sRGB's own curve: IEC 61966-2-1).
    expected = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)
    assert found.image.getpixel((0, 0)) == pytest.approx((expected,) * 3, abs=2)
    deep = Image.fromarray(np.full((2, 2), 55 * 257, np.uint16))
    assert read(deep, icc_profile=LINEAR_GREY).image.getpixel((0, 0)) == pytest.approx(
        (expected,) * 3, abs=2
    )


def test_grey_may_have_a_profile_of_colours() -> None:
    found = read(Image.new("L", (2, 2), 128))
    red, green, blue = found.image.getpixel((0, 0))  # type: ignore[misc]
    assert red == pytest.approx(green, abs=2) == pytest.approx(blue, abs=2)
    assert warning_codes(found) == []


def test_alpha_is_flattened_after_colours() -> None:
    picture = Image.new("RGBA", (2, 1), (250, 0, 0, 255))
    picture.putpixel((1, 0), (250, 0, 0, 0))
    found = read(picture).image
    assert found.getpixel((0, 0)) == pytest.approx((0, 250, 0), abs=6)
    assert found.getpixel((1, 0)) == (255, 255, 255)


def cmyk_profile() -> bytes:
    """Of 4 inks: a table of 2^4 corners to Lab, lightest without ink, darkest with any of it."""
    grid = []
    for corner in range(16):
        inks = [(corner >> bit) & 1 for bit in (3, 2, 1, 0)]
        lightness = 0xFFFF if not any(inks) else 0x2000 if inks[3] else 0x8000
        grid += [lightness, 0x8080, 0x8080]
    identity = struct.pack(">2H", 0, 0xFFFF)
    table = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + struct.pack(">2H", 2, 2)
    table += identity * 4 + struct.pack(f">{len(grid)}H", *grid) + identity * 3
    made = profile(b"CMYK", {b"A2B0": table})
    return made[:12] + b"prtr" + made[16:20] + b"Lab " + made[24:]


@pytest.mark.parametrize(("kind", "save"), [("JPEG", {"quality": 100}), ("TIFF", {})])
def test_cmyk_goes_by_its_profile(kind: str, save: dict[str, Any]) -> None:
    paper, ink = (
        read(Image.new("CMYK", (8, 8), inks), kind, cmyk_profile(), **save)
        for inks in ((0, 0, 0, 0), (255, 0, 0, 0))
    )
    assert warning_codes(paper) == warning_codes(ink) == []
    assert min(paper.image.getpixel((4, 4))) > 245  # type: ignore[arg-type]
    # The table says grey; without it, cyan is (0, 255, 255).
    red, green, blue = ink.image.getpixel((4, 4))  # type: ignore[misc]
    assert 80 < red < 160
    assert max(red, green, blue) - min(red, green, blue) < 12


@pytest.mark.parametrize(
    ("mode", "icc_profile", "words"),
    [
        ("RGB", b"no profile", "cannot open profile"),
        ("RGB", SWAPPED[:200], ""),
        ("RGB", LINEAR_GREY, "it is of L samples, and the picture of RGB"),
        ("RGB", cmyk_profile(), "it is of CMYK samples, and the picture of RGB"),
        ("CMYK", SWAPPED, "it is of RGB samples, and the picture of CMYK"),
        ("RGB", profile(b"HSV ", {}), "its colour space is not RGB, grey or CMYK"),
        ("RGB", profile(b"RGB ", {}), ""),  # says nothing of colours
    ],
)
def test_a_profile_that_cannot_be_used_is_a_warning(
    mode: str, icc_profile: bytes, words: str
) -> None:
    kind = "TIFF"
    picture = asymmetric().convert(mode)
    found = read(picture, kind, icc_profile)
    assert warning_codes(found) == [WarningCode.PROFILE_IGNORED.value]
    assert words in found.warnings[0].message
    ignored = read_picture(encoded(picture, kind), SRGB)
    assert (pixels(found.image) == pixels(ignored.image)).all()


def test_a_turned_picture_and_one_in_strips_go_by_their_profile_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = pixels(read(asymmetric()).image)
    turned = tagged(asymmetric(), 6, "PNG", icc_profile=SWAPPED)
    assert (pixels(read_picture(turned, SRGB).image) == expected).all()
    monkeypatch.setattr(images, "_STRIP_PIXELS", 7 * 48)
    assert (pixels(read(asymmetric()).image) == expected).all()
