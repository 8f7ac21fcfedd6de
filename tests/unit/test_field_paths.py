"""Where a message has its fields, as people write it."""

from __future__ import annotations

import pytest

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages.field_paths import Origin, parsed_field, parsed_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("ts", ("ts",)),
        ("payload.frame.data", ("payload", "frame", "data")),
        (r"device\.id", ("device.id",)),
        (r"a\.b.c\\d", ("a.b", r"c\d")),
        ("frames.0.data", ("frames", "0", "data")),
        ("a b.é", ("a b", "é")),
    ],
)
def test_a_path_is_names_between_dots(text: str, path: tuple[str, ...]) -> None:
    assert parsed_path(text) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "\\", r"a\n", "a\\"])
def test_an_empty_name_or_a_stray_backslash_is_refused(text: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"is no path: names with dots between them"):
        parsed_path(text)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("image=payload.data", ("image", ("payload", "data"), Origin.DOCUMENT)),
        ("image=a=b", ("image", ("a=b",), Origin.DOCUMENT)),
        ("image=header:x.y", ("image", ("x.y",), Origin.HEADER)),
        ("image=record:key", ("image", ("key",), Origin.RECORD)),
        ("image=record.key", ("image", ("record", "key"), Origin.DOCUMENT)),
    ],
)
def test_a_field_is_a_path_a_header_or_of_the_record(text: str, field: object) -> None:
    assert parsed_field(text, ("image", "camera_id")) == field


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image", "it must be NAME=PATH"),
        ("image=", "it must be NAME=PATH"),
        ("picture=a", "no field 'picture'; choose from image, camera_id"),
        ("image=header:", "the header's name is missing"),
        ("image=a..b", "'a..b' is no path"),
    ],
)
def test_what_is_no_field_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        parsed_field(text, ("image", "camera_id"))
