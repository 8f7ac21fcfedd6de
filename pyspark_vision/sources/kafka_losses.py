"""Records that a topic no longer has: which, told from what Spark's Kafka source reports.

``spark-sql-kafka-0-10`` raises ``KAFKA_DATA_LOSS`` in several forms, among a page of advice and
without that name; the texts are those of its ``error/kafka-error-conditions.json``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LOST_BY_RETENTION, LOST_WITH_TOPIC = "lost_by_retention", "lost_with_topic"
LOSSES = frozenset((LOST_BY_RETENTION, LOST_WITH_TOPIC))

_HOW_TO_GO_ON = (
    "Go on without them by --skip-lost TOPIC, or begin anew with another --checkpoint and output"
)


def loss(message: str) -> str | None:
    """What was lost, and how to go on, in one line; ``None`` if the error is of another kind."""
    text = " ".join(message.split())
    if "Some data may have been lost because they are not available in Kafka" not in text:
        return None
    for pattern, say in _FORMS:
        found = re.search(pattern, text)
        if found is not None:
            return f"{say(*found.groups())}. {_HOW_TO_GO_ON}"
    return f"records are gone that were not read yet. {_HOW_TO_GO_ON}"


def _range_gone(start: str, end: str, place: str) -> str:
    # Of a part of the batch: the source splits a partition where there are more cores.
    return f"{place} has lost records, at least of the offsets {start}..{int(end) - 1}"


def _moved_back(place: str, before: str, now: str) -> str:
    if int(now) < int(before):
        return (
            f"{place} ends at offset {now} and was read up to {before}: the topic was made anew, "
            "and what the old one had beyond that is gone"
        )
    return f"{place} has lost the offsets {before}..{int(now) - 1}, by retention"


_FORMS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"records in offset \[(\d+), (\d+)\) for topic partition (\S+) with", _range_gone),
    (r"Partition (\S+) offset was changed from (\d+) to (\d+)", _moved_back),
    (r"Starting offset for (\S+) was (\d+) but consumer reset to (\d+)", _moved_back),
    (
        r"Added partition (\S+) starts from (\d+) instead of 0",
        lambda place, start: f"{place} has lost the offsets 0..{int(start) - 1}, by retention",
    ),
    (
        r"(?:Partitions|initial offsets for partitions) (.+?)(?: have been deleted|\. They)",
        lambda places: f"{places} are gone with all that was not read of them",
    ),
)
