"""Week 9's messages on Kafka: images as its simulator sends them, results by their ids."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from confluent_kafka import Consumer


def image_message(image_id: str, content: bytes, **changed: Any) -> tuple[bytes, bytes]:
    """(key, value) of an image."""
    message = {
        "image_id": image_id,
        "image_data": base64.b64encode(content).decode("utf-8"),
        "timestamp": "2026-11-21T08:00:00.123456",
        "metadata": {"source": "simulator", "sequence": "1"},
    }
    return image_id.encode(), json.dumps({**message, **changed}).encode()


def results_by_id(servers: str, topic: str) -> dict[str, list[dict[str, Any]]]:
    """What was said under each ``prediction_id``, again for each repeat.

    Without ``processing_time_ms``, which is measured anew when a batch is run again.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    said: dict[str, list[dict[str, Any]]] = {}
    empty = 0
    while empty < 3:
        message = consumer.poll(2)
        if message is None:
            empty += 1
            continue
        assert message.error() is None, message.error()
        key, value = message.key(), message.value()
        assert key is not None
        assert value is not None
        result = json.loads(value)
        del result["processing_time_ms"]
        said.setdefault(key.decode(), []).append(result)
    consumer.close()
    return said
