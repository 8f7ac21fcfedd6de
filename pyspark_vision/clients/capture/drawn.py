"""Drawn scenes that move as a video would, with as many pictures a second as are wanted."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pyspark_vision.clients.capture.encoding import AS_IT_IS, Encoding, jpeg_of
from pyspark_vision.clients.capture.source import Shot
from pyspark_vision.clients.scenes import draw_frame

# Things of a scene swing within 90 to 240 frames: in 4 to 10 s, whatever the rate.
FRAMES_PER_S = 25.0
DEFAULT_RATE = 5.0
DEFAULT_SIZE_WH = (640, 480)


@dataclass(frozen=True)
class DrawnScenes:
    """A camera before a scene without an end; the same seed shows the same."""

    seed: int
    encoding: Encoding = AS_IT_IS
    rate: float = DEFAULT_RATE  # pictures a second
    is_tried_again: ClassVar[bool] = False

    def shots(self) -> Iterator[Shot]:
        """Each picture is drawn when it is wanted, at the size that is sent."""
        for number in itertools.count():
            due_s = number / self.rate
            yield Shot(due_s, functools.partial(self._jpeg, round(due_s * FRAMES_PER_S)))

    def _jpeg(self, frame_index: int) -> bytes:
        image, _ = draw_frame(self.seed, frame_index, self.encoding.size_wh or DEFAULT_SIZE_WH)
        return jpeg_of(image, self.encoding)
