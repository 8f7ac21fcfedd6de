"""What the parts are called, and what all streams have in common."""

from __future__ import annotations

from pyspark_vision.sources.kafka import KafkaSource

FLOOR, SOURCE, OURS, SEEDS = STREAMS = ("floor", "source", "ours", "seeds")
RATE, RATE_APART, BACKLOG = "rate", "rate_apart", "backlog"
PARTS = (*STREAMS, RATE, RATE_APART, BACKLOG)

CORES = 2
# The most records of a batch: what the jobs have by default.
BATCH_ROWS = KafkaSource.max_offsets_per_trigger
