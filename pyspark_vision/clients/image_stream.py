"""Week 9's messages in plain Python: an image to classify, under its key, and its result.

The same format as Column expressions: ``messages/image_stream.py``.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyspark_vision.clients.pycturestream import BadMessageError

PICTURE = "image_data"
# Of images whose metadata name no camera.
_NO_CAMERA = "images"


def new_image_id(taken_at: datetime) -> str:
    """A name that no other image has, and that sorts by time: ``20261121T080000123456-1f0c2d3e``.

    It may stand in the name of a file or object.
    """
    return f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"


def image_message(
    image_id: str, taken_at: datetime, jpeg: bytes, metadata: Mapping[str, str]
) -> bytes:
    """JSON of ``image_id``, ``image_data`` (base64), ``timestamp`` (ISO 8601 with its offset) and
    ``metadata``; ``image_id`` is the record's key, too.

    >>> at = datetime(2026, 11, 21, 8, tzinfo=UTC)
    >>> image_message("a", at, b"\\xff\\xd8", {"source": "simulator"})[:52]
    b'{"image_id": "a", "image_data": "/9g=", "timestamp":'
    """
    fields = {
        "image_id": image_id,
        PICTURE: base64.b64encode(jpeg).decode("ascii"),
        "timestamp": taken_at.isoformat(),
        "metadata": dict(metadata),
    }
    return json.dumps(fields).encode("ascii")


def is_image(fields: Mapping[str, Any]) -> bool:
    """Whether a message is an image to classify."""
    return PICTURE in fields


def is_result(fields: Mapping[str, Any]) -> bool:
    """Whether a message is what became of one."""
    return "prediction_id" in fields


def place_of(fields: Mapping[str, Any]) -> tuple[str, str]:
    """The camera and the time of an image or its result.

    The camera is ``metadata``'s ``camera_id``, or its ``source``, or ``images``; an image without a
    ``timestamp`` is known by its ``image_id``. Raises :class:`BadMessageError` without both.

    >>> place_of({"image_id": "a", "timestamp": None, "metadata": {"source": "simulator"}})
    ('simulator', 'a')
    """
    metadata = fields.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    cameras = [named.get("camera_id"), named.get("source"), _NO_CAMERA]
    moments = [fields.get("timestamp"), fields.get("image_id")]
    camera_id = next(name for name in cameras if isinstance(name, str) and name)
    moment = next((text for text in moments if isinstance(text, str) and text), None)
    if moment is None:
        raise BadMessageError("timestamp and image_id are missing")
    return camera_id, moment


def classes_of(fields: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Label and score of each class of a result, best first: the one, or those of ``--top-k``.

    >>> classes_of({"label": "car", "confidence": 0.9})
    [('car', 0.9)]
    """
    best = fields.get("predictions")
    if isinstance(best, list) and all(isinstance(prediction, dict) for prediction in best):
        return [
            (prediction.get("label") or f"#{prediction.get('class_id')}", prediction.get("score"))
            for prediction in best
        ]
    return [] if fields.get("label") is None else [(fields["label"], fields.get("confidence"))]
