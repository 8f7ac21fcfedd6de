"""Why a row has no result, or less than it seems: the codes, and what carries them in a worker.

A bad row never raises out of a UDF (an exception ends the worker, loses its model and fails the
task after retries); it is returned as data, ``error = {code, message}``. The public home of
:class:`ErrorCode` and :class:`WarningCode` is :mod:`pyspark_vision.errors`; they are defined here
because workers need them and modules of ``executor/`` import nothing of the package around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# A message is for a person reading a table; a decoder's own message can carry file content.
MAX_MESSAGE_CHARS = 300


class ErrorCode(StrEnum):
    """Every code that stands in ``error.code`` of a result row."""

    NULL_INPUT = "null_input"
    EMPTY_INPUT = "empty_input"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_BYTES = "too_many_bytes"
    FETCH_NOT_FOUND = "fetch_not_found"
    FETCH_DENIED = "fetch_denied"
    FETCH_FAILED = "fetch_failed"
    FETCH_REPLACED = "fetch_replaced"
    BAD_MESSAGE = "bad_message"
    BAD_BASE64 = "bad_base64"
    MODEL_FAILED = "model_failed"
    CRASHED = "crashed"
    # Of a dead letter alone: its row has a result, which a table did not take.
    TABLE_REFUSED = "table_refused"


class WarningCode(StrEnum):
    """Every code that stands in ``warnings`` of a result row, which has a result all the same."""

    BOXES_CAPPED = "boxes_capped"
    BOXES_WITHOUT_AREA = "boxes_without_area"
    LINES_CAPPED = "lines_capped"
    TEXT_CUT = "text_cut"
    PICTURE_INCOMPLETE = "picture_incomplete"
    PROFILE_IGNORED = "profile_ignored"
    FRAMES_CAPPED = "frames_capped"
    # Of the model, which its answer to this picture shows.
    MODEL_SUSPECT = "model_suspect"


@dataclass(frozen=True)
class RowWarning:
    """What a row's result lacks, or its model; ``{code, message}`` in the row's ``warnings``."""

    code: WarningCode
    message: str


class RowError(Exception):
    """One row cannot have a result; becomes ``{code, message}`` in the row's ``error``."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        printable = "".join(c if c.isprintable() else " " for c in message)
        if len(printable) > MAX_MESSAGE_CHARS:
            printable = printable[: MAX_MESSAGE_CHARS - 1] + "…"
        self.message = printable
