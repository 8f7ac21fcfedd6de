"""Arrow arrays from Python's values and numpy's, without pandas.

``pyarrow.array`` imports pandas to ask whether what it is given is a series: 27 MB of each worker,
and a third of a second of its start. These arrays are put together from their buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_LARGEST_OFFSET = 2**31 - 1


def numbers(values: Sequence[float | None] | np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """Numbers of the Arrow type ``kind`` (``int32``, ``float32``); ``None`` is null.

    >>> numbers([1, None, 3], pa.int32()).to_pylist()
    [1, None, 3]
    """
    dtype = np.dtype(kind.to_pandas_dtype())
    if isinstance(values, np.ndarray):
        validity, data = None, np.ascontiguousarray(values, dtype)
    else:
        validity = _validity(values)
        data = np.array([0 if value is None else value for value in values], dtype)
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(data)])


def strings(values: Sequence[str | None]) -> pa.Array:
    """Text; ``None`` is null.

    >>> strings(["pear", None, ""]).to_pylist()
    ['pear', None, '']
    """
    return _variable([None if text is None else text.encode() for text in values], pa.string())


def binaries(values: Sequence[bytes | None]) -> pa.Array:
    """Bytes; ``None`` is null. Raises ``pyarrow.ArrowCapacityError`` beyond 2 GiB together."""
    return _variable(values, pa.binary())


def structs(columns: Sequence[pa.Array], kind: pa.StructType, is_null: Sequence[bool]) -> pa.Array:
    """Structs of the Arrow type ``kind`` out of their fields' arrays; null where ``is_null``."""
    validity = _validity([None if null else 0 for null in is_null])
    return pa.Array.from_buffers(kind, len(is_null), [validity], children=list(columns))


def lists(lengths: Sequence[int | None], items: pa.Array) -> pa.Array:
    """Lists of so many of the ``items`` each, in their order; null where a length is ``None``.

    >>> lists([2, None, 0], numbers([1, 2], pa.int32())).to_pylist()
    [[1, 2], None, []]
    """
    offsets = _offsets([length or 0 for length in lengths])
    buffers = [_validity(lengths), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.list_(items.type), len(lengths), buffers, children=[items])


def _variable(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    offsets = _offsets([0 if value is None else len(value) for value in values])
    data = b"".join(value for value in values if value is not None)
    buffers = [_validity(values), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _offsets(lengths: Sequence[int]) -> np.ndarray[Any, Any]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > _LARGEST_OFFSET:
        raise pa.ArrowCapacityError(f"{offsets[-1]} bytes or items do not fit into one array")
    return offsets.astype(np.int32)


def _validity(values: Sequence[Any]) -> pa.Buffer | None:
    """A bit for each value, the first one lowest; none at all where there is no null."""
    is_valid = [value is not None for value in values]
    if all(is_valid):
        return None
    return pa.py_buffer(np.packbits(is_valid, bitorder="little"))
