"""What is around a document: gzip, Confluent's framing, a byte order mark, base64, text of JSON's
or of Python's bytes.

Each is recognized by how it begins, taken off once, in whatever order they come. An option lets a
layer be there and does not demand it: a topic to which older messages are put back holds both.
"""

from __future__ import annotations

import ast
import binascii
import codecs
import json
import re
import zlib

from pyspark_vision.executor.decode import base64_text
from pyspark_vision.executor.messages import hints
from pyspark_vision.executor.messages.form import Layer
from pyspark_vision.executor.row_errors import ErrorCode, RowError

# UTF-32's first: the little-endian one begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# The magic byte, and the schema's id in four bytes, big-endian.
_FRAME_BYTES = 5

# One literal as Python writes it, and nothing else: what is behind it would be evaluated, too.
_ESCAPES = rb"""\\(?:[\\'"nrt]|x[0-9a-f]{2})"""
_LITERAL = re.compile(
    rb"""b(?:'(?:[^'\\\n\r]++|%b)*+'|"(?:[^"\\\n\r]++|%b)*+")""" % (_ESCAPES, _ESCAPES)
)

# No document is all of these: an object has braces.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=\s-]++")

# zlib's: a gzip header is expected.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def unpacked(value: bytes, layers: frozenset[Layer], max_bytes: int) -> tuple[bytes, int | None]:
    """The document's bytes, and the schema's id of a frame.

    Raises :class:`RowError` for a layer that is damaged, or larger unpacked than ``max_bytes``.
    """
    schema_id: int | None = None
    left = set(layers)
    while (layer := _outermost(value, left)) is not None:
        left.remove(layer)
        if layer is Layer.GZIP:
            value = _inflated(value, max_bytes)
        elif layer is Layer.CONFLUENT:
            schema_id = int.from_bytes(value[1:_FRAME_BYTES])
            value = value[_FRAME_BYTES:]
        elif layer is Layer.BOM:
            value = _as_utf8(value)
        elif layer is Layer.BASE64:
            value = _of_base64(value)
        elif layer is Layer.JSON_TEXT:
            value = _of_json_text(value)
        else:
            value = literal(value)
    return value, schema_id


def is_literal(text: bytes) -> bool:
    """Whether text begins as Python writes bytes."""
    return text.startswith((b"b'", b'b"'))


def literal(text: bytes) -> bytes:
    r"""What Python's ``b'…'`` stands for.

    >>> literal(b"b'{\"a\": 1}\\n'")
    b'{"a": 1}\n'
    """
    if _LITERAL.fullmatch(text):
        try:
            value = ast.literal_eval(text.decode("ascii"))
        except (ValueError, SyntaxError, MemoryError):  # beyond ASCII, a bad escape
            value = None
        if isinstance(value, bytes):
            return value
    raise RowError(ErrorCode.BAD_MESSAGE, "it begins as Python's bytes (b'…') and does not end so")


def _outermost(value: bytes, layers: set[Layer]) -> Layer | None:
    if Layer.GZIP in layers and value.startswith(hints.GZIP_MAGIC):
        return Layer.GZIP
    if Layer.CONFLUENT in layers and value.startswith(b"\0") and len(value) >= _FRAME_BYTES:
        return Layer.CONFLUENT
    if Layer.BOM in layers and value.startswith(tuple(mark for mark, _ in _MARKS)):
        return Layer.BOM
    if Layer.PYTHON_BYTES in layers and is_literal(value):
        return Layer.PYTHON_BYTES
    if Layer.BASE64 in layers and _BASE64.fullmatch(value):
        return Layer.BASE64
    if Layer.JSON_TEXT in layers and value.lstrip().startswith(b'"'):
        return Layer.JSON_TEXT
    return None


def _inflated(value: bytes, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    room = max_bytes
    while value:  # a file may hold several, one behind the other
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            pieces.append(member.decompress(value, room + 1))
        except zlib.error as error:
            raise RowError(ErrorCode.BAD_MESSAGE, f"the message is damaged gzip: {error}") from None
        room -= len(pieces[-1])
        if room < 0:
            raise RowError(
                ErrorCode.TOO_MANY_BYTES,
                f"the message has more bytes unpacked; the limit is max_message_bytes={max_bytes}",
            )
        if not member.eof:
            raise RowError(ErrorCode.BAD_MESSAGE, "the message is gzip that is cut off")
        value = member.unused_data
    return b"".join(pieces)


def _of_base64(value: bytes) -> bytes:
    try:
        return base64_text.decoded(value)
    except binascii.Error as error:
        raise RowError(ErrorCode.BAD_MESSAGE, f"the message is damaged base64: {error}") from None


def _of_json_text(value: bytes) -> bytes:
    try:
        text = json.loads(value.decode())
    except ValueError:
        raise RowError(
            ErrorCode.BAD_MESSAGE, "the message begins as JSON's text and does not end so"
        ) from None
    return str(text).encode("utf-8", "replace")


def _as_utf8(value: bytes) -> bytes:
    encoding = next(name for mark, name in _MARKS if value.startswith(mark))
    if encoding == "utf-8-sig":
        return value[len(codecs.BOM_UTF8) :]
    try:
        return value.decode(encoding).encode()
    except UnicodeError as error:
        raise RowError(
            ErrorCode.BAD_MESSAGE,
            f"the message is not {encoding.upper()}, as its mark says: {error.__class__.__name__}",
        ) from None
