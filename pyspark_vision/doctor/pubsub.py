"""Pub/Sub: whether subscriptions are there, and may be read by this account."""

from __future__ import annotations


def subscription(name: str) -> str:
    """``projects/P/subscriptions/S`` is there, and the service answers."""
    from pyspark_vision.sources.pubsub.service import Service

    with Service() as service:
        order = ", keeps the order of keys" if service.is_ordered(name) else ""
        return f"{name} is there ({service.place}){order}"
