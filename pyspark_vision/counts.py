"""What went through: rows in, rows with a result, failures by code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import Observation
from pyspark.sql import functions as F

from pyspark_vision.errors import ErrorCode

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass
class Counts:
    """What a run has seen so far: rows in, rows with at least one result, failures by code."""

    rows: int = 0
    with_result: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def summary(self, noun: str, verb: str) -> str:
        """``frames in 60, detected 52, failed 3 (truncated 2, unsupported_format 1)``"""
        codes = ", ".join(f"{code} {n}" for code, n in sorted(self.failed.items()))
        failed = f"{sum(self.failed.values())}" + (f" ({codes})" if codes else "")
        return f"{noun} in {self.rows}, {verb} {self.with_result}, failed {failed}"


def count_results(results: DataFrame, value: str) -> Counts:
    """Count flat results (columns ``value`` and ``error``): one pass, a few rows to the driver."""
    grouped = results.groupBy(F.col("error.code").alias("code"))
    rows = grouped.agg(
        F.count(F.lit(1)).alias("rows"), F.count(F.when(_has_result(value), 1)).alias("with_result")
    ).collect()
    return Counts(
        rows=sum(row["rows"] for row in rows),
        with_result=sum(row["with_result"] for row in rows),
        failed=Counter({row["code"]: row["rows"] for row in rows if row["code"] is not None}),
    )


def observe_results(results: DataFrame, value: str) -> tuple[DataFrame, Observation]:
    """Count while another action runs, without a pass of its own; then :func:`observed_counts`."""
    code = F.col("error.code")
    failures = [F.count(F.when(code == known.value, 1)).alias(known.value) for known in ErrorCode]
    observation = Observation()
    observed = results.observe(
        observation,
        F.count(F.lit(1)).alias("rows"),
        F.count(F.when(_has_result(value), 1)).alias("with_result"),
        *failures,
    )
    return observed, observation


def observed_counts(observation: Observation) -> Counts:
    """The counts of an observed action that has finished."""
    seen = dict(observation.get)
    rows, with_result = seen.pop("rows"), seen.pop("with_result")
    return Counts(rows, with_result, Counter({code: n for code, n in seen.items() if n}))


def _has_result(value: str) -> Column:
    return F.col(value).isNotNull() & (F.size(value) > 0)
