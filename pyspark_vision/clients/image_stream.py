"""Week 9's messages in plain Python: an image to classify, under its key.

The same format as Column expressions: ``messages/image_stream.py``.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime


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
        "image_data": base64.b64encode(jpeg).decode("ascii"),
        "timestamp": taken_at.isoformat(),
        "metadata": dict(metadata),
    }
    return json.dumps(fields).encode("ascii")
