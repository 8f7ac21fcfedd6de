"""Where results go: one module per system, each ``(results, batch_id) -> None``.

A sink that fails raises: the micro-batch fails with it and is replayed, so each sink must leave
the same outcome when the same batch comes twice. The first sink reads all results: what it leaves
out is not computed before they are counted.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame

from pyspark_vision.spark.prepared import prepared

Sink = Callable[[DataFrame, int], None]


def through(transform: Callable[[DataFrame], DataFrame], sink: Sink) -> Sink:
    """A sink that gets ``transform(results)``: its own choice of rows and columns."""
    own = prepared(transform)
    return lambda results, batch_id: sink(own(results), batch_id)
