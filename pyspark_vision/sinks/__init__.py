"""Where results go: one module per system, each ``(results, batch_id) -> None``.

A sink that fails raises: the micro-batch fails with it and is replayed, so each sink must leave
the same outcome when the same batch comes twice. The first sink reads all results: what it leaves
out is not computed before they are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Sink = Callable[["DataFrame", int], None]


@dataclass(frozen=True)
class OfFailures:
    """A sink of failed rows alone, which has nothing to do for a batch without one.

    A sink that replaces what an earlier try of the batch has written cannot be one.
    """

    sink: Sink

    def __call__(self, results: DataFrame, batch_id: int) -> None:
        self.sink(results, batch_id)
