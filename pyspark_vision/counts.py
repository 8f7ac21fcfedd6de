"""What went through: rows in, rows with a result, failures by code, drops by reason; and measures.

Measures are over columns that a job may have: sums of ``payload_bytes``, ``decode_ms`` and
``model_ms``, rows with more than one of ``attempts``, and quantiles of the time from which a
result's age counts: ``timestamp`` (the frame's own), or where that is null ``received`` (when the
source got it).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import Observation
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, TimestampType

from pyspark_vision.errors import ErrorCode

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass
class Counts:
    """What a run has seen so far: rows in, with at least one result, failed by code, dropped."""

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

    def summary(self, noun: str, verb: str) -> str:
        """``frames in 60, detected 52, failed 3 (truncated 2, unsupported_format 1)``"""
        dropped = f", dropped {_by_reason(self.dropped)}" if self.dropped else ""
        failed = _by_reason(self.failed)
        return f"{noun} in {self.rows}, {verb} {self.with_result}, failed {failed}{dropped}"


@dataclass(frozen=True)
class Measures:
    """Sums over the rows that have the value; times in seconds since 1970 of rows not dropped.

    ``retried_rows``, of those not dropped, were fetched again or their task was run again.
    ``oldest_5_percent``: 5% of the rows are from before it, so their results' age is above the
    95th percentile.
    """

    payload_bytes: int = 0
    decode_ms: float = 0.0
    decoded_rows: int = 0
    model_ms: float = 0.0
    model_rows: int = 0
    retried_rows: int = 0
    median_time: float | None = None
    oldest_5_percent: float | None = None


def count_results(results: DataFrame, value: str) -> Counts:
    """Count flat results (columns ``value``, ``error``, maybe ``dropped``) in one pass.

    A row that was dropped is neither failed nor a result. A few rows come to the driver.
    """
    return measure_results(results, value)[0]


def measure_results(results: DataFrame, value: str) -> tuple[Counts, Measures]:
    """:func:`count_results` and the measures that the columns allow, in the same pass."""
    dropped = F.col("dropped") if "dropped" in results.columns else F.lit(None).cast("string")
    kept = dropped.isNull()
    has_result = kept & _has_result(results, value)
    narrow = results.select(
        dropped.alias("dropped"),
        F.when(kept, F.col("error.code")).alias("code"),
        has_result.alias("has_result"),
        *(
            _number(results, name).alias(name)
            for name in ("payload_bytes", "decode_ms", "model_ms", "attempts")
        ),
        F.when(kept, _time(results)).alias("time"),
    )
    groups = [F.col("dropped"), F.col("code")]
    # The empty set of columns is the row of the whole, without a second pass.
    rows = (
        narrow.groupingSets([groups, []], *groups)
        .agg(
            F.grouping_id().alias("is_whole"),
            F.count(F.lit(1)).alias("rows"),
            F.count(F.when(F.col("has_result"), 1)).alias("with_result"),
            F.sum("payload_bytes").alias("payload_bytes"),
            F.sum("decode_ms").alias("decode_ms"),
            F.count("decode_ms").alias("decoded_rows"),
            F.sum("model_ms").alias("model_ms"),
            F.count("model_ms").alias("model_rows"),
            F.count(F.when(F.col("dropped").isNull() & (F.col("attempts") > 1), 1)).alias(
                "retried_rows"
            ),
            # Within a hundredth of a percent of the rows, in bounded memory.
            F.percentile_approx("time", [0.5, 0.05]).alias("times"),
        )
        .collect()
    )
    parts = [row for row in rows if not row["is_whole"]]
    counts = Counts(
        rows=sum(row["rows"] for row in parts),
        with_result=sum(row["with_result"] for row in parts),
        failed=Counter({row["code"]: row["rows"] for row in parts if row["code"] is not None}),
        dropped=Counter({row["dropped"]: row["rows"] for row in parts if row["dropped"]}),
    )
    # Of no rows Spark makes no row of the whole either.
    whole = next((row for row in rows if row["is_whole"]), None)
    if whole is None:
        return counts, Measures()
    median_time, oldest = whole["times"] or (None, None)
    return counts, Measures(
        payload_bytes=int(whole["payload_bytes"] or 0),
        decode_ms=whole["decode_ms"] or 0.0,
        decoded_rows=whole["decoded_rows"],
        model_ms=whole["model_ms"] or 0.0,
        model_rows=whole["model_rows"],
        retried_rows=whole["retried_rows"],
        median_time=median_time,
        oldest_5_percent=oldest,
    )


def observe_results(results: DataFrame, value: str) -> tuple[DataFrame, Observation]:
    """Count while another action runs, without a pass of its own; then :func:`observed_counts`."""
    code = F.col("error.code")
    failures = [F.count(F.when(code == known.value, 1)).alias(known.value) for known in ErrorCode]
    observation = Observation()
    observed = results.observe(
        observation,
        F.count(F.lit(1)).alias("rows"),
        F.count(F.when(_has_result(results, value), 1)).alias("with_result"),
        *failures,
    )
    return observed, observation


def observed_counts(observation: Observation) -> Counts:
    """The counts of an observed action that has finished."""
    seen = dict(observation.get)
    rows, with_result = seen.pop("rows"), seen.pop("with_result")
    return Counts(rows, with_result, Counter({code: n for code, n in seen.items() if n}))


def _by_reason(counted: Counter[str]) -> str:
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counted.items()))
    return f"{sum(counted.values())}" + (f" ({reasons})" if reasons else "")


def _has_result(results: DataFrame, value: str) -> Column:
    """Whether there is something in a list, or any value of another type."""
    column = F.col(value)
    if isinstance(results.schema[value].dataType, ArrayType):
        return column.isNotNull() & (F.size(column) > 0)
    return column.isNotNull()


def _number(results: DataFrame, name: str) -> Column:
    column = F.col(name) if name in results.columns else F.lit(None)
    return column.cast("double")


def _time(results: DataFrame) -> Column:
    """Seconds since 1970, with fractions; null where no column of times is there."""
    times = [
        F.col(name)
        for name in ("timestamp", "received")
        if name in results.columns and isinstance(results.schema[name].dataType, TimestampType)
    ]
    # By way of microseconds: a cast of a timestamp to a double is refused under ANSI rules.
    return F.unix_micros(F.coalesce(*times)) / 1e6 if times else F.lit(None).cast("double")
