"""The records of a journal's files: each with its length and checksum in front.

``length`` (uint32) and ``crc32`` (uint32) of the body; the body: ``sequence`` (uint64),
``accepted_ms`` (int64, since 1970), the length of the identity (uint8), the identity, the message.
All little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_FRAME, _BODY = struct.Struct("<II"), struct.Struct("<QqB")
# No message is as large; a length beyond it was never written by us.
MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """``identity``: of the request, by its Idempotency-Key; empty if it had none."""

    sequence: int
    accepted_ms: int
    message: bytes
    identity: bytes = b""


def encode(record: Record) -> bytes:
    """
    >>> [(record, end)] = decode(encode(Record(7, 0, b"default")))
    >>> record.sequence, end
    (7, 32)
    """
    fixed = _BODY.pack(record.sequence, record.accepted_ms, len(record.identity))
    body = b"".join((fixed, record.identity, record.message))
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def decode(data: bytes, start: int = 0) -> Iterator[tuple[Record, int]]:
    """The whole records from ``start`` on, each with where it ends; stops at what is none."""
    while start + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, start)
        begin = start + _FRAME.size
        end = begin + length
        if not _BODY.size <= length <= MAX_BODY_BYTES or end > len(data):
            return
        body = memoryview(data)[begin:end]
        if zlib.crc32(body) != checksum:
            return
        sequence, accepted_ms, identity_length = _BODY.unpack_from(body)
        message = _BODY.size + identity_length
        if message > length:
            return
        identity = bytes(body[_BODY.size : message])
        yield Record(sequence, accepted_ms, bytes(body[message:]), identity), end
        start = end


def is_followed_by_records(data: bytes, damage: int, expected: int) -> bool:
    """Whether whole records stand behind the damage at this byte: no torn end, then.

    ``expected``: the sequence number that should have come.
    """
    for start in range(damage + 1, len(data) - _FRAME.size - _BODY.size + 1):
        for record, _ in decode(data, start):
            if record.sequence > expected:
                return True
            break
    return False
