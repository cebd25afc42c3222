"""From daily partials to snapshots: windows (t − W, t] over what was known at t.

A day's row is repeated for the snapshots it can matter for and all windows of all snapshots are aggregated in one
groupBy. A row matters as long as one of the windows still covers its day. What looks at all known history (the last and
the first day) is carried forward from row to row, so that only the owner's newest row has to reach beyond the widest
window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.sources import DAY, KNOWN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell, Reading
    from remedi_spark.features.snapshots import Grid

END_OF_TIME = "9999-12-31"
UNTIL = "__until"
AGE = "__age"


def read_snapshots(days: Mapping[str, DataFrame], readings: Iterable[Reading], grid: Grid) -> DataFrame:
    """Return one row for every snapshot and every owner of whom anything was known by then, one column a reading.

    ``days`` are the daily partials of each source.
    """
    readings = tuple(readings)
    rows = [_carried(frame, _of_source(readings, source)) for source, frame in days.items()]
    union = reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), rows)
    seen = grid.explode(union, F.col(KNOWN), F.col(UNTIL)).withColumn(AGE, F.datediff(SNAPSHOT, DAY))
    columns = [_read(reading).alias(reading.name) for reading in readings]
    key = seen.groupBy(OWNER, SNAPSHOT)
    return key.agg(*columns) if columns else seen.select(OWNER, SNAPSHOT).distinct()


def _of_source(readings: tuple[Reading, ...], source: str) -> tuple[Reading, ...]:
    return tuple(reading for reading in readings if reading.cell.group.source == source)


def _carried(days: DataFrame, readings: tuple[Reading, ...]) -> DataFrame:
    """Add to each row the day it counts as, the last and first day so far, and the last day it matters on."""
    # Rows that became known on the same day are peers: a RANGE frame gives all of them the same last and first day.
    so_far = Window.partitionBy(OWNER).orderBy(KNOWN).rangeBetween(Window.unboundedPreceding, Window.currentRow)
    in_order = Window.partitionBy(OWNER).orderBy(KNOWN, DAY)
    widest = max((reading.window or 0 for reading in readings), default=0)
    superseded = F.date_sub(F.lead(KNOWN).over(in_order), 1)
    until = F.greatest(F.date_add(DAY, widest - 1), F.coalesce(superseded, F.to_date(F.lit(END_OF_TIME))))
    added: dict[str, Column] = {UNTIL: until}
    for reading in readings:
        cell = reading.cell
        happened = F.when(F.col(cell.name).isNotNull(), F.col(DAY))
        if reading.view == "last":
            added[_last(cell)] = F.max(happened).over(so_far)
        elif reading.view == "first":
            added[_first(cell)] = F.min(happened).over(so_far)
        elif reading.view in ("days", "newest", "oldest"):
            added[_day_of(cell)] = _first_report(cell)
    return days.withColumns(added)


def _first_report(cell: Cell) -> Column:
    """Return the day, on the first row that reports the cell for it: a day of which more arrives later is one day."""
    earlier = Window.partitionBy(OWNER, DAY).orderBy(KNOWN).rowsBetween(Window.unboundedPreceding, -1)
    value = F.col(cell.name)
    return F.when(value.isNotNull() & (F.count(value).over(earlier) == 0), F.col(DAY))


def _read(reading: Reading) -> Column:
    cell = reading.cell
    if reading.view == "last":
        return F.max(_last(cell))
    if reading.view == "first":
        return F.min(_first(cell))
    inside = F.col(AGE) < F.lit(reading.window)
    if reading.view in ("days", "newest", "oldest"):
        aggregate = {"days": F.count, "newest": F.max, "oldest": F.min}[reading.view]
        return aggregate(F.when(inside, F.col(_day_of(cell))))
    aggregate = {"total": F.sum, "largest": F.max, "smallest": F.min}[reading.view]
    return aggregate(F.when(inside, F.col(cell.name)))


def _last(cell: Cell) -> str:
    return f"{cell.name}__last"


def _first(cell: Cell) -> str:
    return f"{cell.name}__first"


def _day_of(cell: Cell) -> str:
    return f"{cell.name}__day"
