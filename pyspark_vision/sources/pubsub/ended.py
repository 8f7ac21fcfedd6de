"""After a query has ended: what its last batch has committed is acknowledged, by the journal."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub import messages
from pyspark_vision.sources.pubsub.journal import numbers
from pyspark_vision.spark import checkpoint_logs, hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sources.pubsub.service import Service

_log = logging.getLogger(__name__)


def acknowledge(session: SparkSession, checkpoint: str, journal: str, service: Service) -> None:
    """Of each segment that is committed and still there.

    The files stay as they are: the next start knows by them what comes again all the same.
    """
    committed = checkpoint_logs.last_batch(session, checkpoint, "commits")
    plan = checkpoint_logs.plan(session, checkpoint, committed) if committed >= 0 else None
    ends = [] if plan is None else [_segment(end) for end in plan.ends]
    up_to = next((end for end in ends if end is not None), 0)
    kept = numbers(hadoop.list_names(session, f"{journal}/segments") or [])
    for name in [f"segments/{number:012d}" for number in kept if number <= up_to]:
        content = hadoop.bytes_if_there(session, f"{journal}/{name}")
        if content is None:  # the source's own process is still at it
            continue
        ids: dict[str, list[str]] = {}
        try:
            batch = messages.journalled(content, name)
            for row in batch.select(["subscription", "ack_ids"]).to_pylist():
                ids.setdefault(row["subscription"], []).extend(row["ack_ids"])
            for subscription, ack_ids in ids.items():
                service.acknowledge(subscription, ack_ids)
        except StreamError as error:
            _log.warning("%s; the next start acknowledges what is committed", error)
            return


def _segment(end: str) -> int | None:
    """Of ``{"segment": 7}``; ``None`` for the offset of another source."""
    try:
        return int(json.loads(end)["segment"])
    except (ValueError, KeyError, TypeError):
        return None
