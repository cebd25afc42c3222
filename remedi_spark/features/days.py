"""Daily partials: one row for every owner, day and day of becoming known.

They are many times fewer than the events, every window of every snapshot and the label are computed from them, and
they are what an incremental refresh keeps. All values are whole numbers, dates, or the largest and smallest of
something: they do not depend on the order in which Spark meets the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.features.aggregations import fixed_point
from remedi_spark.features.sources import DAY, KNOWN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell


def daily_partials(events: DataFrame, cells: Iterable[Cell], further: Iterable[Column] = ()) -> DataFrame:
    """Return owner_id, :data:`DAY`, :data:`KNOWN` and one column a cell; null: nothing of the kind on that day.

    ``further`` are more aggregates to keep, such as the label's total.
    """
    partials = [*(_partial(cell).alias(cell.name) for cell in cells), *further]
    days = events.groupBy(OWNER, DAY, KNOWN)
    return days.agg(*partials) if partials else events.select(OWNER, DAY, KNOWN).distinct()


def _partial(cell: Cell) -> Column:
    selected = F.expr(cell.group.where)
    if cell.of is None:
        return _positive(F.count(F.when(selected, 1)))
    value = F.when(selected, F.expr(cell.of))
    return _VALUE[cell.partial](value)


def _positive(count: Column) -> Column:
    return F.when(count > 0, count)


def _squares(value: Column) -> Column:
    whole = fixed_point(value).cast("decimal(19,0)")
    return F.sum((whole * whole).cast("decimal(28,0)"))


_VALUE: dict[str, Callable[[Column], Column]] = {
    "count": lambda value: _positive(F.count(value)),
    "sum": lambda value: F.sum(fixed_point(value)),
    "squares": _squares,
    "max": lambda value: F.max(value.cast("double")),
    "min": lambda value: F.min(value.cast("double")),
}
