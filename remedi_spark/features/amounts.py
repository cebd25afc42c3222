"""Exact totals of amounts: two whole numbers, thousands and millionths, that are added up apart.

Whole numbers do not depend on the order in which they are added, so the same input gives the same bits however it is
partitioned, and a refreshed table equals a rebuilt one. One 64-bit number of millionths would be full at 9.2e12; two
hold totals up to 9.2e21, and what passes that is refused, never cut off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.features.expressions import as_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SCALE = 1_000_000
"""The low part counts 1 / SCALE."""
UNIT = 1_000
"""The high part counts UNIT."""
_LARGEST = float(2**63 - 1024)
"""The largest number of a double that a bigint holds."""
LARGEST = 1e18
"""No single amount may be larger."""
LARGEST_SQUARED = 1e12
"""No single amount may be larger where squares are added up, for a standard deviation."""
PARTS = ("high", "low")
SQUARE_PARTS = ("top", "middle", "low")
"""Totals of squares have up to 38 digits: 12 of 10^26, 13 of 10^13, 13 of 1."""
TOP, MIDDLE = 26, 13
_REFUSED = "remedi_spark.errors.InputError: "
"""How the command line knows a refusal that a task raised."""


def part(name: str, which: str) -> str:
    """Return the column of one part of a total."""
    return f"{name}__{which}"


@dataclass(frozen=True)
class Amount:
    """Columns of an amount of events: its value, and its parts; null where it is null, not a number or infinite."""

    sql: str
    """As it was declared: a column or an SQL expression."""
    name: str

    @property
    def value(self) -> Column:
        """The value as a double."""
        return F.col(self.name)

    def totals(self, selected: Column) -> list[Column]:
        """Return the aggregates :data:`PARTS` over some events."""
        high, low = self._parts(selected, LARGEST)
        return [exact_sum(high, low, f"the total of {self.sql}"), F.sum(low)]

    def squares(self, selected: Column) -> list[Column]:
        """Return the aggregates :data:`SQUARE_PARTS` of squares over some events, in 1 / SCALE².

        Whole numbers of 64 bits throughout: decimals of 38 digits take several times as long to add and to take apart.
        """
        high, low = self._parts(selected, LARGEST_SQUARED)
        # (10⁹ high + low)² = 10¹⁸ high² + 10⁹ · 2 high low + low², taken apart at 10²⁶ and 10¹³.
        ends, mixed, small = high * high, high * low * 2, low * low
        top = F.sum(_div(ends, 10**8))
        middle = exact_sum(
            (ends % 10**8) * 10**5 + _div(mixed, 10**4) + _div(small, 10**MIDDLE),
            low,
            f"the total of squares of {self.sql}",
        )
        least = F.sum((mixed % 10**4) * 10**9 + small % 10**MIDDLE)
        carried = middle + _div(least, 10**MIDDLE)
        return [top + _div(carried, 10**MIDDLE), carried % 10**MIDDLE, least % 10**MIDDLE]

    def _parts(self, selected: Column, largest: float) -> tuple[Column, Column]:
        high, low = (F.col(part(self.name, which)) for which in PARTS)
        beyond = F.abs(self.value) > F.lit(largest)
        checked = F.when(beyond, refusal(self.sql, largest, high)).otherwise(high)
        return F.when(selected, checked), F.when(selected, low)


def with_amounts(events: DataFrame, wanted: Iterable[str]) -> tuple[DataFrame, dict[str, Amount]]:
    """Add the columns of amounts to events, each once, whatever groups read it; return them by their declaration."""
    found: dict[str, Amount] = {}
    for number, sql in enumerate(dict.fromkeys(wanted)):
        value = F.expr(as_sql(events, sql))
        kind = events.select(value).schema[0].dataType
        one = Amount(sql, f"__amount{number}")
        found[sql] = one
        if isinstance(kind, T.LongType | T.DecimalType):  # more digits than a double holds
            columns = [value.cast("double"), F.call_function("div", value, F.lit(UNIT))]
            rest = (value % F.lit(UNIT)).cast("double")
        else:
            number_of = value.cast("double")
            finite = ~F.isnan(number_of) & (F.abs(number_of) != F.lit(float("inf")))
            clean = F.when(finite, number_of)
            events = events.withColumn(one.name, clean)
            columns = [one.value, _whole(one.value / F.lit(float(UNIT)))]
            rest = one.value - columns[1] * F.lit(float(UNIT))
        names = (one.name, *(part(one.name, which) for which in PARTS))
        events = events.withColumns(dict(zip(names, (*columns, _whole(F.round(rest * SCALE))), strict=True)))
    return events, found


def _div(number: Column, by: int) -> Column:
    return F.call_function("div", number, F.lit(by).cast("bigint"))


def _whole(number: Column) -> Column:
    """Return a number as a bigint, the nearest where it is none: ANSI sessions refuse such a cast."""
    most = F.lit(_LARGEST)
    return F.when(number > most, most).when(number < -most, -most).otherwise(number).cast("bigint")


def known_value(events: DataFrame, sql: str) -> Column:
    """Return a column, or an SQL expression over columns, of any type; null where it is not a number or infinite."""
    value = F.expr(as_sql(events, sql))
    found = events.select(value).schema[0].dataType
    if not isinstance(found, T.FloatType | T.DoubleType):
        return value
    return F.when(~F.isnan(value) & (F.abs(value) != F.lit(float("inf"))), value)


def exact_sum(high: Column, low: Column, what: str) -> Column:
    """Return the aggregate of high parts; the query fails when it passes 64 bits."""
    total = F.try_sum(high)
    return F.when(total.isNull() & F.sum(low).isNotNull(), refusal(what, 9.2e21, total)).otherwise(total)


def combined(high: Column, low: Column) -> Column:
    """Return a total as a double: the nearest one up to 4e12, as near as adding two doubles gets beyond."""
    small = F.abs(high) < F.lit(4_000_000_000)
    return F.when(small, (high * F.lit(UNIT * SCALE) + low) / SCALE).otherwise(
        high.cast("double") * UNIT + low.cast("double") / SCALE
    )


def refusal(what: str, largest: float, like: Column, advice: str = "aggregate a larger unit of it") -> Column:
    """Return a column that ends the query with one line when it is evaluated; ``like`` only gives its type."""
    said = f"{_REFUSED}features: {what} passes {largest:g}, more than is kept exactly; {advice}"
    return F.when(F.raise_error(F.lit(said)).isNull(), like)
