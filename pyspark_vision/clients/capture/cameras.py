"""What a person writes behind ``--source`` -> cameras with their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.capture import drawn, folder, network, video, webcam
from pyspark_vision.clients.capture.encoding import AS_IT_IS, Encoding
from pyspark_vision.clients.capture.source import CaptureError, Source
from pyspark_vision.errors import InvalidOptionError

CHOICES = (
    "webcam, webcam:N, drawn, drawn:SEED, an address (rtsp://…, http://…), a video file, or a "
    "folder of pictures"
)

# A camera's name is a key of Kafka and a folder's name: letters, digits, "_", "-" and ".".
_NAMED = re.compile(r"([^\W_][\w.-]*)=(.+)", re.DOTALL)
_DEVICE = re.compile(r"^/dev/video(?=[0-9]+$)")
_WITH_NUMBER = re.compile(r"(webcam|drawn):([0-9]+)")


@dataclass(frozen=True)
class Camera:
    """``camera_id``: as its messages have it."""

    camera_id: str
    source: Source


@dataclass(frozen=True)
class Wish:
    """What is wanted of all sources: pictures a second (``None``: each its own), how they are
    encoded, whether files and folders begin again at their end."""

    rate: float | None = None
    encoding: Encoding = AS_IT_IS
    loop: bool = False


def read_cameras(texts: Sequence[str], wish: Wish) -> tuple[list[Camera], list[str]]:
    """``NAME=SOURCE`` or ``SOURCE`` each, without a name ``camera-0``, ``camera-1``, …

    Returns the cameras, and lines about webcams that were tried in vain. Raises
    :class:`InvalidOptionError` for a source that cannot be, or two cameras of one name.
    """
    cameras: list[Camera] = []
    said: list[str] = []
    for number, text in enumerate(texts):
        named = None if os.path.exists(text) else _NAMED.fullmatch(text)
        camera_id, source = named.groups() if named else (f"camera-{number}", text)
        if any(camera.camera_id == camera_id for camera in cameras):
            raise InvalidOptionError(f"--source: two cameras are called {camera_id}; name one")
        cameras.append(Camera(camera_id, _source(source, wish, cameras, said)))
    return cameras, said


def _source(text: str, wish: Wish, cameras: Sequence[Camera], said: list[str]) -> Source:
    if text == "webcam":
        return webcam.Webcam(_working_webcam(cameras, said), wish.encoding)
    text = _DEVICE.sub("webcam:", text)
    numbered = _WITH_NUMBER.fullmatch(text)
    if text == "drawn" or (numbered and numbered[1] == "drawn"):
        seed = int(numbered[2]) if numbered else len(cameras)
        return drawn.DrawnScenes(seed, wish.encoding, wish.rate or drawn.DEFAULT_RATE)
    if numbered:
        return webcam.Webcam(int(numbered[2]), wish.encoding)
    path = Path(text)
    try:
        if network.is_address(text):
            network.refuse_malformed(text)
            return network.NetworkStream(text, wish.encoding, wish.rate)
        if text and os.path.isdir(text):  # an empty text would be this folder
            folder.pictures_of(path)
            rate = wish.rate or folder.DEFAULT_RATE
            return folder.PictureFolder(path, wish.encoding, rate, wish.loop)
        if text and os.path.exists(text):
            file = video.VideoFile(path, wish.encoding, wish.rate, wish.loop)
            file.check()
            return file
    except CaptureError as error:
        raise InvalidOptionError(f"--source {text}: {error}") from None
    raise InvalidOptionError(f"--source {text}: there is no such file; it must be {CHOICES}")


def _working_webcam(cameras: Sequence[Camera], said: list[str]) -> int:
    taken = [c.source.number for c in cameras if isinstance(c.source, webcam.Webcam)]
    number, refused = webcam.first_working(max(taken, default=-1) + 1)
    if number is None:
        raise InvalidOptionError(
            f"--source webcam: none of the first {webcam.PROBED} devices gives pictures "
            f"({'; '.join(refused) or 'each is another --source'}). Without a camera: "
            "--source drawn"
        )
    said += [f"not {line}" for line in refused]
    return number
