"""A function of ``executor.pipeline`` -> a Spark UDF, Arrow-native where PySpark has it.

Arrow-native UDFs (PySpark 4.1 and later) skip the conversion of ragged results to pandas and back;
`make bench-quick` prints what that is worth. Older PySpark takes the same function through a
pandas UDF.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyspark.sql.functions

from pyspark_vision.spark.session import active_session, how_to_set

if TYPE_CHECKING:
    from pyspark.sql.types import DataType
    from pyspark.sql.udf import UserDefinedFunction

# PySpark's own annotations do not export the two makers of vectorized UDFs.
F: Any = pyspark.sql.functions

ARROW_NATIVE = hasattr(F, "arrow_udf")


def vision_udf(
    entry: str,
    arguments: object,
    return_type: DataType,
    *,
    name: str,
    arrow_native: bool = ARROW_NATIVE,
) -> UserDefinedFunction:
    """``pipeline.<entry>(batches, arguments)`` as a UDF called ``name`` in plans.

    ``batches`` is an iterator of Arrow arrays (of tuples of them, if the UDF gets two columns).
    There are as many rows out as in; the pieces may be cut differently.
    """
    # The closure below is pickled by value and imports nothing until it runs, so that a worker
    # without the package or its dependencies says what to do instead of failing to unpickle.
    payload = pickle.dumps(arguments)
    # Asked for here, where every UDF is made: with or without a model, from a Column or for SQL.
    remedy = how_to_set(active_session())

    def start(batches: Any) -> Any:
        import pickle
        import sys

        try:
            from pyspark_vision.executor import pipeline
            from pyspark_vision.executor.worker import idle

            arguments = pickle.loads(payload)
        except ImportError as error:
            raise ImportError(
                f"this executor's Python ({sys.executable}) lacks what the job needs: {error}. "
                f"{remedy}"
            ) from None
        return idle.in_task(getattr(pipeline, entry)(batches, arguments))

    def arrow(batches: Any) -> Any:
        for piece in start(batches):
            yield piece
            # The end of a message stays in the worker's buffer (session.JOB_DEFAULTS) until the
            # next one comes, which may be the next picture's: so one without rows.
            yield piece.slice(0, 0)

    if not arrow_native:
        return _pandas_udf(start, return_type, name)
    import pyarrow as pa

    return _typed(arrow, pa.Array, F.arrow_udf, return_type, name)


def _pandas_udf(start: Any, return_type: DataType, name: str) -> UserDefinedFunction:
    import pandas as pd

    def pandas(batches: Any) -> Any:
        import numpy as np
        import pandas as pd
        import pyarrow as pa

        def to_arrow(column: Any) -> Any:
            # pandas has lost the types: a nullable int is a float there, an empty list of structs
            # an array of floats.
            from pyspark_vision.executor.results import source_type

            if isinstance(column, pd.DataFrame):  # a struct column
                fields = list(source_type(column.columns))
                values = [pa.Array.from_pandas(column[f.name], type=f.type) for f in fields]
                return pa.StructArray.from_arrays(values, fields=fields)
            if any(isinstance(value, np.ndarray) for value in column):  # lists
                lists = [value if value is None else value.tolist() for value in column]
                structs = (item for items in lists for item in items or () if type(item) is dict)
                item_type = source_type(next(structs, {}))
                if item_type.num_fields:
                    return pa.array(lists, pa.list_(item_type), from_pandas=True)
                return pa.array(lists)
            return pa.Array.from_pandas(column)

        arrays = (
            tuple(to_arrow(column) for column in batch)
            if isinstance(batch, tuple)
            else to_arrow(batch)
            for batch in batches
        )
        for array in start(arrays):
            if pa.types.is_struct(array.type):
                names = [field.name for field in array.type]
                yield pd.DataFrame({n: array.field(n).to_pandas() for n in names})
            else:
                yield array.to_pandas()

    return _typed(pandas, pd.Series, F.pandas_udf, return_type, name)


def _typed(
    function: Any, column_type: Any, make_udf: Any, return_type: DataType, name: str
) -> UserDefinedFunction:
    """Spark infers "iterator in, iterator out" from annotations, on the driver only.

    Taken off afterwards: pickled, they would import their types before ``start`` can explain.
    """
    function.__name__ = name
    function.__annotations__ = {"batches": Iterator[column_type], "return": Iterator[column_type]}
    udf: UserDefinedFunction = make_udf(function, return_type)
    function.__annotations__ = {}
    return udf
