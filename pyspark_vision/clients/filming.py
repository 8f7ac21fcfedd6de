"""Cameras that film at once, each in a thread of its own; one that fails does not stop others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark_vision.clients.capture.cameras import Camera
from pyspark_vision.clients.capture.source import BadPictureError, CaptureError, Shot
from pyspark_vision.clients.pace import on_time
from pyspark_vision.clients.pycturestream import Frame
from pyspark_vision.clients.stopping import Stop
from pyspark_vision.clients.tally import Tally

# Between two tries of a camera, doubled each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
# For cameras to end when they are asked to; one that waits for its network is left behind.
_END_S = 3.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Pacing:
    """``rate``: pictures a second of each camera, ``None``: its own. ``duration_s``: how long,
    ``None``: until it ends. ``puts_off``: what is late is sent later, and not left out."""

    rate: float | None
    duration_s: float | None
    puts_off: bool


@dataclass(frozen=True)
class Take:
    """What is done with a camera's pictures.

    Attributes:
        camera: where they come from.
        tallies: count each picture as captured, and what is too late or cannot be read; each of
            those that ``send`` serves.
        send: has each picture counted as sent, dropped or failed.
    """

    camera: Camera
    tallies: tuple[Tally, ...]
    send: Callable[[Frame], None]


@dataclass
class Ending:
    """How a camera ended: ``failed_times``, and whether it was failing at the end."""

    failed_times: int = 0
    is_failing: bool = False


def film(
    takes: Sequence[Take],
    pacing: Pacing,
    stop: Stop,
    say: Callable[[str], None],
    meanwhile: Callable[[float], None],
) -> dict[str, Ending]:
    """Film with all cameras until they end or ``stop`` is asked for; how each of them ended.

    ``meanwhile`` is called again and again from this thread, for about so many seconds each time.
    """
    ended = threading.Event()
    endings = {take.camera.camera_id: Ending() for take in takes}
    threads = [
        threading.Thread(
            target=_film,
            args=(take, pacing, endings[take.camera.camera_id], ended, say),
            name=take.camera.camera_id,
            daemon=True,  # FFmpeg may wait for a camera that is gone
        )
        for take in takes
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    # By its own clock a file may take longer than its duration; a camera that hangs may not.
    live = [
        thread
        for thread, take in zip(threads, takes, strict=True)
        if take.camera.source.is_tried_again
    ]
    while not stop.is_asked:
        is_over = pacing.duration_s is not None and time.monotonic() - began > pacing.duration_s
        if not any(thread.is_alive() for thread in threads if not (is_over and thread in live)):
            break
        meanwhile(_POLL_S)
    ended.set()
    deadline = time.monotonic() + _END_S
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        meanwhile(_POLL_S)
    return endings


def _film(
    take: Take,
    pacing: Pacing,
    ending: Ending,
    ended: threading.Event,
    say: Callable[[str], None],
) -> None:
    source, camera_id = take.camera.source, take.camera.camera_id
    told: set[str] = set()
    began, pause_s = time.monotonic(), FIRST_PAUSE_S
    left_s = pacing.duration_s
    while True:
        try:
            shots = on_time(
                source.shots(),
                ended,
                rate=pacing.rate,
                duration_s=left_s,
                puts_off=pacing.puts_off,
            )
            for shot, is_late in shots:
                ending.is_failing, pause_s = False, FIRST_PAUSE_S
                _take(take, shot, is_late, told, say)
            return
        except CaptureError as error:
            ending.failed_times += 1
            ending.is_failing = True
            again = f"; tried again in {pause_s:g} s" if source.is_tried_again else ""
            say(f"{camera_id}: {error}{again}")
        if not source.is_tried_again or ended.wait(pause_s):
            return
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if pacing.duration_s is not None:
            left_s = began + pacing.duration_s - time.monotonic()
            if left_s <= 0:
                return


def _take(
    take: Take, shot: Shot, is_late: bool, told: set[str], say: Callable[[str], None]
) -> None:
    for tally in take.tallies:
        tally.capture()
    if is_late:
        for tally in take.tallies:
            tally.drop("late")
        return
    taken_at = datetime.now().astimezone()
    try:
        jpeg = shot.jpeg()
    except BadPictureError as error:
        for tally in take.tallies:
            tally.fail(error.code)
        if error.code not in told:
            told.add(error.code)
            say(f"{take.camera.camera_id}: {error}; {error.code} is counted")
        return
    take.send(Frame(take.camera.camera_id, taken_at, jpeg))
