"""The names of ``pyspark_vision`` itself, which come from its modules when they are first used."""

from __future__ import annotations

import sys

import pytest

import pyspark_vision
from pyspark_vision.errors import MissingDependencyError


def test_without_pyspark_a_name_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(pyspark_vision), "classify_image", raising=False)
    monkeypatch.delitem(sys.modules, "pyspark_vision.functions", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'pyspark_vision\[spark\]'"):
        from pyspark_vision import classify_image  # noqa: F401


def test_another_package_that_is_missing_is_named_as_python_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(vars(pyspark_vision), "classify_image", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark_vision.functions", None)

    with pytest.raises(ModuleNotFoundError, match=r"pyspark_vision\.functions"):
        from pyspark_vision import classify_image  # noqa: F401


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'clasify_image'"):
        pyspark_vision.clasify_image  # noqa: B018
