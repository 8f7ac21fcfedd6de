"""Where results go: one module per system, each ``(results, batch_id) -> None``.

A sink that fails raises: the micro-batch fails with it and is replayed, so each sink must leave
the same outcome when the same batch comes twice.
"""

from collections.abc import Callable

from pyspark.sql import DataFrame

Sink = Callable[[DataFrame, int], None]
