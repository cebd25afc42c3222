"""What a table with thousands of columns is spared."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from remedi_spark.spark.kept import kept

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WIDE = 500
"""Columns above which rows are read again rather than kept."""


def kept_unless_wide(frame: DataFrame) -> AbstractContextManager[DataFrame]:
    """Keep the rows of a frame on disk; of more than :data:`WIDE` columns, compute them for every query.

    In every plan Spark compares each column of a kept frame with all others: of 3,000 columns for longer than it takes
    to read them again.
    """
    return nullcontext(frame) if len(frame.columns) > WIDE else kept(frame, on_disk=True)
