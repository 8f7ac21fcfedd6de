"""Files of JSON beside a model: an object, nothing, or one line that says what is wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pyspark_vision.bundles.json_file import json_object
from pyspark_vision.errors import InvalidModelError


def test_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"id2label": {"0": "Kätzchen"}}', encoding="utf-8")

    assert json_object(path) == {"id2label": {"0": "Kätzchen"}}


def test_where_there_is_no_file_there_is_nothing(tmp_path: Path) -> None:
    assert json_object(tmp_path / "config.json") == {}
    assert json_object(tmp_path) == {}
    assert json_object(None) == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"{", "is not JSON: Expecting property name"),
        (b"\xff{}", "is not JSON: 'utf-8' codec"),
        (b"[" * 100_000, "is not JSON: "),
        (b"[]", "is no JSON object"),
        (b"null", "is no JSON object"),
    ],
)
def test_anything_else_is_named_with_its_reason(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)

    with pytest.raises(InvalidModelError, match=re.escape(f"{path} {why}")):
        json_object(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    path.chmod(0)

    with pytest.raises(InvalidModelError, match="cannot be read: Permission denied"):
        json_object(path)
