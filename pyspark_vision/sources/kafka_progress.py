"""What Spark's query progress says of sources with offsets per partition, as Kafka's are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Offsets = dict[tuple[str, str], int]  # by topic and partition


def backlog_rows(progress: Mapping[str, Any]) -> int | None:
    """Rows that the sources have and have not given; ``None`` if none of them has offsets."""
    behind: int | None = None
    for source in progress["sources"]:
        latest, end = _offsets(source.get("latestOffset")), _offsets(source.get("endOffset"))
        if latest and end:
            behind = _rows_between(end, latest) + (behind or 0)
    return behind


def rows_lost(progress: Mapping[str, Any]) -> int:
    """How many offsets a batch was to read and has not.

    It is right for topics without compaction and transactions, whose offsets have gaps of their
    own.
    """
    planned = read = 0
    for source in progress["sources"]:
        start, end = _offsets(source.get("startOffset")), _offsets(source.get("endOffset"))
        if start and end:
            planned += _rows_between(start, end)
            read += source["numInputRows"]
    return max(0, planned - read)


def _rows_between(start: Offsets, end: Offsets) -> int:
    return sum(max(0, at - start.get(place, at)) for place, at in end.items())


def _offsets(text: Any) -> Offsets:
    """Of ``{"topic": {"0": 23}}``; empty for any other source's offset."""
    try:
        topics = json.loads(text) if isinstance(text, str) else text
        return {
            (topic, partition): int(offset)
            for topic, partitions in topics.items()
            for partition, offset in partitions.items()
        }
    except (AttributeError, TypeError, ValueError):
        return {}
