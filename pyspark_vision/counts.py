"""What went through: rows in, rows with a result, failures by code, drops by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import Observation
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

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


def count_results(results: DataFrame, value: str) -> Counts:
    """Count flat results (columns ``value``, ``error``, maybe ``dropped``) in one pass.

    A row that was dropped is neither failed nor a result. A few rows come to the driver.
    """
    dropped = F.col("dropped") if "dropped" in results.columns else F.lit(None).cast("string")
    grouped = results.groupBy(
        dropped.alias("dropped"), F.when(dropped.isNull(), F.col("error.code")).alias("code")
    )
    has_result = dropped.isNull() & _has_result(results, value)
    rows = grouped.agg(
        F.count(F.lit(1)).alias("rows"), F.count(F.when(has_result, 1)).alias("with_result")
    ).collect()
    return Counts(
        rows=sum(row["rows"] for row in rows),
        with_result=sum(row["with_result"] for row in rows),
        failed=Counter({row["code"]: row["rows"] for row in rows if row["code"] is not None}),
        dropped=Counter({row["dropped"]: row["rows"] for row in rows if row["dropped"]}),
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
