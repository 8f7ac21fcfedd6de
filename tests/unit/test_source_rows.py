"""What a column of images holds: encoded bytes, structs, reasons; and what is no such column."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa
import pytest
from pictures import plain_png

from pyspark_vision.executor import results
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.fetch.fetched import Reference
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.executor.source_rows import Source, picture_of, references_of, sources_of


def image_struct(**changes: Any) -> dict[str, Any]:
    """A red picture of 2x1 pixels."""
    return {"width": 2, "height": 1, "data": b"\xff\0\0" * 2, "error": None, **changes}


def reason(source: Source) -> tuple[str, str]:
    with pytest.raises(RowError) as raised:
        picture_of(source, DecodeOptions(), None)
    return raised.value.code.value, raised.value.message


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary()])
def test_encoded_bytes_come_row_by_row(binary: pa.DataType) -> None:
    assert list(sources_of(pa.array([b"a", None, b""], binary))) == [b"a", None, b""]


def test_a_column_of_nulls_may_have_lost_its_type() -> None:
    assert list(sources_of(pa.nulls(2))) == [None, None]
    assert list(references_of(iter([pa.nulls(2)]))) == [Reference(None), Reference(None)]


@pytest.mark.parametrize("column", [pa.array([1.5]), pa.array([1]), pa.array([{"data": b""}])])
def test_another_column_is_named_with_what_it_must_be(column: pa.Array) -> None:
    with pytest.raises(
        TypeError, match="must be binary .*, string .*, an image struct of decode_image or"
    ):
        sources_of(column)


def test_uris_are_strings() -> None:
    assert list(references_of(iter([pa.array(["s3://a", None]), pa.array([], pa.string())]))) == [
        Reference("s3://a"),
        Reference(None),
    ]
    with pytest.raises(TypeError, match=r"the column is binary; it must be a string \(URIs\)"):
        list(references_of(iter([pa.array([b"s3://a"])])))


def test_a_uri_may_come_with_the_generation_that_is_meant() -> None:
    rows = [("gs://b/k", "7"), ("gs://b/k", None), (None, "7")]

    assert list(references_of(iter([pa.array(rows, results.REFERENCE_TYPE)]))) == [
        Reference("gs://b/k", "7"),
        Reference("gs://b/k"),
        Reference(None, "7"),
    ]


def test_an_image_struct_is_its_pixels() -> None:
    (source,) = sources_of(pa.array([image_struct()], results.IMAGE_TYPE))

    picture = picture_of(source, DecodeOptions(), None)

    assert picture.size_wh == picture.image.size == (2, 1)
    assert [picture.image.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0)] * 2


def test_what_was_fetched_is_decoded() -> None:
    fetched = {"content": plain_png("lime"), "error": None}

    picture = picture_of(fetched, DecodeOptions(), None)

    assert (picture.image.getpixel((0, 0)), picture.size_wh) == ((0, 255, 0), (4, 4))


@pytest.mark.parametrize(
    ("width", "height", "n_bytes"), [(3, 3, 26), (0, 0, 0), (-1, -1, 3), (None, 1, 3)]
)
def test_an_image_struct_with_the_wrong_number_of_bytes_is_told_what_it_must_have(
    width: int | None, height: int, n_bytes: int
) -> None:
    assert reason(image_struct(width=width, height=height, data=bytes(n_bytes))) == (
        "undecodable",
        f"the image struct says {width}x{height} pixels and has {n_bytes} bytes; "
        "it must have a pixel or more, and three bytes (RGB) for each",
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "truncated", "message": "JPEG: cut"}, ("truncated", "JPEG: cut")),
        ({"code": "somebody's own", "message": None}, ("undecodable", "")),
    ],
)
def test_the_error_of_a_struct_is_handed_on(
    error: dict[str, Any], expected: tuple[str, str]
) -> None:
    nothing = {"width": None, "height": None, "data": None}

    assert reason(image_struct(**nothing, error=error)) == expected
    assert reason({"content": None, "error": error}) == expected


def test_nothing_is_null_input() -> None:
    assert reason(None)[0] == "null_input"
    assert reason(image_struct(data=None)) == ("null_input", "the image struct has no data")


def spark_struct(data: bytes | None, mode: int = 16, channels: int = 3, **changes: Any) -> Source:
    """As Spark's image source gives a picture of 1x1 pixels."""
    fields = {"origin": "file:/a.png", "height": 1, "width": 1, "nChannels": channels}
    row = {**fields, "mode": mode, "data": data, **changes}
    (source,) = sources_of(pa.array([row], results.SPARK_IMAGE_TYPE))
    return source


@pytest.mark.parametrize(
    ("data", "mode", "channels", "rgb"),
    [
        (b"\x07", 0, 1, (7, 7, 7)),
        (b"\x01\x02\x03", 16, 3, (3, 2, 1)),
        (b"\x01\x02\x03\xff", 24, 4, (3, 2, 1)),
        (b"\x01\x02\x03\x00", 24, 4, (255, 255, 255)),  # transparent
    ],
)
def test_the_struct_of_sparks_image_source_is_blue_first(
    data: bytes, mode: int, channels: int, rgb: tuple[int, int, int]
) -> None:
    picture = picture_of(spark_struct(data, mode, channels), DecodeOptions(), None)

    assert (picture.image.mode, picture.size_wh, picture.image.getpixel((0, 0))) == (
        "RGB",
        (1, 1),
        rgb,
    )


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (spark_struct(None), "null_input", "no data"),
        (spark_struct(b"", -1, -1, height=-1, width=-1), "undecodable", "could not read"),
        (spark_struct(b"12", 2, 1), "undecodable", "mode 2"),  # CV_16UC1
        (spark_struct(b"12"), "undecodable", "has 2 bytes"),
        (spark_struct(b"123", channels=1), "undecodable", "1 channels, mode 16"),
        (spark_struct(b"", width=0), "undecodable", "0x1"),
        (spark_struct(b"123", height=None), "undecodable", "1xNone"),
    ],
)
def test_what_sparks_image_source_could_not_read_is_an_error(
    source: Source, code: str, words: str
) -> None:
    found = reason(source)

    assert found[0] == code
    assert words in found[1]


_TEXT = base64.b64encode(plain_png("lime")).decode()


@pytest.mark.parametrize(
    "text",
    [
        _TEXT,
        _TEXT.rstrip("="),
        f" {_TEXT[:40]}\r\n{_TEXT[40:]}\n",
        _TEXT.replace("+", "-").replace("/", "_"),
        f"data:image/png;base64,{_TEXT}",
        f"DATA:;BASE64,{_TEXT}",
    ],
)
def test_text_is_base64_or_a_data_uri(text: str) -> None:
    (source,) = sources_of(pa.array([text]))

    picture = picture_of(source, DecodeOptions(), None)

    assert (picture.image.getpixel((0, 0)), picture.size_wh) == ((0, 255, 0), (4, 4))


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "empty_input", ""),
        ("data:image/png;base64,", "empty_input", ""),
        ("data:image/png,abcd", "bad_base64", "without ;base64"),
        ("s3://bucket/a.png", "bad_base64", "fetch_object"),
        (plain_png("lime").hex(), "bad_base64", "hexadecimal"),
        ("ab=cd", "bad_base64", ""),
        ("péar", "bad_base64", ""),
        ("A", "bad_base64", ""),
        ("aGVsbG8=", "unsupported_format", ""),  # base64, of no picture
    ],
)
def test_text_that_is_no_picture_is_an_error(text: str, code: str, words: str) -> None:
    found = reason(text)

    assert found[0] == code
    assert words in found[1]
