"""PyctureStream's messages in plain Python: a frame to send, a result to show, its events.

The same formats as Column expressions: ``messages/pycturestream.py``.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark_vision.messages.topics import NOTHING_DETECTED


class BadMessageError(ValueError):
    """A message that is not of the format; its text says which field and why."""


@dataclass(frozen=True)
class Frame:
    """A picture of a camera. ``taken_at`` has its offset; ``jpeg``: encoded bytes."""

    camera_id: str
    taken_at: datetime
    jpeg: bytes


@dataclass(frozen=True)
class DetectedObject:
    """``score`` in [0, 1]; ``sector``: vertical, horizontal third; ``xyxy`` in [0, 1], top left
    origin, or ``None`` in messages of PyctureStream itself, which have no boxes."""

    label: str
    score: float
    sector: tuple[str, str] | None
    xyxy: tuple[float, float, float, float] | None = None
    class_id: int | None = None


@dataclass(frozen=True)
class Result:
    """One frame's objects. ``timestamp`` is the text that the frame was sent with; ``jpeg``: the
    picture with its boxes drawn, or ``None`` where it was left out for its size."""

    camera_id: str
    timestamp: str
    objects: tuple[DetectedObject, ...]
    jpeg: bytes | None
    model_name: str | None = None


def frame_message(frame: Frame) -> bytes:
    """JSON of ``image``, ``timestamp`` (naive local time, as PyctureStream's client) and
    ``camera_id``.

    >>> from datetime import timezone
    >>> frame = Frame("hall", datetime(2026, 11, 21, 8, tzinfo=timezone.utc), b"\\xff\\xd8")
    >>> sorted(json.loads(frame_message(frame)))
    ['camera_id', 'image', 'timestamp']
    """
    fields = {
        "image": base64.b64encode(frame.jpeg).decode("ascii"),
        "timestamp": frame.taken_at.astimezone().replace(tzinfo=None).isoformat(),
        "camera_id": frame.camera_id,
    }
    return json.dumps(fields).encode("ascii")


def read_frame(value: bytes) -> tuple[str, str, bytes]:
    """A frame's message -> camera, timestamp as sent, encoded picture.

    Raises :class:`BadMessageError`.
    """
    fields = _fields(value)
    jpeg = _picture(fields)
    if jpeg is None:
        raise BadMessageError("image is missing")
    return _text(fields, "camera_id"), _text(fields, "timestamp"), jpeg


def read_result(value: bytes | None) -> Result:
    """A result's message, ours or PyctureStream's own. Raises :class:`BadMessageError`, also for a
    record without a value.

    >>> read_result(b'{"timestamp": "2026-11-21T08:00:00", "camera_id": "a", "objects": []}')
    Result(camera_id='a', timestamp='2026-11-21T08:00:00', objects=(), jpeg=None, model_name=None)
    """
    if value is None:
        raise BadMessageError("it has no value")
    fields = _fields(value)
    objects = fields.get("objects")
    if not isinstance(objects, list):
        raise BadMessageError(f"objects must be a list, not {_shown(objects)}")
    model = fields.get("model_name")
    return Result(
        camera_id=_text(fields, "camera_id"),
        timestamp=_text(fields, "timestamp"),
        objects=tuple(_object(entry) for entry in objects),
        jpeg=_picture(fields),
        model_name=model if isinstance(model, str) else None,
    )


def local_time(result: Result) -> datetime:
    """When the frame was taken, as the naive local time that PyctureStream has.

    Raises :class:`BadMessageError` for a timestamp that is not ISO-8601.

    >>> local_time(Result("hall", "2026-11-21T08:00:00.5", (), None))
    datetime.datetime(2026, 11, 21, 8, 0, 0, 500000)
    """
    try:
        moment = datetime.fromisoformat(result.timestamp)
        return moment if moment.tzinfo is None else moment.astimezone().replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise BadMessageError(
            f"timestamp must be ISO-8601, not {_shown(result.timestamp)}"
        ) from None


def readable_parts(value: bytes) -> tuple[str | None, str | None, bytes | None]:
    """Camera, timestamp and picture of a frame's message that may be damaged: what is readable.

    Raises :class:`BadMessageError` if it is no JSON object.

    >>> readable_parts(b'{"camera_id": "hall", "timestamp": 8, "image": "%"}')
    ('hall', None, None)
    """
    fields = _fields(value)
    camera_id, timestamp = fields.get("camera_id"), fields.get("timestamp")
    try:
        content = _picture(fields)
    except BadMessageError:
        content = None
    return (
        camera_id if isinstance(camera_id, str) and camera_id else None,
        timestamp if isinstance(timestamp, str) else None,
        content,
    )


def events_of(result: Result) -> list[dict[str, str]]:
    """Entries of ``events.json``: one for each object, or one "Nothing detected".

    Raises as :func:`local_time`.

    >>> [event] = events_of(Result("hall", "2026-11-21T08:00:00", (), None))
    >>> event["event_type"], event["timestamp"]
    ('Nothing detected', '2026-11-21 08:00:00.000000')
    """
    labels = [item.label for item in result.objects] or [NOTHING_DETECTED]
    local = local_time(result).isoformat(" ", "microseconds")
    return [
        {"event_type": label, "timestamp": local, "camera_id": result.camera_id} for label in labels
    ]


def _fields(value: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or too deep
        raise BadMessageError(f"it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadMessageError(f"it must be a JSON object, not {_shown(fields)}")
    return fields


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BadMessageError(f"{name} must be a text, not {_shown(value)}")
    return value


def _picture(fields: dict[str, Any]) -> bytes | None:
    text = fields.get("image")
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadMessageError(f"image is not base64: {error}") from None


def _object(entry: Any) -> DetectedObject:
    if not isinstance(entry, dict):
        raise BadMessageError(f"an object must be a JSON object, not {_shown(entry)}")
    score, sector = entry.get("score"), entry.get("sector")
    box, class_id = entry.get("box"), entry.get("class_id")
    # Python's JSON takes NaN and Infinity, and integers that no float holds.
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise BadMessageError(f"score must be a number from 0 to 1, not {_shown(score)}")
    return DetectedObject(
        label=_text(entry, "label"),
        score=float(score),
        sector=(str(sector[0]), str(sector[1]))
        if isinstance(sector, list) and len(sector) == 2
        else None,
        xyxy=_box(box),
        class_id=class_id if isinstance(class_id, int) else None,
    )


def _box(sides: Any) -> tuple[float, float, float, float] | None:
    """Four numbers as they are; ``None`` for anything else."""
    if not isinstance(sides, list) or len(sides) != 4:
        return None
    if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in sides):
        return None
    xmin, ymin, xmax, ymax = sides
    return xmin, ymin, xmax, ymax


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"
