"""Who may look at a page that this machine serves."""

from __future__ import annotations

import pytest

from pyspark_vision.clients import access


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("camera-pc", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert access.is_loopback(host) is expected


def test_a_page_bound_elsewhere_has_a_token_that_is_new_each_time() -> None:
    assert access.token_for("127.0.0.1") is None
    first, second = access.token_for("0.0.0.0"), access.token_for("0.0.0.0")
    assert first
    assert first != second
    assert access.allowed(first, first)
    assert not access.allowed(first, second)
    assert not access.allowed(first, None)
    assert not access.allowed(first, "é")


@pytest.mark.parametrize(
    ("bound", "header", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:8050", True),
        ("127.0.0.1", "localhost", True),
        ("::1", "[::1]:8050", True),
        ("127.0.0.1", "rebound.example:8050", False),
        ("127.0.0.1", None, False),
        ("0.0.0.0", "camera-pc:8050", True),
    ],
)
def test_names_of_other_sites_are_not_this_machine(
    bound: str, header: str | None, expected: bool
) -> None:
    assert access.is_own_host(bound, header) is expected
