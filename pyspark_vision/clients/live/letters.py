"""Dead letters of a topic: what failed, why, and its picture where there is one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark_vision.clients.live.feed import Record
from pyspark_vision.clients.live.pictures import Picture, picture_of
from pyspark_vision.clients.pycturestream import BadMessageError
from pyspark_vision.clients.stream_messages import readable_parts
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages.topics import KAFKA_SCHEME, LETTER_HEADER_PREFIX

KEPT_LETTERS = 100
_KEPT_BYTES = 64 * 1024 * 1024
_MAX_TEXT = 500


@dataclass(frozen=True)
class Letter:
    """``number``: counts up as they come. ``at``: seconds since 1970, when the letter was sent or
    came. ``left_out_bytes``: of a payload that its topic did not take, 0 if it was sent.
    """

    number: int
    code: str
    message: str
    origin: str
    at: float
    camera_id: str | None = None
    timestamp: str | None = None
    picture: Picture | None = field(default=None, repr=False)
    payload_bytes: int = 0
    left_out_bytes: int = 0


def topic_of(place: str) -> str:
    """The topic of ``kafka:TOPIC``. Raises :class:`InvalidOptionError` for another place."""
    topic = place.removeprefix(KAFKA_SCHEME)
    if topic == place or not topic:
        raise InvalidOptionError(
            f"--dead-letters {place}: the live page reads letters of a topic: kafka:TOPIC. "
            "pyspark-vision contact-sheet FOLDER shows those of a folder"
        )
    return topic


class Letters:
    """The last letters. One thread adds, others look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque(maxlen=KEPT_LETTERS)
        self._next_number = 0

    def add(self, record: Record) -> Letter:
        """A record of the topic, whoever sent it."""
        letter = read_letter(record, self._next_number)
        with self._lock:
            self._next_number += 1
            self._letters.append(letter)
            held = 0
            for kept in reversed(self._letters):
                held += len(kept.picture.content) if kept.picture else 0
            while held > _KEPT_BYTES and len(self._letters) > 1:
                oldest = self._letters.popleft()
                held -= len(oldest.picture.content) if oldest.picture else 0
        return letter

    def last(self) -> Sequence[Letter]:
        """Newest first."""
        with self._lock:
            return tuple(reversed(self._letters))

    def find(self, number: int) -> Letter | None:
        """A letter that is still here."""
        return next((letter for letter in self.last() if letter.number == number), None)


def read_letter(record: Record, number: int) -> Letter:
    """What a dead-letter record says; fields that it lacks are empty."""
    said = {
        name.removeprefix(LETTER_HEADER_PREFIX): (value or b"").decode("utf-8", "replace")
        for name, value in record.headers
        if name.startswith(LETTER_HEADER_PREFIX)
    }
    payload = record.value or b""
    camera_id: str | None = None
    timestamp: str | None = None
    picture = picture_of(payload)
    if picture is None:
        try:
            camera_id, timestamp, content = readable_parts(payload)
            picture = picture_of(content)
        except BadMessageError:
            pass
    elif record.key:
        camera_id = record.key.decode("utf-8", "replace")
    left_out = said.get("payload_left_out", "")
    return Letter(
        number=number,
        code=said.get("error_code", "")[:_MAX_TEXT] or "unknown",
        message=said.get("error_message", "")[:_MAX_TEXT],
        origin=said.get("origin", "")[:_MAX_TEXT],
        at=record.at,
        camera_id=camera_id,
        timestamp=timestamp,
        picture=picture,
        payload_bytes=len(payload),
        left_out_bytes=int(left_out) if left_out.isascii() and left_out.isdigit() else 0,
    )
