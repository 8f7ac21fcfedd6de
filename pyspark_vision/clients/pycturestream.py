"""PyctureStream's messages in plain Python: a frame to send, a result to show, its events.

The same formats as Column expressions: ``messages/pycturestream.py``.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from pyspark_vision.clients.object_shapes import (
    Keypoint,
    Mask,
    read_corners,
    read_keypoints,
    read_mask,
)
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
    """``score`` in [0, 1], or none of a map of classes; ``sector``: vertical, horizontal third;
    ``xyxy`` in [0, 1], top left origin, or ``None``, as in messages of PyctureStream itself, which
    have no boxes.

    ``mask`` of a segment, ``keypoints`` of a pose or a face, ``corners`` of a line of text, whose
    ``label`` is what it says: clockwise from the top left of the text.
    """

    label: str
    score: float | None
    sector: tuple[str, str] | None
    xyxy: tuple[float, float, float, float] | None = None
    class_id: int | None = None
    mask: Mask | None = None
    keypoints: tuple[Keypoint, ...] = ()
    corners: tuple[tuple[float, float], ...] = ()

    @property
    def has_place(self) -> bool:
        """Whether it can be drawn where it is."""
        return bool(self.xyxy or self.mask or self.keypoints or self.corners)


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
    return frame_of(json_object(value))


def frame_of(fields: dict[str, Any]) -> tuple[str, str, bytes]:
    """As :func:`read_frame`, of a message's fields."""
    jpeg = picture_of(fields)
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
    return result_of(json_object(value))


def result_of(fields: dict[str, Any]) -> Result:
    """As :func:`read_result`, of a message's fields."""
    objects = fields.get("objects")
    if not isinstance(objects, list):
        raise BadMessageError(f"objects must be a list, not {_shown(objects)}")
    model = fields.get("model_name")
    return Result(
        camera_id=_text(fields, "camera_id"),
        timestamp=_text(fields, "timestamp"),
        objects=tuple(object_of(entry) for entry in objects),
        jpeg=picture_of(fields),
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
    return parts_of(json_object(value))


def parts_of(fields: dict[str, Any]) -> tuple[str | None, str | None, bytes | None]:
    """As :func:`readable_parts`, of a message's fields."""
    camera_id, timestamp = fields.get("camera_id"), fields.get("timestamp")
    try:
        content = picture_of(fields)
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
    labels = [item.label for item in result.objects if item.label] or [NOTHING_DETECTED]
    local = local_time(result).isoformat(" ", "microseconds")
    return [
        {"event_type": label, "timestamp": local, "camera_id": result.camera_id} for label in labels
    ]


def json_object(value: bytes) -> dict[str, Any]:
    """A message's fields. Raises :class:`BadMessageError` if it is no JSON object."""
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


def picture_of(fields: dict[str, Any], name: str = "image") -> bytes | None:
    """The bytes of a base64 field, ``None`` without it. Raises :class:`BadMessageError`."""
    text = fields.get(name)
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadMessageError(f"{name} is not base64: {error}") from None


def object_of(entry: Any) -> DetectedObject:
    """An object's fields. Raises :class:`BadMessageError`; what is no shape is left out."""
    if not isinstance(entry, dict):
        raise BadMessageError(f"an object must be a JSON object, not {_shown(entry)}")
    score, sector = entry.get("score"), entry.get("sector")
    box, class_id = entry.get("box"), entry.get("class_id")
    # Python's JSON takes NaN and Infinity, and integers that no float holds.
    has_none = score is None and "class_id" in entry  # a segment of a map of classes
    if not has_none and not _is_share(score):
        raise BadMessageError(f"score must be a number from 0 to 1, not {_shown(score)}")
    corners = read_corners(entry.get("corners"))
    return DetectedObject(
        # Nothing may have been read in a line of text.
        label="" if corners and entry.get("label") == "" else _text(entry, "label"),
        score=float(score) if _is_share(score) else None,
        sector=(str(sector[0]), str(sector[1]))
        if isinstance(sector, list) and len(sector) == 2
        else None,
        xyxy=_box(box),
        class_id=class_id if isinstance(class_id, int) else None,
        mask=read_mask(entry.get("mask")),
        keypoints=read_keypoints(entry.get("keypoints")),
        corners=corners,
    )


def _is_share(score: Any) -> TypeGuard[float]:
    return isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1


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
