"""What Spark does not promise: each use is one function, and where it is missing the rest goes on.

A function says what it is for, what happens without it, and on which versions it was seen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.streaming.query import StreamingQuery


def observed_metrics(query: StreamingQuery, name: str) -> dict[str, Any] | None:
    """What ``DataFrame.observe`` has counted as ``name`` in the batch in hand, once it was read.

    Spark's progress has the same, but only when the batch has ended. ``None`` where Spark does not
    give it: the batch's results are kept and counted in a pass of their own. Seen on 3.5.9, 4.0.5,
    4.1.4, 4.2.0 and 4.3.0.
    """
    try:
        # Of PySpark's StreamingQuery and of the JVM's StreamExecution.
        execution: Any = query._jsq.streamingQuery().lastExecution()
        metrics: dict[str, Any] = json.loads(execution.observedMetrics().apply(name).json())
    except (AttributeError, TypeError, Py4JError):
        return None
    return metrics


def not_compiled(value: Column) -> Column:
    """``value``, a literal that is another in each batch, out of the code that Spark generates.

    By itself it is a number in that code, which is then compiled anew for each batch: by Spark for
    25 to 50 ms, and then by the JVM. Arguments of ``zip_with`` are evaluated without such code, as
    seen on 3.5.9, 4.0.5, 4.1.4, 4.2.0 and 4.3.0 (those of ``transform`` no more from 4.3). Where
    they are not, batches take that much longer.
    """
    return F.zip_with(F.array(value), F.array(value), lambda same, _: same)[0]
