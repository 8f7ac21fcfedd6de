"""What one batch was: its counts and measures, how long it took, and what is still to be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pyspark_vision.streaming.counts import Counts, Measures


@dataclass(frozen=True)
class BatchReport:
    """Durations and ages in seconds, rates in rows per second; ``None``: not known here.

    ``ended_at``: seconds since 1970. ``input_rate``: rows over the time since the batch before
    began. ``backlog``: rows that the source had and had not given, when the batch before was
    planned, less this batch's.
    """

    batch_id: int
    counts: Counts
    measures: Measures
    took_s: float
    ended_at: float
    sinks: tuple[str, ...]
    input_rate: float | None = None
    backlog: int | None = None

    @property
    def processing_rate(self) -> float:
        """Rows per second of the batch's own time."""
        return self.counts.rows / self.took_s

    @property
    def age_p50_s(self) -> float | None:
        """Half of the results are younger, counted from the frame's own time to the batch's end."""
        return self._age(self.measures.median_time)

    @property
    def age_p95_s(self) -> float | None:
        """95% of the results are younger."""
        return self._age(self.measures.oldest_5_percent)

    @property
    def catch_up_s(self) -> float | None:
        """How long the backlog takes at this batch's rate; for a backlog above one batch only."""
        if self.backlog is None or not 0 < self.counts.rows < self.backlog:
            return None
        return self.backlog / self.processing_rate

    def line(self) -> str:
        """One line of JSON for the log; what is not known is left out."""
        measures = self.measures
        record: dict[str, Any] = {
            "batch_id": self.batch_id,
            "rows": self.counts.rows,
            "with_result": self.counts.with_result,
            "without_result": self.counts.without_result,
            "failed": dict(self.counts.failed),
            "dropped": dict(self.counts.dropped),
            "retried": measures.retried_rows,
            "sinks": list(self.sinks),
            "suspect": measures.suspect_rows or None,
            "model_suspect": measures.model_suspect or measures.boxes_outside,
            "payload_bytes": measures.payload_bytes,
            "decode_ms": _sum_and_mean(measures.decode_ms, measures.decoded_rows),
            "model_ms": _sum_and_mean(measures.model_ms, measures.model_rows),
            "age_p50_s": _rounded(self.age_p50_s),
            "age_p95_s": _rounded(self.age_p95_s),
            "took_s": _rounded(self.took_s),
            "input_rate": _rounded(self.input_rate),
            "processing_rate": _rounded(self.processing_rate),
            "backlog": self.backlog,
            "catch_up_s": _rounded(self.catch_up_s),
        }
        return json.dumps({key: value for key, value in record.items() if value is not None})

    def _age(self, since: float | None) -> float | None:
        return None if since is None else self.ended_at - since


def _sum_and_mean(total: float, rows: int) -> dict[str, float] | None:
    return {"sum": round(total, 1), "mean": round(total / rows, 3)} if rows else None


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
