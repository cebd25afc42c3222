"""List columns of Arrow as numpy arrays, and back, without touching single rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[np.float64]


def lists(values: Array) -> pa.ListArray:
    """Return a list column from an array of shape (rows, width)."""
    rows, width = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(values, dtype=np.float64).ravel())


def nested_lists(values: Array) -> pa.ListArray:
    """Return a list-of-lists column from an array of shape (rows, variants, width)."""
    rows, variants, width = values.shape
    inner = lists(values.reshape(rows * variants, width))
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * variants, inner)


def matrix(column: pa.Array, width: int) -> Array:
    """Return a list column as an array of shape (rows, width)."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float64).reshape(len(column), width)
