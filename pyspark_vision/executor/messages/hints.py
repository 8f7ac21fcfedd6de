"""Which option would have read a message that was refused: the words of its error."""

from __future__ import annotations

from collections.abc import Collection

# Options are named as parameters: `unpack` is the flag `unpack` of a job.
GZIP = ": it is gzip, which `unpack` gzip reads"
BOM = ": it begins with a byte order mark, which `unpack` bom reads"
PYTHON_BYTES = ": it is text of Python's bytes (b'…'), which `unpack` python-bytes reads"
CONFLUENT_JSON = ": it has Confluent's framing, which `unpack` confluent reads"
CONFLUENT_AVRO = (
    ": it begins as Confluent's framing does (a zero byte and a schema's id), which "
    "`schema_registry` URL, or `avro_schema` FILE with `unpack` confluent, reads"
)
OF_FRAMED = "; Avro is read by `schema_registry` URL or `avro_schema` FILE, Protobuf is not read"
BASE64 = ": it is base64 of a document, which `unpack` base64 reads"
JSON_TEXT = ": it is JSON in JSON's own quotes, which `unpack` json-text reads"
LIST = ", but a list; `unwrap` 0 reads a list of one"
PICTURE = ": it is a picture itself, which `payload` image reads"
PICTURE_HEX = ": it is hexadecimal, which `unpack` hex reads"
NUMBER_AS_ID = "; `coerce` takes numbers as ids"
NUMBER_AS_TIME = "; `timestamp_unit` s, ms, us or ns reads a number"
DIGITS_AS_TIME = "; `timestamp_unit` s, ms, us or ns with `coerce` reads digits"
# Of what was sent as one record and is several messages, no part is read.
MORE_BEHIND = (
    "the message has more behind its first JSON object; a record is read that holds one alone"
)
FIELD = "`field` {}=PATH says where it is, `unwrap` NAME what it lies in"

MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
LITERALS = (b"b'", b'b"')
# No JSON begins so, and what Avro and Protobuf count often does.
_CONTROLS = frozenset(bytes([code]) for code in range(32) if code not in b"\t\n\r")
GZIP_MAGIC = b"\x1f\x8b\x08"
# Base64 of an object (a brace, then a quote, a line end or a blank) and of gzip; text in quotes.
BASE64_MAGICS = (b"eyI", b"eyJ", b"ewo", b"ew0", b"eyA", b"H4sI")
JSON_TEXT_MAGICS = (b'"{', b'"[', b'"\\')

# How encoded pictures begin: JPEG, PNG, GIF, RIFF (WebP).
PICTURE_MAGICS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")


def of_message(value: bytes, unpacked: Collection[str] = ()) -> str:
    """What a message that is no JSON object looks like, and what reads that; or nothing.

    ``unpacked``: the layers that were taken off, where they were.
    """
    layer, hint = _looks_like(value)
    if layer in unpacked:
        return f": it is {layer} within {layer}, or has it twice, and one of each is taken off"
    if not hint and "confluent" in unpacked and value[:1] in _CONTROLS:
        return OF_FRAMED
    return hint


def _looks_like(value: bytes) -> tuple[str, str]:
    """A layer by its name in `unpack`, and what reads it."""
    if value.startswith(GZIP_MAGIC):
        return "gzip", GZIP
    if value.startswith(MARKS):
        return "bom", BOM
    if value.startswith(LITERALS):
        return "python-bytes", PYTHON_BYTES
    if value.startswith(BASE64_MAGICS):
        return "base64", BASE64
    if value.startswith(JSON_TEXT_MAGICS):
        return "json-text", JSON_TEXT
    if value.startswith(b"\0") and len(value) > 5:
        return "confluent", CONFLUENT_JSON if value[5:6] == b"{" else CONFLUENT_AVRO
    return "", PICTURE if value.startswith(PICTURE_MAGICS) else ""
