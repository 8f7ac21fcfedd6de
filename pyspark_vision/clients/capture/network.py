"""Cameras and videos at an address: RTSP, HTTP (MJPEG, HLS, files) and what else FFmpeg reads."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import av
import av.error

from pyspark_vision.clients.capture.encoding import AS_IT_IS, Encoding
from pyspark_vision.clients.capture.source import CaptureError, Shot
from pyspark_vision.clients.capture.video import (
    by_its_own_clock,
    frames,
    jpeg_of_frame,
    reason_of,
    with_pictures,
)

if TYPE_CHECKING:
    from av.container import InputContainer

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp", "tcp")

# To connect, and between two pictures of a camera.
TIMEOUT_S = 10.0

_RTSP_OPTIONS = {
    # Over UDP, the default, pictures arrive with holes in them; where there is no TCP it is tried.
    "rtsp_flags": "prefer_tcp",
    # Microseconds in which FFmpeg finds out what comes; with its five seconds the first pictures
    # are old when it knows.
    "analyzeduration": "1000000",
}


@dataclass(frozen=True)
class NetworkStream:
    """The pictures of an address.

    A live one is read as fast as it comes, and its pictures are there when they come. A file (it
    says how long it is) is played at its own speed, or ``rate`` pictures a second.
    """

    url: str
    encoding: Encoding = AS_IT_IS
    rate: float | None = None
    is_tried_again: ClassVar[bool] = True

    def shots(self) -> Iterator[Shot]:
        """A live stream that ends raises :class:`CaptureError`; a file just ends."""
        with self._opened() as container:
            if container.duration is not None:
                for number, (due_s, jpeg) in enumerate(by_its_own_clock(container, self.encoding)):
                    yield Shot(due_s if self.rate is None else number / self.rate, jpeg)
                return
            try:
                for frame in frames(container):
                    yield Shot(None, functools.partial(jpeg_of_frame, frame, self.encoding))
            except (av.error.FFmpegError, OSError) as error:
                raise CaptureError(f"{shown(self.url)}: {reason_of(error)}") from None
        raise CaptureError(f"{shown(self.url)}: the stream ended")

    def _opened(self) -> InputContainer:
        options = _RTSP_OPTIONS if self.url.lower().startswith("rtsp") else {}
        try:
            container = av.open(self.url, timeout=TIMEOUT_S, options=options)
        except (av.error.FFmpegError, OSError) as error:
            raise CaptureError(f"{shown(self.url)}: {reason_of(error)}") from None
        return with_pictures(container, shown(self.url))


def is_address(text: str) -> bool:
    """Whether it is one of :data:`SCHEMES` and an address."""
    return re.match(rf"({'|'.join(SCHEMES)})://.", text, re.IGNORECASE) is not None


def refuse_malformed(url: str) -> None:
    """Raise :class:`CaptureError` for an address that is none, as one with half a bracket."""
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise CaptureError(f"it is no address: {str(error).lower()}") from None


def shown(url: str) -> str:
    """The address without user, password and query, which may be secrets.

    >>> shown("rtsp://admin:secret@10.0.0.7:554/stream?key=1")
    'rtsp://10.0.0.7:554/stream'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
