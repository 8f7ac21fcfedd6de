"""Image files as a bad disk, a cut connection or an attacker leaves them: a seeded mutator."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

from pyspark_vision.clients import scenes

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_SIZE_WH = (96, 64)
_ORIGINALS = 8
# Where a change hits what is read first: signature, sizes, tables.
_HEADER_BYTES = 64


def mutated(count: int, rng: random.Random) -> Iterator[bytes]:
    """``count`` files, of the formats in turn, each broken by one to four changes."""
    originals = {format_: [_image(format_, rng) for _ in range(_ORIGINALS)] for format_ in FORMATS}
    for number in range(count):
        data = bytearray(rng.choice(originals[FORMATS[number % len(FORMATS)]]))
        for _ in range(rng.randint(1, 4)):
            rng.choice(_CHANGES)(data, rng)
        yield bytes(data)


def _image(format_: str, rng: random.Random) -> bytes:
    file = io.BytesIO()
    scenes.draw_scene(rng.randrange(10**6), _SIZE_WH)[0].save(file, format_)
    return file.getvalue()


def _place(data: bytearray, rng: random.Random) -> int:
    end = min(len(data), _HEADER_BYTES) if rng.random() < 0.5 else len(data)
    return rng.randrange(max(1, end))


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if data:
            data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    start, length = _place(data, rng), rng.randint(1, 16)
    data[start : start + length] = rng.choice(
        [bytes(length), b"\xff" * length, rng.randbytes(length)]
    )


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    del data[start : start + rng.randint(1, 64)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    data[start:start] = data[start : start + rng.randint(1, 256)]


_CHANGES = (_flip_bits, _overwrite, _cut, _remove, _repeat)
