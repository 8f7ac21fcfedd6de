"""A drawn camera whose pictures show the time at which they were taken, to be read back later.

python -m benchmarks.clock_camera --kafka-servers 127.0.0.1:9092 --rate 5

Along the upper edge of each picture stand 40 squares, black or white: milliseconds since 1970
modulo 2**32, highest bit first, and a sum of its four bytes. All else is as `pyspark-vision
produce` does it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, ImageDraw

from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.capture.cameras import Camera
from pyspark_vision.clients.capture.drawn import FRAMES_PER_S
from pyspark_vision.clients.capture.encoding import AS_IT_IS, jpeg_of
from pyspark_vision.clients.capture.source import Shot
from pyspark_vision.clients.filming import Pacing
from pyspark_vision.clients.produce import Target, produce
from pyspark_vision.clients.scenes import draw_frame

SIZE_WH = (640, 480)
CLOCK_BITS, SUM_BITS = 32, 8
# A square of JPEG's blocks with colours at half scale, so that no square bleeds into the next.
SQUARE_PX = SIZE_WH[0] // (CLOCK_BITS + SUM_BITS)
# The scene that `pyspark-vision up` draws.
_SEED = 2


@dataclass(frozen=True)
class ClockedScenes:
    """A drawn scene with the clock; ``rate``: pictures a second."""

    rate: float
    is_tried_again: ClassVar[bool] = False

    def shots(self) -> Iterator[Shot]:
        """Each is drawn when it is wanted, and its time is that before drawing it."""
        for number in itertools.count():
            due_s = number / self.rate
            yield Shot(due_s, functools.partial(_jpeg, round(due_s * FRAMES_PER_S)))


def _jpeg(frame_index: int) -> bytes:
    taken_ms = time.time_ns() // 1_000_000
    image, _ = draw_frame(_SEED, frame_index, SIZE_WH)
    draw_clock(image, taken_ms)
    return jpeg_of(image, AS_IT_IS)


def draw_clock(image: Image.Image, taken_ms: int) -> None:
    """Draw the squares into an RGB picture of :data:`SIZE_WH`."""
    pen = ImageDraw.Draw(image)
    for place, bit in enumerate(bits(taken_ms)):
        left = place * SQUARE_PX
        corners = (left, 0, left + SQUARE_PX - 1, SQUARE_PX - 1)
        pen.rectangle(corners, fill="white" if bit else "black")


def bits(taken_ms: int) -> list[bool]:
    """The squares' values, from left to right."""
    clock = taken_ms % 2**CLOCK_BITS
    whole = clock << SUM_BITS | sum(clock.to_bytes(4, "big")) % 2**SUM_BITS
    return [digit == "1" for digit in f"{whole:0{CLOCK_BITS + SUM_BITS}b}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Send until a signal."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.clock_camera",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kafka-servers", required=True)
    parser.add_argument("--rate", type=float, default=5.0, help="(default: %(default)g)")
    options = parser.parse_args(argv)
    camera = Camera("clock", ClockedScenes(options.rate))
    pacing = Pacing(rate=None, duration_s=None, puts_off=False)
    return produce([camera], pacing, Target(Brokers(options.kafka_servers), "pycturestream"), [])


if __name__ == "__main__":
    sys.exit(main())
