"""A picture as text: base64 or a data URI -> its bytes."""

from __future__ import annotations

import binascii
import re

from pyspark_vision.executor.row_errors import ErrorCode, RowError

# As in messages: the URL-safe alphabet and line breaks are taken, too.
_PLAIN = bytes.maketrans(b"-_", b"+/")
_BREAKS = b" \t\r\n"
# Hexadecimal digits are letters of base64. So many of them at the beginning tell the two apart:
# base64 of other bytes begins so once in 25 million times.
_HEX_LETTERS = 16
_HEX = re.compile(rb"[0-9a-fA-F]++")
_ADDRESS = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")


def picture_bytes(text: str) -> bytes:
    """The bytes that base64, or a data URI of it (``data:image/png;base64,…``), stands for.

    The URL-safe alphabet, white space and missing padding are taken. Empty text is no bytes.
    :class:`RowError` of ``bad_base64`` for the rest, text that is hexadecimal among it.

    >>> picture_bytes("data:image/png;base64,iVBO Rw0K")
    b'\\x89PNG\\r\\n'
    """
    given = text.encode("utf-8", "replace").strip()
    if given[:5].lower() == b"data:":
        head, _, given = given.partition(b",")
        if not head.lower().endswith(b";base64"):
            raise _bad("it is a data URI without ;base64")
    elif _ADDRESS.match(given):
        raise _bad("it is a URI, which fetch_object reads")
    plain = given.translate(_PLAIN, _BREAKS).rstrip(b"=")
    begins_as_hex = len(plain) >= _HEX_LETTERS and _HEX.fullmatch(plain[:_HEX_LETTERS])
    if begins_as_hex and len(plain) % 2 == 0 and _HEX.fullmatch(plain):
        raise _bad("it is hexadecimal, which Spark's unhex reads")
    try:
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except binascii.Error as error:
        raise _bad(str(error)) from None


def _bad(reason: str) -> RowError:
    return RowError(ErrorCode.BAD_BASE64, f"the image is not base64: {reason}")
