"""Where results go: one module per system, each ``(results, batch_id) -> None``.

A sink that fails raises: the micro-batch fails with it and is replayed, so each sink must leave
the same outcome when the same batch comes twice. The first sink reads all results: what it leaves
out is not computed before they are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Sink = Callable[["DataFrame", int], None]
