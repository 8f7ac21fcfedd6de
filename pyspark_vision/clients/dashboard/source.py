"""What fills a summary: a folder, a file of events, a topic; and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pyspark_vision.clients.dashboard.answers import Example
from pyspark_vision.clients.dashboard.summary import Summary


@dataclass(frozen=True)
class Status:
    """``summary`` of what was read so far. ``version`` changes whenever the page would.

    ``progress``: what is being read, or empty; ``notes``: what a person should know, a sentence
    each: what is missing, what cannot be read and why.
    """

    summary: Summary
    version: int
    progress: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """An encoded picture as it is stored, and the boxes that are not drawn on it yet.

    ``boxes``: sides xmin, ymin, xmax, ymax in [0, 1] of the upright picture.
    """

    encoded: bytes
    boxes: tuple[tuple[float, float, float, float], ...] = ()


class PictureMissing(LookupError):
    """There is no picture of an example; its text says why."""


class Source(Protocol):
    """``shown``: what the user named. ``about``: what it is, in a few words."""

    @property
    def shown(self) -> str: ...

    @property
    def about(self) -> str: ...

    @property
    def status(self) -> Status:
        """Of the last look; from any thread, at once."""

    def look(self) -> None:
        """Take what is new; for one thread, again and again. Never raises for what it finds."""

    def picture(self, example: Example) -> Picture:
        """The picture of an example. Raises :class:`PictureMissing`."""

    def close(self) -> None:
        """End what it has open."""
