"""What each declared aggregate reads and how its value follows: the one table of aggregations.

Every value is built from *readings*: a partial that a day keeps (number of values, total, total of squares, largest,
smallest) seen through a view (added up over a window, the days it occurred on, its last day, …). Totals are kept as
whole numbers of 1e-6, so that they do not depend on the order in which Spark adds them: the same input gives the same
bits however it is partitioned, and a refreshed table equals a rebuilt one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pyspark.sql import Column
from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT

Partial = Literal["count", "sum", "squares", "max", "min", "values"]
View = Literal["total", "largest", "smallest", "days", "newest", "oldest", "last", "first", "distinct"]
SCALE = 1_000_000
"""Totals are kept as integers of 1 / SCALE; they are exact up to about 9e12."""


class Read(Protocol):
    """Gives the column of a reading; ``window`` None means all known history."""

    def __call__(self, partial: Partial, view: View, window: int | None, *, whole: bool = False) -> Column:
        """Return the column; ``whole`` reads the group that a share is taken of."""


@dataclass(frozen=True)
class Aggregation:
    """One aggregate: its value and what the dictionary says about it."""

    value: Callable[[Read, tuple[int, ...], bool], Column]
    """From readings, windows and whether a column (``of``) is aggregated rather than the events counted."""
    meaning: str
    """``{of}`` and ``{events}`` are filled in."""
    unit: str
    """``{of}``: the unit of the aggregated column."""
    null: str
    """What a null means."""


def fixed_point(value: Column) -> Column:
    """Return the number as a whole number of 1 / SCALE (half up)."""
    return F.round(value.cast("double") * SCALE).cast("bigint")


def ratio(numerator: Column, denominator: Column) -> Column:
    """Divide; null where the denominator is 0 or null."""
    return F.when(denominator != 0, numerator / denominator)


def _or_zero(value: Column) -> Column:
    return F.coalesce(value, F.lit(0))


def _count(read: Read, window: int, *, whole: bool = False) -> Column:
    return _or_zero(read("count", "total", window, whole=whole))


def _total(read: Read, window: int, valued: bool, *, whole: bool = False) -> Column:
    if not valued:
        return _count(read, window, whole=whole)
    return _or_zero(read("sum", "total", window, whole=whole)) / SCALE


def _std(read: Read, window: int) -> Column:
    """Sample standard deviation, √((n Σx² − (Σx)²) / (n (n − 1))), exact up to the square root."""
    n, total = _count(read, window), read("sum", "total", window).cast("decimal(19,0)")
    spread = (n.cast("decimal(10,0)") * read("squares", "total", window) - total * total).cast("double")
    return F.when(n > 1, F.sqrt(spread / (n * (n - 1))) / SCALE)


def _gap_mean(read: Read, window: int) -> Column:
    days = read("count", "days", window)
    span = F.datediff(read("count", "newest", window), read("count", "oldest", window))
    return F.when(days > 1, span / (days - 1))


def _days_since(read: Read, view: View) -> Column:
    return F.datediff(F.col(SNAPSHOT), read("count", view, None))


def _trend(read: Read, windows: tuple[int, ...], valued: bool) -> Column:
    short, long = windows
    return ratio(_total(read, short, valued) / short, _total(read, long, valued) / long)


AGGREGATIONS: dict[str, Aggregation] = {
    "count": Aggregation(lambda read, w, _: _count(read, w[0]), "number of {events}", "events", "never null"),
    "sum": Aggregation(lambda read, w, _: _total(read, w[0], True), "sum of {of} over {events}", "{of}", "never null"),
    "mean": Aggregation(
        lambda read, w, _: ratio(read("sum", "total", w[0]) / SCALE, _count(read, w[0])),
        "mean of {of} over {events}", "{of}", "no value in the window",
    ),
    "max": Aggregation(
        lambda read, w, _: read("max", "largest", w[0]),
        "largest {of} over {events}", "{of}", "no value in the window",
    ),
    "min": Aggregation(
        lambda read, w, _: read("min", "smallest", w[0]),
        "smallest {of} over {events}", "{of}", "no value in the window",
    ),
    "std": Aggregation(
        lambda read, w, _: _std(read, w[0]),
        "sample standard deviation of {of} over {events}", "{of}", "fewer than two values in the window",
    ),
    "distinct": Aggregation(
        lambda read, w, _: _or_zero(read("values", "distinct", w[0])),
        "number of distinct {of} over {events}", "values", "never null",
    ),
    "active_days": Aggregation(
        lambda read, w, _: _or_zero(read("count", "days", w[0])), "number of days with {events}", "days", "never null"
    ),
    "gap_mean": Aggregation(
        lambda read, w, _: _gap_mean(read, w[0]),
        "mean number of days between days with {events}", "days", "fewer than two such days in the window",
    ),
    "days_since_last": Aggregation(
        lambda read, *_: _days_since(read, "last"), "days since the latest of {events}", "days", "no such event yet"
    ),
    "days_since_first": Aggregation(
        lambda read, *_: _days_since(read, "first"), "days since the first of {events}", "days", "no such event yet"
    ),
    "trend": Aggregation(
        _trend, "{total} of {events} a day, short over long window", "ratio", "the long window's total is 0"
    ),
    "share": Aggregation(
        lambda read, w, valued: ratio(_total(read, w[0], valued), _total(read, w[0], valued, whole=True)),
        "{total} of {events} as a share of that of {whole}", "ratio", "the total of {whole} is 0",
    ),
}  # fmt: skip
