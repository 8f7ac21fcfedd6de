"""Text that stands for a picture's bytes: base64 or a data URI of it. What is taken, in one place.

The URL-safe alphabet, white space and missing padding are taken. Hexadecimal digits are letters of
base64, too: text of nothing else is not taken for it.
"""

from __future__ import annotations

import binascii
import re

from pyspark_vision.executor.row_errors import ErrorCode, RowError

# So many letters at the beginning of text tell hexadecimal from base64: base64 of a picture begins
# with those of its format, and other bytes give 16 such letters once in 25 million times.
HEX_LETTERS = 16

_PLAIN = bytes.maketrans(b"-_", b"+/")
_BREAKS = b" \t\r\n"
_HEX = re.compile(rb"[0-9a-fA-F]++")
# As programs and databases write it: 0xffd8, \xffd8.
_HEX_MARK = re.compile(rb"(?:0[xX]|\\x)(?=[0-9a-fA-F])")
_ADDRESS = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")


def picture_bytes(text: str) -> bytes:
    """The bytes that base64, or a data URI of it (``data:image/png;base64,…``), stands for.

    Empty text is no bytes. :class:`RowError` of ``bad_base64`` for the rest, text that is
    hexadecimal among it.

    >>> picture_bytes("data:image/png;base64,iVBO Rw0K")
    b'\\x89PNG\\r\\n'
    """
    given = text.encode("utf-8", "replace").strip()
    if _ADDRESS.match(given):
        raise _bad("it is a URI, which fetch_object reads")
    bare = of_data_uri(given)
    if bare is None:
        raise _bad("it is a data URI without ;base64")
    if is_hexadecimal(bare):
        raise _bad("it is hexadecimal, which Spark's unhex reads")
    try:
        return decoded(bare)
    except binascii.Error as error:
        raise _bad(str(error)) from None


def of_data_uri(text: bytes) -> bytes | None:
    """What a data URI has as base64, or other text as it is; ``None``: it is no base64.

    >>> of_data_uri(b"data:image/png;base64,iVBO"), of_data_uri(b"iVBO"), of_data_uri(b"data:,x")
    (b'iVBO', b'iVBO', None)
    """
    if text[:5].lower() != b"data:":
        return text
    head, _, rest = text.partition(b",")
    return rest if head.lower().endswith(b";base64") else None


def is_hexadecimal(text: bytes, at_least: int = HEX_LETTERS) -> bool:
    """Whether text of so many letters or more is pairs of hexadecimal digits, perhaps with ``0x``
    or a backslash and ``x`` in front."""
    text = hex_digits(text)
    # The beginning first: most pictures end it there.
    if not _HEX.fullmatch(text[:HEX_LETTERS].translate(None, _BREAKS)):
        return False
    digits = text.translate(None, _BREAKS)
    return len(digits) >= at_least and len(digits) % 2 == 0 and bool(_HEX.fullmatch(digits))


def hex_digits(text: bytes) -> bytes:
    """Hexadecimal text without what says in front that it is some.

    >>> hex_digits(b"0xffd8"), hex_digits(b"ffd8")
    (b'ffd8', b'ffd8')
    """
    mark = _HEX_MARK.match(text)
    return text[mark.end() :] if mark else text


def decoded(text: bytes) -> bytes:
    """The bytes of base64, strictly but for what is taken here; raises :class:`binascii.Error`."""
    plain = text.translate(_PLAIN, _BREAKS).rstrip(b"=")
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)


def _bad(reason: str) -> RowError:
    return RowError(ErrorCode.BAD_BASE64, f"the image is not base64: {reason}")
