"""Quantiles that depend on the rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import ROW_HASH
from remedi_spark.spark.partitions import uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

_ROWS = 200_000
"""Rows that quantiles are taken from: the median of so many is within some 0.2 % of the true percentile (95 %)."""


def quantiles(
    frame: DataFrame, columns: Sequence[str], probabilities: Sequence[float], rows: int | None = None
) -> list[list[float]]:
    """Return the quantiles of each column, nulls left out, interpolated between neighbours.

    Of many rows, those are taken whose hash is low. Spark's approximate quantiles depend on which partition ends first:
    whatever is learned from them is another on the next run.

    Args:
        frame: ``columns`` (numbers), and ``row_hash`` if there may be many rows.
        columns: what to take quantiles of.
        probabilities: in [0, 1].
        rows: of the frame, about; counted if not given.
    """
    rows = frame.count() if rows is None else rows
    chosen = frame if rows <= _ROWS else frame.where(uniform(ROW_HASH, 0) < _ROWS / rows)

    def work(values: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({column: np.nanquantile(values[column], probabilities) for column in columns})

    # Grouped by a text: Spark 4 takes a whole number for the place of a column.
    # One task: exact, and cheaper than percentile() of Spark by far (benchmarks/quantiles.py).
    together = chosen.select(*[F.col(column).cast("double") for column in columns]).groupBy(F.lit("all"))
    found = together.applyInPandas(work, ", ".join(f"`{column}` double" for column in columns)).collect()
    return [[row[column] for row in found] for column in columns]
