"""What all sources of pictures give: shots that are due at a moment, encoded when they are wanted.

A source of its own speed (a file, a folder, drawn scenes) says when each shot is due; a live one (a
webcam, a camera of the network) has its shots when they are there. The JPEG is made only for shots
that are sent: what is late costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pyspark_vision.errors import PysparkVisionError


class CaptureError(PysparkVisionError, RuntimeError):
    """A source that gives no pictures, or none any more; the message says why and what to do."""


class BadPictureError(Exception):
    """One picture of a source that cannot be sent; ``code`` is what it is counted under."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        due_s: seconds from the first shot of its source to this one; ``None``: now, for it is live.
        jpeg: makes the encoded picture; raises :class:`BadPictureError`.
    """

    due_s: float | None
    jpeg: Callable[[], bytes]


class Source(Protocol):
    """Pictures of one camera, from its beginning at each call of ``shots``."""

    @property
    def is_tried_again(self) -> bool:
        """Whether what has failed may be there again later, as a camera that was unplugged."""

    def shots(self) -> Iterator[Shot]:
        """Ends with the source; raises :class:`CaptureError` where it fails."""
