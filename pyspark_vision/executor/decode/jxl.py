"""The size of a JPEG XL picture from its first bytes: its plugin decodes before it tells."""

from __future__ import annotations

import struct

_CODESTREAM = b"\xff\x0a"
_BOX = struct.Struct(">I4s")
# ISO/IEC 18181-1, SizeHeader: width / height of the ratios 1 to 7, and the bits of a U32.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_U32_BITS = (9, 13, 18, 30)
# A SizeHeader has at most 1 + 2 * (2 + 30) + 3 bits.
_HEADER_BYTES = 9


def size_wh(data: bytes) -> tuple[int, int] | None:
    """Width and height as stored; ``None`` where the header cannot be read."""
    stream = data if data.startswith(_CODESTREAM) else _codestream(data)
    header = stream[2 : 2 + _HEADER_BYTES]
    if not stream.startswith(_CODESTREAM) or not header:
        return None
    bits = _Bits(header)
    is_small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if is_small else bits.u32()
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return (8 * (bits.take(5) + 1) if is_small else bits.u32()), height


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream in a container of boxes."""
    position = 0
    while position + _BOX.size <= len(data):
        length, kind = _BOX.unpack_from(data, position)
        start = position + _BOX.size
        if length == 1:  # the length follows, in 64 bits
            length = int.from_bytes(data[start : start + 8], "big")
            start += 8
        if kind == b"jxlp":  # a part, after its number
            start += 4
        if kind in (b"jxlc", b"jxlp"):
            return data[start : start + 2 + _HEADER_BYTES]
        if length < _BOX.size:  # to the end of the file, or damaged
            break
        position += length
    return b""


class _Bits:
    """Bits of a header, the lowest of each byte first; those beyond its end are 0."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def u32(self) -> int:
        return 1 + self.take(_U32_BITS[self.take(2)])
