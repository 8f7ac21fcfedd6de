"""The cells of detectors' grids."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def grid_cells(
    input_hw: tuple[int, int], strides: tuple[int, ...], *, whole: bool = True
) -> tuple[Array, Array]:
    """``(N, 2)`` x, y of the cells of each stride's grid, row by row; ``(N, 1)`` their strides.

    ``whole``: without cells that reach over the input.

    >>> cells, strides = grid_cells((64, 96), (32,))
    >>> cells.tolist(), strides[0].tolist()
    ([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]], [32.0])
    """
    cells, of_strides = [], []
    for stride in strides:
        rows, columns = (side // stride if whole else -(-side // stride) for side in input_hw)
        y, x = np.mgrid[:rows, :columns]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        of_strides.append(np.full((x.size, 1), stride))
    return (
        np.concatenate(cells).astype(np.float32),
        np.concatenate(of_strides).astype(np.float32),
    )
