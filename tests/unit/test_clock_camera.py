"""The clock of benchmarks/clock_camera.py can be read back from a JPEG."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.clock_camera import SIZE_WH, SQUARE_PX, bits, draw_clock
from pyspark_vision.clients.capture.encoding import AS_IT_IS, jpeg_of


@pytest.mark.parametrize("taken_ms", [0, 1, 2**32 - 1, 2**32 + 5, 1_795_842_064_055])
def test_the_squares_of_a_jpeg_are_the_time_and_its_sum(taken_ms: int) -> None:
    image = Image.new("RGB", SIZE_WH, (90, 140, 60))
    draw_clock(image, taken_ms)

    shown = Image.open(io.BytesIO(jpeg_of(image, AS_IT_IS))).convert("L")
    middle = SQUARE_PX // 2
    read = [
        shown.getpixel((left + middle, middle)) > 127  # type: ignore[operator]
        for left in range(0, SIZE_WH[0], SQUARE_PX)
    ]

    assert read == bits(taken_ms)
    clock = int("".join(str(int(bit)) for bit in read[:32]), 2)
    assert clock == taken_ms % 2**32
    assert int("".join(str(int(bit)) for bit in read[32:]), 2) == sum(clock.to_bytes(4)) % 256
