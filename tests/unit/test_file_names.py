"""Which names are read: patterns as Hadoop has them, images by their suffix, hidden files."""

from __future__ import annotations

import pytest

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sources.file_names import Names


@pytest.mark.parametrize(
    ("glob", "name", "is_taken"),
    [
        ("*", "a", True),
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "a.JPG", False),
        ("*.{jpg,p?g}", "a.png", True),
        ("[a-c]1.jpg", "b1.jpg", True),
        ("[^a-c]1.jpg", "b1.jpg", False),
        ("[!x].jpg", "b.jpg", True),
        (r"\[1\].jpg", "[1].jpg", True),
        ("a,b.jpg", "a,b.jpg", True),
        ("a(b)+.jpg", "a(b)+.jpg", True),
        ("*.jpg", "line\nbreak.jpg", True),
    ],
)
def test_a_pattern_is_one_of_hadoops(glob: str, name: str, is_taken: bool) -> None:
    assert Names(glob).left_out(name) == (None if is_taken else "not_matching")


@pytest.mark.parametrize("glob", ["[a", "{a", "[z-a]"])
def test_a_pattern_that_is_none_is_refused(glob: str) -> None:
    with pytest.raises(InvalidOptionError, match="is no pattern"):
        Names(glob)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.jpg", None),
        ("A.JPEG", None),
        ("raw.CR2", None),
        ("_MG_1.NEF", None),
        (".a.png", None),
        ("notes.txt", "not_matching"),
        ("jpg", "not_matching"),
        (".DS_Store", "hidden"),
        (".a.jpg.X7f3Qa", "hidden"),
        ("_SUCCESS", "hidden"),
        ("a.jpg._COPYING_", "hidden"),
    ],
)
def test_without_a_pattern_images_are_known_by_their_suffix(name: str, reason: str | None) -> None:
    assert Names(None).left_out(name) == reason
