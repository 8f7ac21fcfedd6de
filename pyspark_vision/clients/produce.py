"""Pictures of cameras to Kafka, in one of three kinds of messages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients import camera_pictures, image_stream, pycturestream, stopping
from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.capture.cameras import Camera
from pyspark_vision.clients.filming import Pacing, Take, film
from pyspark_vision.clients.outbox import Outbox, Record
from pyspark_vision.clients.progress import Progress
from pyspark_vision.clients.pycturestream import Frame
from pyspark_vision.clients.tally import Tally, counted, total
from pyspark_vision.messages.topics import FRAME_TOPIC, IMAGE_TOPIC
from pyspark_vision.sinks import terminal

# For what is under way at the end. Brokers that are there answer in milliseconds.
FLUSH_S = 10.0


def _pycturestream(frame: Frame) -> Record:
    return Record(None, pycturestream.frame_message(frame), frame.taken_at)


def _image_stream(frame: Frame) -> Record:
    image_id = image_stream.new_image_id(frame.taken_at)
    metadata = {"source": "camera", "camera_id": frame.camera_id}
    value = image_stream.image_message(image_id, frame.taken_at, frame.jpeg, metadata)
    return Record(image_id.encode(), value, frame.taken_at)


def _raw(frame: Frame) -> Record:
    return Record(frame.camera_id.encode(), frame.jpeg, frame.taken_at)


# What a message holds: its usual topic, and how a frame becomes a record.
MESSAGES: Mapping[str, tuple[str, Callable[[Frame], Record]]] = {
    "pycturestream": (FRAME_TOPIC, _pycturestream),
    "image-stream": (IMAGE_TOPIC, _image_stream),
    "raw": (FRAME_TOPIC, _raw),
}


@dataclass(frozen=True)
class Target:
    """``message``: one of :data:`MESSAGES`. ``topic``: ``None``: the usual one of these messages.
    ``keep_input``: a folder of ours for each camera's last picture, ``CAMERA/input.jpg``."""

    brokers: Brokers
    message: str
    topic: str | None = None
    keep_input: Path | None = None


def produce(cameras: Sequence[Camera], pacing: Pacing, target: Target, tried: Sequence[str]) -> int:
    """Send until the cameras end, or a signal comes; 0 if all frames were sent or dropped.

    ``tried``: lines about webcams that do not work. Raises ``InvalidOptionError`` for a folder of
    others and :class:`~pyspark_vision.clients.brokers.BrokersError` for brokers or a topic that are
    not there. Prints the counts.
    """
    usual_topic, record_of = MESSAGES[target.message]
    topic = target.topic or usual_topic
    tallies = {camera.camera_id: Tally() for camera in cameras}
    progress = Progress("produce", lambda: counted(total(tallies.values())))
    keep = None
    if target.keep_input:
        camera_pictures.claim(target.keep_input, "--keep-input")
        keep = camera_pictures.kept_if_possible(
            "--keep-input", target.keep_input, "input.jpg", progress.say
        )
    with stopping.listening() as stop:
        outbox = Outbox(target.brokers, topic, progress.say, waits=pacing.puts_off)
        for line in tried:
            progress.say(line)

        def send(frame: Frame) -> None:
            if keep:
                keep(frame.camera_id, frame.jpeg)
            outbox.put(record_of(frame), tallies[frame.camera_id])

        def meanwhile(timeout_s: float) -> None:
            outbox.poll(timeout_s)
            progress.tick()
            if stop.is_asked:
                outbox.stop_waiting()

        takes = [Take(camera, (tallies[camera.camera_id],), send) for camera in cameras]
        endings = film(takes, pacing, stop, progress.say, meanwhile)
        outbox.close(FLUSH_S, stop)
    progress.end()
    if len(cameras) > 1:
        for camera_id, tally in tallies.items():
            terminal.say(f"produce: {camera_id}: {counted(tally)}", sys.stdout)
    interrupted = sum(ending.failed_times for ending in endings.values())
    whole = total(tallies.values())
    cameras_failed = f", cameras failed {interrupted} times" if interrupted else ""
    terminal.say(f"produce: {counted(whole)} to {topic}{cameras_failed}", sys.stdout)
    is_failing = any(ending.is_failing for ending in endings.values())
    return 1 if whole.failed or is_failing else 0
