"""The rows of a fit that runs inside one Spark task, as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, Array, X
from remedi_spark.samples.arrays import matrix

COLUMNS = (X, TARGET, ROW_WEIGHT, VALID)
"""What the task must be given."""


class TaskRows(NamedTuple):
    """Encoded rows, shape (n, width), and by row target, weight and whether it decides when to stop."""

    x: Array
    target: Any
    weight: Any
    valid: npt.NDArray[np.bool_]


def task_rows(table: pa.Table, width: int) -> TaskRows:
    """Return the rows of a table with :data:`COLUMNS`."""
    rows = table.combine_chunks()
    target, weight, valid = (rows[name].to_numpy() for name in (TARGET, ROW_WEIGHT, VALID))
    return TaskRows(matrix(rows[X].combine_chunks(), width), target, weight, np.asarray(valid, dtype=bool))
