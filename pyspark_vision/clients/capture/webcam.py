"""Webcams by the system's own interface: Video4Linux, AVFoundation, DirectShow.

Which of them work is tried out: a machine numbers more devices than it has cameras, and each that
gives no picture says why.
"""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import av
import av.device
import av.error

from pyspark_vision.clients.capture.encoding import AS_IT_IS, Encoding
from pyspark_vision.clients.capture.source import CaptureError, Shot
from pyspark_vision.clients.capture.video import (
    frames,
    jpeg_of_frame,
    reason_of,
    with_pictures,
)

if TYPE_CHECKING:
    from av.container import InputContainer

# As many as PyctureStream's test of webcams tries.
PROBED = 4
# What PyctureStream's client asks for; a camera that has no such size gives another.
ASKED_WH = (1280, 720)
# One that is there and gives nothing.
TIMEOUT_S = 10.0

_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}

_ADVICE = {
    errno.ENOENT: "there is no such device. Connect a camera, or pass it on into this container "
    "or virtual machine",
    errno.EACCES: "this user may not read it. Add the user to the group video, or allow the "
    "camera in the system's settings",
    errno.EPERM: "this user may not read it. Allow the camera in the system's settings",
    errno.EBUSY: "another program uses it. Close that program",
    errno.ENODEV: "it is no camera, or was unplugged. Connect it again",
    errno.ENOTTY: "it is no camera. Choose another device",
    errno.EINVAL: "it gives no pictures (a camera's second device has only data). Choose another",
}


@dataclass(frozen=True)
class Webcam:
    """``number``: from 0, as the system counts its cameras."""

    number: int
    encoding: Encoding = AS_IT_IS
    is_tried_again: ClassVar[bool] = True

    def shots(self) -> Iterator[Shot]:
        """As they come; raises :class:`CaptureError` where the camera is not there any more."""
        with opened(self.number, self.encoding.size_wh or ASKED_WH) as container:
            try:
                for frame in frames(container):
                    yield Shot(None, functools.partial(jpeg_of_frame, frame, self.encoding))
            except (av.error.FFmpegError, OSError) as error:
                raise CaptureError(f"{device_name(self.number)}: {_advice(error)}") from None
        raise CaptureError(f"{device_name(self.number)}: it gives no pictures any more")


def first_working(first: int = 0) -> tuple[int | None, list[str]]:
    """The first of :data:`PROBED` webcams, from ``first`` on, that gives a picture; why those
    before it do not.

    ``(0, [])``, or ``(None, ["/dev/video0, /dev/video1: there is no such device. …"])``.
    """
    refused: dict[str, list[str]] = {}
    working = None
    for number in range(first, PROBED):
        name = device_name(number)
        try:
            next(Webcam(number).shots())
        except CaptureError as error:
            refused.setdefault(str(error).removeprefix(f"{name}: "), []).append(name)
        else:
            working = number
            break
    return working, [f"{', '.join(names)}: {why}" for why, names in refused.items()]


def opened(number: int, size_wh: tuple[int, int]) -> InputContainer:
    """The device, asked for this size first; raises :class:`CaptureError` with what to do."""
    name = device_name(number)
    kind = _FORMATS.get(sys.platform, "v4l2")
    asked = {"video_size": f"{size_wh[0]}x{size_wh[1]}", "framerate": "30"}
    try:
        try:
            container = av.open(name, format=kind, options=asked, timeout=TIMEOUT_S)
        except (av.error.ArgumentError, av.error.OSError):
            container = av.open(name, format=kind, timeout=TIMEOUT_S)
    except (av.error.FFmpegError, OSError) as error:
        raise CaptureError(f"{name}: {_advice(error)}") from None
    except ValueError:  # this build of FFmpeg lacks the system's interface
        raise CaptureError(f"{name}: this PyAV reads no webcams of {sys.platform}") from None
    return with_pictures(container, name)


def device_name(number: int) -> str:
    """As FFmpeg names it: ``/dev/video0``; a Mac's ``0``; DirectShow's ``video=HD Webcam``."""
    if sys.platform == "darwin":
        return str(number)
    if sys.platform == "win32":
        devices = [
            d for d in av.device.enumerate_input_devices("dshow") if "video" in d.media_types
        ]
        return f"video={devices[number].name}" if number < len(devices) else f"video={number}"
    return f"/dev/video{number}"


def _advice(error: Exception) -> str:
    return _ADVICE.get(getattr(error, "errno", None) or 0, reason_of(error))
