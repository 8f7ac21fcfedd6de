"""Which picture of a camera is its last one, where results come from several partitions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.camera_pictures import MAX_CAMERAS, CameraPictures
from pyspark_vision.clients.pycturestream import Result

NAME = "output.jpg"
# A result's time is the job's clock; where that was set back, its pictures are shown after so long.
_CLOCK_PATIENCE_S = 10.0


@dataclass(frozen=True)
class _Shown:
    sent_ms: int
    at: float  # time.monotonic()


class LatestPictures:
    """``output.jpg`` of each camera in a folder that was claimed."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._pictures, self._say = CameraPictures(folder, NAME), say
        self._offered: dict[str, tuple[int, bytes]] = {}
        self._shown: dict[str, _Shown] = {}
        self._says_too_many = True

    def offer(self, result: Result, sent_ms: int) -> None:
        """A result's picture, if it has one; ``sent_ms``: the time of its record."""
        camera = result.camera_id
        if result.jpeg is not None and sent_ms >= self._offered.get(camera, (sent_ms,))[0]:
            self._offered[camera] = (sent_ms, result.jpeg)

    def keep(self) -> None:
        """Write the newest of each camera that was offered. Raises :class:`OSError`."""
        now = time.monotonic()
        for camera, (sent_ms, jpeg) in self._offered.items():
            shown = self._shown.get(camera)
            if shown and sent_ms < shown.sent_ms and now - shown.at < _CLOCK_PATIENCE_S:
                continue
            if self._pictures.keep(camera, jpeg):
                self._shown[camera] = _Shown(sent_ms, now)
            elif self._says_too_many:
                self._says_too_many = False
                self._say(f"more than {MAX_CAMERAS} cameras: further ones have no {NAME}")
        self._offered.clear()
