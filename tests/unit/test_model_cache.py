"""The worker's cache of loaded models: one load for each content, the least recently used out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyspark_vision.executor.models import model_cache


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test: the module's is this process's."""
    monkeypatch.setattr(model_cache, "_loaded", type(model_cache._loaded)())
    monkeypatch.setattr(model_cache, "load_counts", {})


@pytest.fixture
def loaded() -> list[str]:
    """Keys in the order in which they were loaded."""
    return []


@pytest.fixture
def get(loaded: list[str]) -> Callable[[str], str]:
    """The cache's ``get`` with a load that takes note."""

    def get_model(key: str) -> str:
        def load() -> str:
            loaded.append(key)
            return f"model {key}"

        return model_cache.get(key, load)

    return get_model


def test_same_key_loads_once(get: Callable[[str], str], loaded: list[str]) -> None:
    assert [get("a"), get("a"), get("a")] == ["model a"] * 3
    assert loaded == ["a"]


def test_same_key_gives_the_same_object() -> None:
    first = model_cache.get("a", object)
    assert model_cache.get("a", object) is first


def test_equal_keys_are_one_key() -> None:
    first = model_cache.get(("sha", 1), object)
    assert model_cache.get(("sha", 1), object) is first


def test_other_key_loads_again(get: Callable[[str], str], loaded: list[str]) -> None:
    assert [get("a"), get("b")] == ["model a", "model b"]
    assert loaded == ["a", "b"]


def test_as_many_models_as_allowed_stay(get: Callable[[str], str], loaded: list[str]) -> None:
    keys = [str(n) for n in range(model_cache.MAX_MODELS)]
    for key in keys * 2:
        get(key)
    assert loaded == keys


@pytest.mark.parametrize(
    ("used", "loads"),
    [("abc", "abc"), ("abca", "abca"), ("abcbc", "abc")],
)
def test_one_model_more_than_allowed_puts_the_oldest_out(
    used: str,
    loads: str,
    get: Callable[[str], str],
    loaded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_cache, "MAX_MODELS", 2)
    for key in used:
        get(key)
    assert "".join(loaded) == loads


def test_use_saves_a_model_from_going_out(
    get: Callable[[str], str], loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "MAX_MODELS", 2)
    for key in "abacab":
        get(key)
    # c puts b out, not a, which was used since; then a is there still and b is not.
    assert "".join(loaded) == "abcb"


def test_loads_are_counted_by_key(
    get: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "MAX_MODELS", 1)
    for key in "aabba":
        get(key)
    assert model_cache.load_counts == {"a": 2, "b": 1}


def test_load_that_fails_is_neither_kept_nor_counted(get: Callable[[str], str]) -> None:
    def fail() -> str:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        model_cache.get("a", fail)
    assert model_cache.load_counts == {}
    assert get("a") == "model a"


def test_load_that_fails_puts_no_other_model_out(
    get: Callable[[str], str], loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "MAX_MODELS", 1)
    get("a")
    with pytest.raises(ZeroDivisionError):
        model_cache.get("b", lambda: 1 / 0)
    get("a")
    assert loaded == ["a"]
