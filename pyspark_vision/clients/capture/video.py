"""Videos by PyAV, whose wheel brings FFmpeg: files, and what FFmpeg reads in the same way."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import av
import av.error
from PIL import Image

from pyspark_vision.clients.capture.encoding import AS_IT_IS, Encoding, fitted_wh, jpeg_of
from pyspark_vision.clients.capture.source import BadPictureError, CaptureError, Shot

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

# Of videos that do not say their own.
_USUAL_RATE = 25.0
# So many damaged packets in a row are no video any more: ten seconds of a usual one.
_MOST_DAMAGED = 250


@dataclass(frozen=True)
class VideoFile:
    """A file's pictures at the video's own speed, or ``rate`` of them a second; ``loop``: again
    from the first one at its end."""

    path: Path
    encoding: Encoding = AS_IT_IS
    rate: float | None = None
    loop: bool = False
    is_tried_again: ClassVar[bool] = False

    def check(self) -> None:
        """Raise :class:`CaptureError` if it is no video."""
        with opened_file(self.path):
            pass

    def shots(self) -> Iterator[Shot]:
        """Damaged parts are shots that fail."""
        start_s, numbers = 0.0, itertools.count()
        while True:
            with opened_file(self.path) as container:
                begun = False
                for due_s, shot in by_its_own_clock(container, self.encoding):
                    begun, end_s = True, start_s + due_s + 1 / own_rate(container)
                    at_s = start_s + due_s if self.rate is None else next(numbers) / self.rate
                    yield Shot(at_s, shot)
            if not self.loop:
                return
            if not begun:
                raise CaptureError(f"{self.path} has no picture")
            start_s = end_s


def opened_file(path: Path) -> InputContainer:
    """A container with pictures; raises :class:`CaptureError`."""
    try:
        # Without file: a name such as "a:b.mp4" would be taken for a protocol.
        container = av.open(f"file:{path}")
    except (av.error.FFmpegError, OSError) as error:
        raise CaptureError(f"{path} cannot be read as a video: {reason_of(error)}") from None
    return with_pictures(container, str(path))


def with_pictures(container: InputContainer, name: str) -> InputContainer:
    """The container, if it has a video; else it is closed, and :class:`CaptureError` raised."""
    if not container.streams.video:
        container.close()
        raise CaptureError(f"{name} has no pictures, only sound or text")
    return container


def reason_of(error: Exception) -> str:
    """What FFmpeg says, without the address, which may hold a password."""
    if isinstance(error, av.error.ExitError):  # PyAV ends FFmpeg's call when its time is over
        return "no answer in time"
    return (getattr(error, "strerror", None) or str(error)).strip().lower()


def own_rate(container: InputContainer) -> float:
    """Pictures a second, as the video says."""
    return float(container.streams.video[0].average_rate or _USUAL_RATE)


def frames(container: InputContainer) -> Iterator[VideoFrame | None]:
    """The video's frames; ``None`` for a damaged part.

    Raises :class:`CaptureError` where nothing but damaged parts comes, and FFmpeg's own errors
    where reading fails.
    """
    damaged = 0
    for packet in container.demux(container.streams.video[0]):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
            if damaged >= _MOST_DAMAGED:
                raise CaptureError(f"{damaged} damaged parts in a row") from None
            yield None
            continue
        if decoded:
            damaged = 0
        yield from decoded


def jpeg_of_frame(frame: VideoFrame | None, encoding: Encoding) -> bytes:
    """A frame, upright, as JPEG; raises :class:`BadPictureError` for a damaged part."""
    if frame is None:
        raise BadPictureError("undecodable", "a part of the video is damaged")
    # Phones store a turned picture, and how to turn it back. FFmpeg scales faster than Pillow.
    if frame.rotation % 180 == 0:
        width, height = fitted_wh((frame.width, frame.height), encoding.size_wh)
    else:
        height, width = fitted_wh((frame.height, frame.width), encoding.size_wh)
    image = Image.fromarray(frame.to_ndarray(width=width, height=height, format="rgb24"))
    return jpeg_of(image.rotate(frame.rotation, expand=True), encoding)


def by_its_own_clock(
    container: InputContainer, encoding: Encoding
) -> Iterator[tuple[float, functools.partial[bytes]]]:
    """Seconds since the first picture, and what makes the JPEG."""
    first_s, last_s, period_s = None, 0.0, 1 / own_rate(container)
    try:
        for frame in frames(container):
            if frame is None or frame.time is None:
                at_s = last_s + period_s
            else:
                first_s = frame.time if first_s is None else first_s
                at_s = max(frame.time - first_s, last_s)  # a clock that was set back stands still
            last_s = at_s
            yield at_s, functools.partial(jpeg_of_frame, frame, encoding)
    except (av.error.FFmpegError, OSError) as error:
        raise CaptureError(f"{container.name} ends early: {reason_of(error)}") from None
