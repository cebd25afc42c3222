"""What each declared aggregate reads and how its value follows: the one table of aggregations.

Every value is built from *readings*: a partial that a day keeps (number of values, total, total of squares, largest,
smallest, or a sorted list of values) seen through a view (added up over a window, the days it occurred on, its last
day, a quantile, …). Totals are kept as whole numbers (``amounts.py``), so that they do not depend on the order in which
Spark adds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pyspark.sql import Column
from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.config.measures import window_days
from remedi_spark.features.amounts import MIDDLE, PARTS, SCALE, SQUARE_PARTS, TOP, UNIT

Partial = Literal[
    "count", "sum", "squares", "max", "min", "values",
    "list", "sketch", "top", "bottom", "head", "tail", "hashes",
]  # fmt: skip
View = Literal[
    "total", "largest", "smallest", "days", "newest", "oldest", "last", "first", "distinct",
    "percentile", "weighted", "item", "item_back", "skew", "distinct_about", "gap_max", "streak_max", "regularity",
]  # fmt: skip


class Read(Protocol):
    """Gives the column of a reading; ``window`` None means all known history."""

    def __call__(
        self, partial: Partial, view: View, window: int | None, *, whole: bool = False, part: str | None = None
    ) -> Column:
        """Return the column; ``whole`` reads the group that a share is taken of, ``part`` one part of a total."""


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
    return _or_zero(read("sum", "total", window, whole=whole))


def _std(read: Read, window: int) -> Column:
    """Return the sample standard deviation, exact up to the square root."""
    return F.sqrt(_spread(read, window)) / SCALE


def _spread(read: Read, window: int) -> Column:
    """Return the sample variance in 1 / SCALE², (n Σx² − (Σx)²) / (n (n − 1)).

    Where n Σx² has more than 38 digits, which are kept exactly, it is computed in doubles.
    """
    n = _count(read, window)
    high, low = (read("sum", "total", window, part=part) for part in PARTS)
    squares = [read("squares", "total", window, part=part) for part in SQUARE_PARTS]
    rough_squares = sum(
        (s.cast("double") * 10.0**d for s, d in zip(squares, (TOP, MIDDLE, 0), strict=True)), F.lit(0.0)
    )
    rough_total = high.cast("double") * (UNIT * SCALE) + low.cast("double")
    rough = F.greatest(n * rough_squares - rough_total * rough_total, F.lit(0.0))
    decimals = (
        s.cast("decimal(19,0)") * F.expr(f"CAST(1e{d} AS DECIMAL({d + 1},0))")
        for s, d in zip(squares[:2], (TOP, MIDDLE), strict=True)
    )
    exact_squares = (next(decimals) + next(decimals) + squares[2]).cast("decimal(38,0)")
    total = (high.cast("decimal(19,0)") * F.lit(UNIT * SCALE) + low).cast("decimal(19,0)")
    exact = (n.cast("decimal(10,0)") * exact_squares - total * total).cast("double")
    spread = F.when(n * rough_squares < 9e37, exact).otherwise(rough)
    return F.when(n > 1, spread / (n * (n - 1)))


def _gap_mean(read: Read, window: int) -> Column:
    days = read("count", "days", window)
    span = F.datediff(read("count", "newest", window), read("count", "oldest", window))
    return F.when(days > 1, span / (days - 1))


def _days_since(read: Read, view: View) -> Column:
    return F.datediff(F.col(SNAPSHOT), read("count", view, None))


def _trend(read: Read, windows: tuple[int, ...], valued: bool) -> Column:
    short, long = windows
    days = window_days(short), window_days(long)
    return ratio(_total(read, short, valued) / days[0], _total(read, long, valued) / days[1])


AGGREGATIONS: dict[str, Aggregation] = {
    "count": Aggregation(lambda read, w, _: _count(read, w[0]), "number of {events}", "events", "never null"),
    "sum": Aggregation(lambda read, w, _: _total(read, w[0], True), "sum of {of} over {events}", "{of}", "never null"),
    "mean": Aggregation(
        lambda read, w, _: ratio(read("sum", "total", w[0]), _count(read, w[0])),
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
    "variance": Aggregation(
        lambda read, w, _: _spread(read, w[0]) / float(SCALE * SCALE),
        "sample variance of {of} over {events}", "{of} squared", "fewer than two values in the window",
    ),
    "skew": Aggregation(
        lambda read, w, _: read("list", "skew", w[0]),
        "skewness of {of} over {events}", "ratio", "fewer than three values in the window, or all alike",
    ),
    "median": Aggregation(
        lambda read, w, _: read("list", "percentile", w[0]),
        "median of {of} over {events}", "{of}", "no value in the window",
    ),
    "percentile": Aggregation(
        lambda read, w, _: read("list", "percentile", w[0]),
        "{at} quantile of {of} over {events}", "{of}", "no value in the window",
    ),
    "approx_percentile": Aggregation(
        lambda read, w, _: read("sketch", "weighted", w[0]),
        "{at} quantile of {of} over {events}, within 1 %", "{of}", "no value in the window",
    ),
    "first": Aggregation(
        lambda read, w, _: read("head", "item", w[0]), "first {of} of {events}", "{of}", "no value in the window"
    ),
    "last": Aggregation(
        lambda read, w, _: read("tail", "item_back", w[0]), "latest {of} of {events}", "{of}", "no value in the window"
    ),
    "first_k": Aggregation(
        lambda read, w, _: read("head", "item", w[0]),
        "{of} of {events}, number {rank} from the first", "{of}", "not so many values in the window",
    ),
    "last_k": Aggregation(
        lambda read, w, _: read("tail", "item_back", w[0]),
        "{of} of {events}, number {rank} from the latest", "{of}", "not so many values in the window",
    ),
    "top_k": Aggregation(
        lambda read, w, _: read("top", "item_back", w[0]),
        "{of} of {events}, number {rank} from the largest", "{of}", "not so many values in the window",
    ),
    "bottom_k": Aggregation(
        lambda read, w, _: read("bottom", "item", w[0]),
        "{of} of {events}, number {rank} from the smallest", "{of}", "not so many values in the window",
    ),
    "distinct": Aggregation(
        lambda read, w, _: _or_zero(read("values", "distinct", w[0])),
        "number of distinct {of} over {events}", "values", "never null",
    ),
    "approx_distinct": Aggregation(
        lambda read, w, _: _or_zero(read("hashes", "distinct_about", w[0])),
        "number of distinct {of} over {events}, about (exact below 256)", "values", "never null",
    ),
    "active_days": Aggregation(
        lambda read, w, _: _or_zero(read("count", "days", w[0])), "number of days with {events}", "days", "never null"
    ),
    "gap_mean": Aggregation(
        lambda read, w, _: _gap_mean(read, w[0]),
        "mean number of days between days with {events}", "days", "fewer than two such days in the window",
    ),
    "gap_max": Aggregation(
        lambda read, w, _: read("count", "gap_max", w[0]),
        "most days from one day with {events} to the next", "days", "fewer than two such days in the window",
    ),
    "streak_max": Aggregation(
        lambda read, w, _: _or_zero(read("count", "streak_max", w[0])),
        "most days in a row with {events}", "days", "never null",
    ),
    "regularity": Aggregation(
        lambda read, w, _: read("count", "regularity", w[0]),
        "evenness of the gaps between days with {events} (their entropy; 1: all alike)", "ratio",
        "fewer than three such days in the window",
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
