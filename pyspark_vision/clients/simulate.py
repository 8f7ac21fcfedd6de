"""Week 9's simulator: drawn images to Kafka, to a bucket, or to both."""

from __future__ import annotations

import functools
import io
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from pyspark_vision.clients import image_stream, stopping
from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.bucket import Bucket
from pyspark_vision.clients.capture.cameras import Camera
from pyspark_vision.clients.capture.encoding import Encoding, jpeg_of
from pyspark_vision.clients.capture.source import Shot
from pyspark_vision.clients.filming import Pacing, Take, film
from pyspark_vision.clients.outbox import Outbox, Record
from pyspark_vision.clients.produce import FLUSH_S
from pyspark_vision.clients.progress import Progress
from pyspark_vision.clients.pycturestream import Frame
from pyspark_vision.clients.scenes import draw_single
from pyspark_vision.clients.tally import Tally, counted
from pyspark_vision.sinks import terminal

# Week 9's.
QUALITY = 85
_SIMULATOR = "simulator"


@dataclass(frozen=True)
class Objects:
    """A bucket, and what stands before the names of its objects (``input-images/``)."""

    bucket: Bucket
    prefix: str


@dataclass(frozen=True)
class DrawnImages:
    """Pictures of one dominant object each, as a classifier is asked about; each is another."""

    size_wh: tuple[int, int]
    rate: float
    is_tried_again: ClassVar[bool] = False

    def shots(self) -> Iterator[Shot]:
        """Without an end; other pictures in each run."""
        first_seed = random.randrange(2**32)
        for number in itertools.count():
            jpeg = functools.partial(_drawn_jpeg, first_seed + number, self.size_wh)
            yield Shot(number / self.rate, jpeg)


def simulate(
    images: DrawnImages,
    duration_s: float,
    kafka: tuple[Brokers, str] | None,
    objects: Objects | None,
) -> int:
    """Send ``images`` to a topic, or write them as objects, or both; 0 if none failed.

    Raises :class:`~pyspark_vision.clients.brokers.BrokersError`. Prints the counts of each target.
    """
    tallies = {name: Tally() for name, to in (("kafka", kafka), ("gcs", objects)) if to is not None}

    def summary() -> str:
        return "; ".join(f"{name}: {counted(tally, 'images')}" for name, tally in tallies.items())

    progress = Progress("simulate", summary)
    numbers = itertools.count(1)
    with stopping.listening() as stop:
        outbox = Outbox(*kafka, progress.say, waits=False) if kafka else None
        upload = _uploader(objects, tallies["gcs"], progress.say) if objects else None

        def send(frame: Frame) -> None:
            image_id = image_stream.new_image_id(frame.taken_at)
            if outbox:
                metadata = _metadata(frame.jpeg, next(numbers))
                value = image_stream.image_message(image_id, frame.taken_at, frame.jpeg, metadata)
                outbox.put(Record(image_id.encode(), value, frame.taken_at), tallies["kafka"])
            if upload:
                upload(image_id, frame.jpeg)

        def meanwhile(timeout_s: float) -> None:
            outbox.poll(timeout_s) if outbox else time.sleep(timeout_s)
            progress.tick()

        take = Take(Camera(_SIMULATOR, images), tuple(tallies.values()), send)
        pacing = Pacing(images.rate, duration_s, puts_off=False)
        film([take], pacing, stop, progress.say, meanwhile)
        if outbox:
            outbox.close(FLUSH_S, stop)
    progress.end()
    for name, tally in tallies.items():
        terminal.say(f"simulate: {name}: {counted(tally, 'images')}", sys.stdout)
    return 1 if any(tally.failed for tally in tallies.values()) else 0


def _metadata(jpeg: bytes, number: int) -> dict[str, str]:
    """Texts, as week 9's message has them."""
    width, height = Image.open(io.BytesIO(jpeg)).size
    return {
        "source": _SIMULATOR,
        "sequence": str(number),
        "width": str(width),
        "height": str(height),
        "format": "JPEG",
    }


def _uploader(
    objects: Objects, tally: Tally, say: Callable[[str], None]
) -> Callable[[str, bytes], None]:
    told: set[str] = set()

    def upload(image_id: str, jpeg: bytes) -> None:
        name = f"{objects.prefix}{image_id}.jpg"
        try:
            objects.bucket.upload(name, jpeg)
        except OSError as error:
            tally.fail("not_written")
            why = error.strerror or str(error)
            if why not in told:
                told.add(why)
                say(f"object {name}: {why}; others go on, not_written is counted")
        else:
            tally.send()

    return upload


def _drawn_jpeg(seed: int, size_wh: tuple[int, int]) -> bytes:
    return jpeg_of(draw_single(seed, size_wh)[0], Encoding(quality=QUALITY))
