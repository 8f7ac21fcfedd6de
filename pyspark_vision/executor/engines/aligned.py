"""Large arrays as tensors of TensorFlow, without a copy.

``tf.constant`` and its like copy an array twice (numpy's memory is not aligned as TensorFlow wants
it, and may change under it), and hold one of the copies until the next conversion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# EIGEN_MAX_ALIGN_BYTES of TensorFlow's builds: its kernels abort the process on less.
_ALIGNMENT_BYTES = 64


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An array without values, at an address that TensorFlow takes as it is."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    values: Array = room[start : start + size].view(dtype).reshape(shape)
    return values


def tensor(values: Array) -> Any:
    """A tensor on the memory of ``values``, made by :func:`empty`; nobody may write to it again."""
    import tensorflow as tf

    here = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    # `identity` copies it to the GPU, where there is one: once, and not with each batch.
    return tf.identity(here) if tf.config.list_logical_devices("GPU") else here
