"""Exact distinct counts over windows, without sets.

A value is inside (t − W, t] when the last day on which the owner is known to have had it is. That last day changes
only when the value occurs again, so each occurrence stands for an interval of snapshots, and each value is counted
once a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.features.amounts import known_value
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.features.wants import STRETCHES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell, Reading
    from remedi_spark.features.snapshots import Grid

CELL = "__cell"
VALUE = "__value"


def daily_values(events: DataFrame, cells: Sequence[Cell]) -> DataFrame:
    """Return owner_id, :data:`CELL`, :data:`VALUE`, :data:`KNOWN` and the latest :data:`DAY` of occurrence.

    ``CELL`` is the cell's number.
    """
    pairs = [
        F.struct(F.lit(cell.number).cast("bigint").alias(CELL), _value(events, cell).alias(VALUE)) for cell in cells
    ]
    values = events.select(OWNER, DAY, KNOWN, F.inline(F.array(*pairs))).filter(F.col(VALUE).isNotNull())
    return values.groupBy(OWNER, CELL, VALUE, KNOWN).agg(F.max(DAY).alias(DAY))


def stretches(values: DataFrame, readings: Sequence[Reading], grid: Grid) -> DataFrame:
    """Return owner_id and :data:`STRETCHES`: for each owner the stretches over which the last day of a value stays.

    A stretch has the number of its ``cell``, the day from which it is ``known``, the ``next`` day on
    which something later became known (or null), and the value's last ``day``.

    Args:
        values: From :func:`daily_values`.
        readings: Distinct counts of one source.
    """
    widest = max(reading.window or 0 for reading in readings)
    earliest = F.date_sub(F.lit(min(grid.days)), widest)
    numbers = sorted({reading.cell.number for reading in readings})
    seen = (F.col(DAY) > earliest) & (F.col(KNOWN) <= F.lit(max(grid.days))) & F.col(CELL).isin(numbers)
    recent = values.filter(seen)
    history = Window.partitionBy(OWNER, CELL, VALUE).orderBy(KNOWN)
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    # By owner alone: the lists need no further shuffle.
    last = recent.repartition(OWNER).select(
        OWNER,
        F.struct(
            F.col(CELL).alias("cell"),
            F.col(KNOWN).alias("known"),
            F.lead(KNOWN).over(history).alias("next"),
            F.max(DAY).over(so_far).alias("day"),
        ).alias(STRETCHES),
    )
    # A list an owner: as rows beside the days, they would be many, and almost all of their columns null.
    return last.groupBy(OWNER).agg(F.collect_list(STRETCHES).alias(STRETCHES))


def _value(events: DataFrame, cell: Cell) -> Column:
    return F.when(F.expr(cell.where), known_value(events, cell.of or "NULL").cast("string"))
