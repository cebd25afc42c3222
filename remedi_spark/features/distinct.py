"""Exact distinct counts over windows, without sets.

A value is inside (t − W, t] when the last day on which the owner is known to have had it is. That last day changes
only when the value occurs again, so each occurrence stands for an interval of snapshots, and each value is counted
once a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.sources import DAY, KNOWN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell, Reading
    from remedi_spark.features.snapshots import Grid


def count_distinct(events: DataFrame, readings: Iterable[Reading], grid: Grid) -> DataFrame:
    """Return owner_id, snapshot_date and one column a reading, for the events of one source.

    An owner without any value inside the windows has no row.
    """
    readings = tuple(readings)
    cells = list(dict.fromkeys(reading.cell for reading in readings))
    widest = F.array(*(F.lit(_widest(readings, cell)) for cell in cells))[F.col("cell")]
    history = Window.partitionBy(OWNER, "cell", "value").orderBy(KNOWN)
    so_far = history.rangeBetween(Window.unboundedPreceding, Window.currentRow)
    last = (
        _occurrences(events, cells)
        .withColumn("last", F.max(DAY).over(so_far))
        .withColumn("next", F.lead(KNOWN).over(history))
        .withColumn("until", F.least(F.date_sub("next", 1), F.date_add(F.col("last"), widest - 1)))
        .select(OWNER, "cell", KNOWN, "last", "until")
    )
    seen = grid.explode(last, F.col(KNOWN), F.col("until")).withColumn("age", F.datediff(SNAPSHOT, "last"))
    columns = [_count(reading, cells.index(reading.cell)).alias(reading.name) for reading in readings]
    return seen.groupBy(OWNER, SNAPSHOT).agg(*columns)


def _widest(readings: tuple[Reading, ...], cell: Cell) -> int:
    return max(reading.window or 0 for reading in readings if reading.cell == cell)


def _occurrences(events: DataFrame, cells: list[Cell]) -> DataFrame:
    """Return one row for every owner, cell, value and day of becoming known, with the latest day of occurrence."""
    pairs = [F.struct(F.lit(number).alias("cell"), _value(cell).alias("value")) for number, cell in enumerate(cells)]
    values = events.select(OWNER, DAY, KNOWN, F.inline(F.array(*pairs))).filter("value IS NOT NULL")
    # By owner alone: whatever follows, the counts of a snapshot included, needs no further shuffle.
    return values.repartition(OWNER).groupBy(OWNER, "cell", "value", KNOWN).agg(F.max(DAY).alias(DAY))


def _value(cell: Cell) -> Column:
    return F.when(F.expr(cell.group.where), F.expr(cell.of or "NULL").cast("string"))


def _count(reading: Reading, number: int) -> Column:
    return F.count(F.when((F.col("cell") == number) & (F.col("age") < F.lit(reading.window)), 1))
