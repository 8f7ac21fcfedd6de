"""Arrow arrays out of buffers are those that pyarrow makes itself, and pandas stays out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pyspark_vision.executor.arrow_arrays import binaries, lists, numbers, strings, structs

PAIR = pa.struct([("code", pa.string()), ("count", pa.int32())])

WITHOUT_PANDAS = """
import sys
from pyspark_vision.executor.results import Row, embeddings_array, result_array
from pyspark_vision.executor.row_errors import ErrorCode, RowError
import numpy as np
rows = [Row(np.ones(2, np.float32), 1, 1), Row(error=RowError(ErrorCode.TRUNCATED, "cut"))]
result_array("embedding", embeddings_array(rows), rows, "m", "s", "d", attempts=[1, 1])
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("values", [[], [1, None, 3], [None], list(range(9)), [None] * 8 + [1]])
def test_numbers_are_those_of_pyarrow(values: list[int | None]) -> None:
    for kind in (pa.int32(), pa.float32()):
        array = numbers(values, kind)
        array.validate(full=True)
        assert array.equals(pa.array(values, kind))


def test_numbers_of_numpy_are_taken_in_any_layout_and_type() -> None:
    columns = np.arange(6, dtype=np.float64).reshape(3, 2)
    assert numbers(columns[:, 1], pa.float32()).to_pylist() == [1.0, 3.0, 5.0]
    assert numbers(np.array([7], np.int64), pa.int32()).equals(pa.array([7], pa.int32()))


@pytest.mark.parametrize("values", [[], ["pear", None, "", "Müllrose"], [None]])
def test_texts_and_bytes_are_those_of_pyarrow(values: list[str | None]) -> None:
    array = strings(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))
    encoded = [None if text is None else text.encode() for text in values]
    assert binaries(encoded).equals(pa.array(encoded, pa.binary()))


@pytest.mark.parametrize(
    "rows",
    [[], [("a", 1), None, (None, 2)], [None], [("a", None)]],
    ids=["none", "mix", "null", "a"],
)
def test_structs_are_those_of_pyarrow(rows: list[Any]) -> None:
    codes = strings([None if row is None else row[0] for row in rows])
    counts = numbers([None if row is None else row[1] for row in rows], pa.int32())
    array = structs([codes, counts], PAIR, [row is None for row in rows])
    array.validate(full=True)
    assert array.equals(pa.array(rows, PAIR))


@pytest.mark.parametrize("rows", [[], [[1, 2], None, [], [3]], [None], [[]]])
def test_lists_are_those_of_pyarrow(rows: list[list[int] | None]) -> None:
    items = numbers([item for row in rows for item in row or []], pa.int32())
    array = lists([None if row is None else len(row) for row in rows], items)
    array.validate(full=True)
    assert array.equals(pa.array(rows, pa.list_(pa.int32())))


def test_what_no_array_holds_is_refused() -> None:
    with pytest.raises(pa.ArrowCapacityError, match="2147483648"):
        lists([2**30, 2**30], numbers([], pa.int32()))


def test_a_workers_results_import_no_pandas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "False\n"
