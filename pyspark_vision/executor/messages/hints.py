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
PICTURE = ": it is a picture itself, which `payload` image of stream_detect reads"
PICTURE_HEX = ": it is hexadecimal, which `unpack` hex reads"
NUMBER_AS_ID = "; `coerce` takes numbers as ids"
NUMBER_AS_TIME = "; `timestamp_unit` s, ms, us or ns reads a number"
DIGITS_AS_TIME = "; `timestamp_unit` s, ms, us or ns with `coerce` reads digits"
FIELD = "`field` {}=PATH says where it is, `unwrap` NAME what it lies in"

MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
LITERALS = (b"b'", b'b"')
GZIP_MAGIC = b"\x1f\x8b\x08"

# How encoded pictures begin: JPEG, PNG, GIF, RIFF (WebP).
PICTURE_MAGICS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")


def of_message(value: bytes, unpacked: Collection[str] = ()) -> str:
    """What a message that is no JSON object looks like, and what reads that; or nothing.

    ``unpacked``: the layers that were taken off, where they were.
    """
    layer, hint = _looks_like(value)
    if layer in unpacked:
        return f": it is {layer} within {layer}, or has it twice, and one of each is taken off"
    return hint


def _looks_like(value: bytes) -> tuple[str, str]:
    """A layer by its name in `unpack`, and what reads it."""
    if value.startswith(GZIP_MAGIC):
        return "gzip", GZIP
    if value.startswith(MARKS):
        return "bom", BOM
    if value.startswith(LITERALS):
        return "python-bytes", PYTHON_BYTES
    if value.startswith(b"\0") and len(value) > 5:
        return "confluent", CONFLUENT_JSON if value[5:6] == b"{" else CONFLUENT_AVRO
    return "", PICTURE if value.startswith(PICTURE_MAGICS) else ""
