"""The codes of rows, and the exception that carries one: readable, printable, short."""

from __future__ import annotations

import pytest

from pyspark_vision import errors
from pyspark_vision.executor.row_errors import MAX_MESSAGE_CHARS, ErrorCode, RowError


def test_the_codes_are_those_that_consumers_filter_by() -> None:
    assert [code.value for code in ErrorCode] == [
        "null_input",
        "empty_input",
        "unsupported_format",
        "undecodable",
        "truncated",
        "too_many_pixels",
        "too_many_bytes",
        "fetch_not_found",
        "fetch_denied",
        "fetch_failed",
        "fetch_replaced",
        "bad_message",
        "bad_base64",
        "model_failed",
        "crashed",
        "table_refused",
    ]


def test_a_code_is_its_text() -> None:
    code: str = ErrorCode.TRUNCATED
    assert code == "truncated"
    assert f"{code}" == "truncated"


def test_the_public_home_of_the_codes_is_errors() -> None:
    assert errors.ErrorCode is ErrorCode


def test_row_error_keeps_code_and_message() -> None:
    error = RowError(ErrorCode.TRUNCATED, "JPEG: cut short")
    assert (error.code, error.message) == (ErrorCode.TRUNCATED, "JPEG: cut short")


@pytest.mark.parametrize(
    ("message", "printable"),
    [
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("bell\x07 escape\x1b[31m null\0", "bell  escape [31m null "),
        ("right-to-left \u202e override", "right-to-left   override"),
        ("a lone surrogate \ud800", "a lone surrogate  "),
        ("crème 猫 🐈", "crème 猫 🐈"),
    ],
)
def test_message_is_printable(message: str, printable: str) -> None:
    assert RowError(ErrorCode.UNDECODABLE, message).message == printable


def test_message_of_the_longest_length_stays_whole() -> None:
    text = "x" * MAX_MESSAGE_CHARS
    assert RowError(ErrorCode.UNDECODABLE, text).message == text


@pytest.mark.parametrize("length", [MAX_MESSAGE_CHARS + 1, 1_000_000])
def test_longer_message_is_cut_with_an_ellipsis(length: int) -> None:
    message = RowError(ErrorCode.UNDECODABLE, "x" * length).message
    assert message == "x" * (MAX_MESSAGE_CHARS - 1) + "…"


def test_every_error_of_the_library_has_one_base() -> None:
    others = {"ErrorCode", "DropReason", "WarningCode", "by_reason"}
    raised = [getattr(errors, name) for name in errors.__all__ if name not in others]
    assert all(issubclass(error, errors.PysparkVisionError) for error in raised)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InvalidModelError, ValueError),
        (errors.InvalidOptionError, ValueError),
        (errors.MissingDependencyError, ImportError),
        (errors.WorkerEnvironmentError, RuntimeError),
    ],
)
def test_errors_are_also_the_builtin_they_resemble(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)
