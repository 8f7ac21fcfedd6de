"""What went through: rows in, rows with a result, failures by code, drops by reason; and measures.

A row that went well and that a sink refuses (column ``refused``) is a failure: ``table_refused``.

Measures are over columns that a job may have: sums of ``payload_bytes``, ``decode_ms`` and
``model_ms``, rows with more than one of ``attempts``, and quantiles of the time from which a
result's age counts: ``timestamp`` (the frame's own), or where that is null ``received`` (when the
source got it).
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType, TimestampType

from pyspark_vision.errors import DropReason, ErrorCode, WarningCode, by_reason
from pyspark_vision.sinks.dead_letters import REFUSED
from pyspark_vision.sources.kafka_losses import LOSSES
from pyspark_vision.spark import internals

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

# In Spark's progress, for a StreamingQueryListener: observedMetrics["pyspark_vision"].
OBSERVED = "pyspark_vision"

# A code or a reason that a newer version of this library, or somebody else, has given.
_OTHER = "other"


@dataclass
class Counts:
    """What a run has seen so far: rows in, with at least one result, failed by code, dropped.

    Records that were lost before they were read are in ``dropped``, too, and not in ``rows``.
    """

    rows: int = 0
    with_result: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Add what another part of the run has seen."""
        self.rows += other.rows
        self.with_result += other.with_result
        self.failed.update(other.failed)
        self.dropped.update(other.dropped)

    @property
    def without_result(self) -> int:
        """Rows that went well and have nothing to show: a frame without an object."""
        dropped = self.dropped.total() - self._lost.total()
        return self.rows - self.with_result - self.failed.total() - dropped

    @property
    def _lost(self) -> Counter[str]:
        return Counter({reason: self.dropped[reason] for reason in LOSSES & self.dropped.keys()})

    def summary(self, noun: str, verb: str) -> str:
        """``frames in 60, detected 52, failed 3 (truncated 2, unsupported_format 1), nothing in 5``

        Each row that came in stands in one of the counts after it; what was lost did not come in.
        """
        lost, dropped = self._lost, self.dropped - self._lost
        said = f"{noun} in {self.rows}, {verb} {self.with_result}, failed {by_reason(self.failed)}"
        if dropped:
            said += f", dropped {by_reason(dropped)}"
        if self.without_result:
            said += f", nothing in {self.without_result}"
        if lost:
            said += f", lost {by_reason(lost)}"
        return said


@dataclass(frozen=True)
class Measures:
    """Sums over the rows that have the value; times in seconds since 1970 of rows not dropped.

    ``payload_bytes``: ``None`` where no column says it: executors read the bytes themselves.
    ``retried_rows``, of those not dropped, were fetched again or their task was run again.
    ``oldest_5_percent``: 5% of the rows are from before it, so their results' age is above the
    95th percentile. ``suspect_rows`` say that their model may be read wrongly
    (:mod:`executor.suspicions`), one of them in the words of ``model_suspect``. Those with no box
    but outside of their picture, which a right model may have, are ``outside_rows``, and
    ``boxes_outside`` is the text of one.
    """

    payload_bytes: int | None = None
    decode_ms: float = 0.0
    decoded_rows: int = 0
    model_ms: float = 0.0
    model_rows: int = 0
    retried_rows: int = 0
    median_time: float | None = None
    oldest_5_percent: float | None = None
    model_suspect: str | None = None
    suspect_rows: int = 0
    boxes_outside: str | None = None
    outside_rows: int = 0


def measure_results(results: DataFrame, value: str) -> tuple[Counts, Measures]:
    """Counts of flat results (columns ``value``, ``error``, maybe ``dropped``), and what else the
    columns allow, in one pass.

    A row that was dropped is neither failed nor a result. Spark's ``Observation`` is not used: its
    counts come over the bus of listeners, which drops events when it is full, and a reader who
    waits for them waits for ever.
    """
    [aggregates] = results.agg(*_aggregates(results.schema.json(), value)).collect()
    return _measured(aggregates.asDict())


def observed_stream(results: DataFrame, value: str) -> DataFrame:
    """A stream's results, counted on their way into each batch: without a pass of its own.

    What is counted is in Spark's progress, as ``observedMetrics["pyspark_vision"]``, and read by
    :func:`observed_batch`.
    """
    return results.observe(OBSERVED, *_aggregates(results.schema.json(), value))


def observed_records(records: DataFrame) -> DataFrame:
    """What :func:`observed_stream` does, for rows that become results within a batch: ``rows`` and
    ``payload_bytes`` alone."""
    columns = [F.count(F.lit(1)).alias("rows")]
    if "payload_bytes" in records.columns:
        columns.append(F.sum("payload_bytes").alias("payload_bytes"))
    return records.observe(OBSERVED, *columns)


def observed_batch(query: StreamingQuery) -> tuple[Counts, Measures] | None:
    """What :func:`observed_stream` has seen in the batch in hand, once a sink has read all of it.

    The counts are read from the plan that has run, not from the bus of listeners. A part of the
    batch that is lost with its executor and computed again is counted again. ``None`` where this
    Spark does not say.
    """
    metrics = internals.observed_metrics(query, OBSERVED)
    return None if metrics is None else _measured(metrics)


def _measured(aggregates: Mapping[str, Any]) -> tuple[Counts, Measures]:
    counts = Counts(
        rows=aggregates["rows"],
        with_result=aggregates["with_result"],
        failed=_nonzero({code: aggregates[f"failed_{code}"] for code in (*ErrorCode, _OTHER)}),
        dropped=_nonzero(
            {reason: aggregates[f"dropped_{reason}"] for reason in (*DropReason, _OTHER)}
        ),
    )
    median_time, oldest = aggregates["times"] or (None, None)
    return counts, Measures(
        payload_bytes=None
        if aggregates["payload_bytes"] is None
        else int(aggregates["payload_bytes"]),
        decode_ms=aggregates["decode_ms"] or 0.0,
        decoded_rows=aggregates["decoded_rows"],
        model_ms=aggregates["model_ms"] or 0.0,
        model_rows=aggregates["model_rows"],
        retried_rows=aggregates["retried_rows"],
        median_time=median_time,
        oldest_5_percent=oldest,
        model_suspect=aggregates["model_suspect"],
        suspect_rows=aggregates["suspect_rows"],
        boxes_outside=aggregates["boxes_outside"],
        outside_rows=aggregates["outside_rows"],
    )


def _nonzero(counted: Mapping[str, int]) -> Counter[str]:
    return Counter({str(name): count for name, count in counted.items() if count})


# The same for all batches of a stream; making them takes a tenth of a second.
@functools.lru_cache(maxsize=8)
def _aggregates(schema_json: str, value: str) -> tuple[Column, ...]:
    schema = StructType.fromJson(json.loads(schema_json))
    # Each expression is analyzed, optimized and planned for each batch of a stream: few, and short.
    dropped = F.col("dropped") if "dropped" in schema.names else None

    def of_kept(column: Column) -> Column:
        return column if dropped is None else F.when(dropped.isNull(), column)

    reason = F.lit(None).cast("string") if dropped is None else dropped
    # A row that a sink has refused is a failed one: it has a letter, and not all that it should.
    is_refused = F.col(REFUSED).isNotNull() if REFUSED in schema.names else F.lit(False)
    refusal = F.when(is_refused, F.lit(ErrorCode.TABLE_REFUSED.value))
    code = of_kept(F.coalesce(F.col("error.code"), refusal))
    numbers = {
        name: F.col(name).cast("double") if name in schema.names else F.lit(None).cast("double")
        for name in ("decode_ms", "model_ms", "attempts")
    }
    suspicion = of_kept(_suspicion(schema))
    is_outside = _is_outside(schema, value)
    aggregates = {
        "rows": F.count(F.lit(1)),
        "with_result": _count_if(of_kept(_has_result(schema, value) & ~is_refused)),
        **{f"failed_{known}": _count_if(code == known.value) for known in ErrorCode},
        **{f"dropped_{known}": _count_if(reason == known.value) for known in DropReason},
        f"failed_{_OTHER}": _count_if(~code.isin(*ErrorCode)),
        f"dropped_{_OTHER}": _count_if(~reason.isin(*DropReason)),
        "payload_bytes": _payload_bytes(schema),
        "decode_ms": F.sum(numbers["decode_ms"]),
        "decoded_rows": F.count(numbers["decode_ms"]),
        "model_ms": F.sum(numbers["model_ms"]),
        "model_rows": F.count(numbers["model_ms"]),
        "retried_rows": _count_if(of_kept(numbers["attempts"] > 1)),
        "model_suspect": F.max(F.when(~is_outside, suspicion)),
        "suspect_rows": F.count(suspicion),
        "boxes_outside": F.max(F.when(is_outside, suspicion)),
        "outside_rows": F.count(F.when(is_outside, suspicion)),
        # Within a hundredth of a percent of the rows, in bounded memory.
        "times": F.percentile_approx(of_kept(_time(schema)), [0.5, 0.05]),
    }
    return tuple(column.alias(name) for name, column in aggregates.items())


def _suspicion(schema: StructType) -> Column:
    """The text of a row's warning of its model; null where it has none."""
    if "warnings" not in schema.names:
        return F.lit(None).cast("string")
    suspect = F.filter(
        "warnings", lambda warning: warning["code"] == WarningCode.MODEL_SUSPECT.value
    )
    return F.element_at(F.transform(suspect, lambda warning: warning["message"]), 1)


def _is_outside(schema: StructType, value: str) -> Column:
    """Whether all the boxes that a detector has found were outside of the picture."""
    if value != "detections" or "warnings" not in schema.names:
        return F.lit(False)
    without_area = WarningCode.BOXES_WITHOUT_AREA.value
    has_warning = F.exists("warnings", lambda code: code["code"] == without_area)
    return F.coalesce(has_warning & (F.size(value) == 0), F.lit(False))


def _payload_bytes(schema: StructType) -> Column:
    """The sum, which is 0 for no rows; null where there is no such column."""
    if "payload_bytes" not in schema.names:
        return F.sum(F.lit(None).cast("double"))
    return F.coalesce(F.sum(F.col("payload_bytes").cast("double")), F.lit(0.0))


def _count_if(condition: Column) -> Column:
    return F.count(F.when(condition, 1))


def _has_result(schema: StructType, value: str) -> Column:
    """Whether there is something in a list, or any value of another type."""
    column = F.col(value)
    if isinstance(schema[value].dataType, ArrayType):
        return column.isNotNull() & (F.size(column) > 0)
    return column.isNotNull()


def _time(schema: StructType) -> Column:
    """Seconds since 1970, with fractions; null where no column of times is there."""
    times = [
        F.col(name)
        for name in ("timestamp", "received")
        if name in schema.names and isinstance(schema[name].dataType, TimestampType)
    ]
    # By way of microseconds: a cast of a timestamp to a double is refused under ANSI rules.
    return F.unix_micros(F.coalesce(*times)) / 1e6 if times else F.lit(None).cast("double")
