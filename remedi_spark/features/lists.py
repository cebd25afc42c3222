"""What a day keeps of the values themselves, for aggregates that need more than totals: bounded lists, sorted.

``list``: all values, up to :data:`LONGEST`. ``sketch``: the values rounded to 1 %, and how many of each. ``top``,
``bottom``: the k largest or smallest; ``head``, ``tail``: the k first or last, with their moments. ``hashes``: the
smallest hashes of what occurred, for approximate distinct counts. A list is sorted by its content, so that it does not
depend on the order in which Spark meets the events; those of several days together hold all that a window needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.features.amounts import Amount, known_value, refusal
from remedi_spark.features.ordered import HASH_BITS, HASHES
from remedi_spark.features.sources import MOMENT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.features.plan import Cell

LISTS = ("list", "sketch", "top", "bottom", "head", "tail", "hashes")
LONGEST = 10_000
"""Values that an owner's day may have for exact quantiles."""
GAMMA = 1.02
"""Two neighbours of a sketch are so far apart: no value is moved by more than 1 % (Masson et al. 2019, DDSketch)."""
SMALLEST = 1e-9
"""Nearer to zero, a value of a sketch is zero."""


def list_partial(events: DataFrame, cell: Cell, amount: Amount | None) -> Column:
    """Return the aggregate that a cell keeps of a day."""
    selected = F.expr(cell.where)
    if cell.partial == "hashes":
        text = known_value(events, cell.of or "NULL").cast("string")
        hashed = F.shiftrightunsigned(F.xxhash64(text), 64 - HASH_BITS)
        return F.slice(F.array_sort(F.collect_set(F.when(selected & text.isNotNull(), hashed))), 1, HASHES)
    if cell.partial in ("head", "tail"):
        value = known_value(events, cell.of or "NULL") if amount is None else amount.value
        dated = F.struct(F.unix_micros(MOMENT).alias("at"), value.alias("value"))
        ordered = F.array_sort(F.collect_list(F.when(selected & value.isNotNull(), dated)))
        return F.slice(F.reverse(ordered) if cell.partial == "tail" else ordered, 1, cell.keep or 1)
    assert amount is not None
    chosen = F.when(selected, amount.value)
    if cell.partial == "sketch":
        return _counted(F.array_sort(F.collect_list(_rounded(chosen))))
    ordered = F.array_sort(F.collect_list(chosen))
    if cell.partial == "list":
        what, advice = f"the number of values of {cell.of} on one day of an owner", "use approx_percentile instead"
        return F.when(F.size(ordered) > LONGEST, refusal(what, LONGEST, ordered, advice)).otherwise(ordered)
    return F.slice(F.reverse(ordered) if cell.partial == "top" else ordered, 1, cell.keep or 1)


def _rounded(value: Column) -> Column:
    level = F.pow(F.lit(GAMMA), F.ceil(F.log(F.abs(value)) / math.log(GAMMA))) * (2 / (1 + GAMMA))
    return F.when(F.abs(value) < SMALLEST, F.lit(0.0)).otherwise(F.signum(value) * level)


def _counted(ordered: Column) -> Column:
    """Return the values of a sorted list once each, with how often they stand there; in one pass."""

    def begins(every: Column) -> Column:
        placed = F.transform(every, lambda value, place: F.struct(value.alias("value"), place.alias("place")))
        return F.filter(placed, lambda one: (one.place == 0) | (F.get(every, one.place - 1) != one.value))

    def counts(every: Column, first: Column) -> Column:
        def counted(one: Column, place: Column) -> Column:
            until = F.coalesce(F.get(first, place + 1).place, F.size(every))
            return F.struct(one.value.alias("value"), (until - one.place).alias("n"))

        return F.transform(first, counted)

    return _once(ordered, lambda every: _once(begins(every), lambda first: counts(every, first)))


def _once(value: Column, function: Callable[[Column], Column]) -> Column:
    """Return a function of a column that is computed once: inside a lambda, it would be for every element."""
    return F.transform(F.array(value), function)[0]
