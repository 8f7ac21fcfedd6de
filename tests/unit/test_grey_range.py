"""Greys of more than 8 bits: which of their values become black and white."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import encoded, pixels
from PIL import Image

from pyspark_vision.columns.options import decode_options
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.decode import grey
from pyspark_vision.executor.decode.images import decode

# A thermal camera's: 14 bits in files of 16, a dead pixel and a hot one, and what is looked at in
# between.
THERMAL = np.array([[0, 3000, 3100, 3150, 3200, 16383]], np.uint16)


def greys(values: Any, kind: str, grey_range: Any, **save: Any) -> list[int]:
    data = encoded(Image.fromarray(values), kind, **save)
    options = decode_options("f", {"grey_range": grey_range, "formats": [kind]})
    image = pixels(decode(data, options)[0])
    assert (image == image[:, :, :1]).all()
    return [int(value) for value in image[0, :, 0]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
@pytest.mark.parametrize(
    ("grey_range", "expected"),
    [
        ("full", [0, 12, 12, 12, 12, 64]),
        ("minmax", [0, 47, 48, 49, 50, 255]),
        ("percentiles", [0, 47, 48, 49, 50, 255]),  # of six values, all
        (("percentiles", 20, 80), [0, 0, 128, 191, 255, 255]),
        ([3000, 3200], [0, 0, 128, 191, 255, 255]),
        ((3000.0, 3400.0), [0, 0, 64, 96, 128, 255]),
        ((-1000, 16383), [15, 59, 60, 61, 62, 255]),
    ],
)
def test_black_and_white_are_those_of_the_range(
    kind: str, grey_range: Any, expected: list[int]
) -> None:
    save = {"irreversible": False} if kind == "JPEG2000" else {}
    assert greys(THERMAL, kind, grey_range, **save) == pytest.approx(expected, abs=1)


def test_percentiles_leave_out_a_hundredth_on_either_side() -> None:
    values = np.arange(1000, 2000, dtype=np.uint16)[None]
    values[0, 0], values[0, -1] = 0, 65535
    found = greys(values, "PNG", "percentiles")
    assert (found[0], found[5], found[-5], found[-1]) == (0, 0, 255, 255)
    assert found[500] == pytest.approx(128, abs=1)


@pytest.mark.parametrize("grey_range", ["minmax", "percentiles"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[-3.0, 0.0, 3.0]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 280.0, 290.0, 300.0]], np.float32), [0, 0, 128, 255]),
        (np.array([[280.0, 300.0, np.inf, -np.inf]], np.float32), [0, 255, 255, 0]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[300.0, 300.0]], np.float32), [0, 0]),  # all the same
        (np.array([[np.nan, np.nan]], np.float32), [0, 0]),
        (np.array([[-3e38, 0, 3e38]], np.float32), [0, 128, 255]),
    ],
)
def test_the_pictures_own_range_is_of_what_is_finite(
    values: Any, expected: list[int], grey_range: str
) -> None:
    assert greys(values, "TIFF", grey_range) == pytest.approx(expected, abs=1)


def test_transparent_samples_do_not_count_and_are_white() -> None:
    values = np.array([[0, 1000, 1100, 1200]], np.uint16)
    found = greys(values, "PNG", "minmax", transparency=0)
    assert found == pytest.approx([255, 0, 128, 255], abs=1)


@pytest.mark.parametrize("grey_range", ["minmax", "percentiles", (0, 10)])
@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_pictures_of_8_bits_stay_as_they_are(mode: str, grey_range: Any) -> None:
    picture = Image.new("L", (2, 1), 100)
    picture.putpixel((1, 0), 120)
    picture = picture.convert(mode)
    options = decode_options("f", {"grey_range": grey_range})
    found = decode(encoded(picture, "PNG"), options)[0]
    assert (pixels(found) == pixels(picture.convert("RGB"))).all()


@pytest.mark.parametrize("grey_range", ["minmax", "percentiles"])
def test_strips_give_the_range_of_the_whole(
    grey_range: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(300, 900, dtype=np.uint16).reshape(30, 20)
    options = decode_options("f", {"grey_range": grey_range})
    whole = pixels(decode(encoded(Image.fromarray(values), "PNG"), options)[0])
    monkeypatch.setattr(grey, "STRIP_PIXELS", 7 * 20)
    assert (pixels(decode(encoded(Image.fromarray(values), "PNG"), options)[0]) == whole).all()
    assert (whole.min(), whole.max()) == (0, 255)


@pytest.mark.parametrize(
    "bad",
    [
        "wide", "", None, 5, (), (1,), (1, 2, 3), (200, 100), (5, 5), ("1", "2"), (0, float("nan")),
        ("percentiles",), ("percentiles", 99, 1), ("percentiles", -1, 99), ("percentiles", 1, 101),
        ("minmax", 0, 1), (True, 5),
    ],
)  # fmt: skip
def test_a_bad_range_is_refused_on_the_driver(bad: Any) -> None:
    with pytest.raises(InvalidOptionError, match="f: grey_range=.*it is 'full', 'minmax'"):
        decode_options("f", {"grey_range": bad})
