"""Which subscriptions a checkpoint reads: ``CHECKPOINT/_source/pubsub.json``.

A start that does not agree with it is refused before Spark writes a word. Beside it a checkpoint
that reads Kafka, too, has Kafka's own record.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import create_text, delete, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import SparkSession

NAME = "pubsub.json"


def agree(
    session: SparkSession, checkpoint: str, subscriptions: Sequence[str], *, with_kafka: bool
) -> None:
    """Keep what the checkpoint reads; to be called while it is held.

    Raises :class:`InvalidOptionError` if it reads something else.
    """
    place = f"{checkpoint}/_source/{NAME}"
    now = {"subscriptions": sorted(subscriptions), "with_kafka": with_kafka}
    text = read_text(session, place)
    if text is None and last_batch(session, checkpoint, "offsets") >= 0:
        raise InvalidOptionError(
            f"`checkpoint` {checkpoint} does not read Pub/Sub, and this job does: choose a new "
            "`checkpoint` and output, or the checkpoint of this job"
        )
    before = None if text is None else json.loads(text)
    if before == now:
        return
    if before is None or last_batch(session, checkpoint, "offsets") < 0:
        delete(session, place)
        create_text(session, place, json.dumps(now, indent=1))
        return
    raise InvalidOptionError(
        f"`checkpoint` {checkpoint} reads {_words(before)}, and this job reads {_words(now)}: give "
        "the same `input_source` and subscriptions, or choose a new `checkpoint` and output"
    )


def reads_pubsub(session: SparkSession, checkpoint: str) -> bool:
    """Whether the checkpoint has such a record."""
    return read_text(session, f"{checkpoint}/_source/{NAME}") is not None


def _words(record: dict[str, object]) -> str:
    names = record["subscriptions"]
    assert isinstance(names, list)
    return ", ".join(names) + (" and Kafka" if record["with_kafka"] else "")
