"""A sink's own choice of rows and columns."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame

from pyspark_vision.sinks import Sink
from pyspark_vision.spark.prepared import prepared


def through(transform: Callable[[DataFrame], DataFrame], sink: Sink) -> Sink:
    """A sink that gets ``transform(results)``: its own choice of rows and columns."""
    own = prepared(transform)
    return lambda results, batch_id: sink(own(results), batch_id)
