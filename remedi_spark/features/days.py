"""Daily partials: rows of owner, day and day of becoming known, several where values themselves are kept.

They are many times fewer than the events, every window of every snapshot and the label are computed from them, and
they are what an incremental refresh keeps. All values are whole numbers, dates, the largest and smallest of
something, or sorted lists: they do not depend on the order in which Spark meets the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.features.amounts import PARTS, SQUARE_PARTS, Amount, known_value, part
from remedi_spark.features.lists import LISTS, list_rows, single_rows
from remedi_spark.features.plan import NUMERIC_PARTIALS
from remedi_spark.features.sources import DAY, KNOWN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell


def daily_partials(
    events: DataFrame,
    cells: Iterable[Cell],
    amounts: Mapping[str, Amount],
    further: Iterable[Column] = (),
    *,
    sparse: bool = False,
) -> DataFrame:
    """Return owner_id, :data:`DAY`, :data:`KNOWN` and one column a cell; null: nothing of the kind on that day.

    ``amounts`` are columns of the events, by what cells aggregate; ``further`` are more aggregates to keep, such as
    the label's total. ``sparse``: owners mostly have one event a day.
    """
    cells = list(cells)
    plain = [cell for cell in cells if cell.partial not in LISTS]
    partials = [*(partial for cell in plain for partial in _partials(events, cell, amounts)), *further]
    lists = [cell for cell in cells if cell.partial in LISTS]
    if lists and sparse:
        return single_rows(events, lists, amounts, partials)
    days = events.groupBy(OWNER, DAY, KNOWN)
    rows = days.agg(*partials) if partials else events.select(OWNER, DAY, KNOWN).distinct()
    # Rows of their own: beside a list, Spark computes all other aggregates in its slow way, by objects and sorting.
    return rows.unionByName(list_rows(events, lists, amounts), allowMissingColumns=True) if lists else rows


def _partials(events: DataFrame, cell: Cell, amounts: Mapping[str, Amount]) -> list[Column]:
    selected = F.expr(cell.where)
    if cell.of is None:
        return [_positive(F.count(F.when(selected, 1))).alias(cell.name)]
    if cell.partial not in NUMERIC_PARTIALS:
        return [_positive(F.count(F.when(selected, known_value(events, cell.of)))).alias(cell.name)]
    found = amounts[cell.of]
    if cell.partial == "sum":
        return [total.alias(part(cell.name, which)) for total, which in zip(found.totals(selected), PARTS, strict=True)]
    if cell.partial == "squares":
        totals = zip(found.squares(selected), SQUARE_PARTS, strict=True)
        return [total.alias(part(cell.name, which)) for total, which in totals]
    return [(F.max if cell.partial == "max" else F.min)(F.when(selected, found.value)).alias(cell.name)]


def _positive(count: Column) -> Column:
    return F.when(count > 0, count)
