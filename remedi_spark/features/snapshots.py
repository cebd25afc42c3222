"""The grid of snapshot days.

A snapshot on day t stands for the end of that day: events on day t count as known, the label window starts the day
after (plus the gap). Days are numbered along the grid, so that a row is sent to the snapshots it matters for by
arithmetic instead of a join.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.features import LabelConfig, Snapshots


END_OF_TIME = "9999-12-31"
FEW = 4
"""Up to so many snapshots, a row is compared with each of them."""


@dataclass(frozen=True)
class Grid:
    """Snapshot days ``start + i * every`` for i in 0 … count − 1, of which ``days`` are kept."""

    start: dt.date
    every: int
    count: int
    data_end: dt.date
    """Last complete day of the data."""
    days: tuple[dt.date, ...]
    """The kept snapshots: all labelled ones, and the censored ones the configuration asks for."""

    @property
    def few(self) -> bool:
        """Whether there are so few snapshots that repeating rows for them costs nothing."""
        return len(self.days) <= FEW

    def only(self, days: Iterable[dt.date]) -> Grid:
        """Return the grid with these of its snapshots kept."""
        return replace(self, days=tuple(sorted(set(self.days) & set(days))))

    def labelled_days(self, label: LabelConfig) -> tuple[dt.date, ...]:
        """The kept snapshots whose label window is observed as a whole."""
        first, last = self._observed(label)
        return tuple(day for day in self.days if first <= day <= last)

    def _observed(self, label: LabelConfig) -> tuple[dt.date, dt.date]:
        """Return the first and the last day of snapshots whose label window is observed as a whole."""
        last = min(self.data_end, label.observed_until or self.data_end)
        first = dt.date.min if label.observed_from is None else label.observed_from - dt.timedelta(label.gap_days + 1)
        return first, last - dt.timedelta(label.gap_days + label.horizon_days)

    def explode(self, rows: DataFrame, first: Column, last: Column) -> DataFrame:
        """Repeat each row for every kept snapshot t with first ≤ t ≤ last (dates); adds ``snapshot_date``."""
        if self.few:
            days = F.array(*(F.lit(day) for day in self.days))
            inside = F.filter(days, lambda day: (day >= first) & (day <= last))
            return rows.select(*rows.columns, F.explode(inside).alias(SNAPSHOT))
        origin = F.lit(self.start)
        lowest, highest = ((day - self.start).days // self.every for day in (min(self.days), max(self.days)))
        low = F.greatest(F.ceil(F.datediff(first, origin) / self.every), F.lit(lowest)).cast("int")
        high = F.least(F.floor(F.datediff(last, origin) / self.every), F.lit(highest)).cast("int")
        steps = F.explode(F.sequence(F.col("__low"), F.col("__high"))).alias("__step")
        repeated = (
            rows.withColumns({"__low": low, "__high": high})
            .filter("__low <= __high")
            .select(*rows.columns, steps)
            .withColumn(SNAPSHOT, F.date_add(origin, F.col("__step") * self.every))
            .drop("__step")
        )
        return (
            repeated
            if len(self.days) == highest - lowest + 1
            else repeated.filter(F.col(SNAPSHOT).isin(list(self.days)))
        )

    def is_labelled(self, label: LabelConfig) -> Column:
        """Whether the row's label window is observed as a whole."""
        first, last = self._observed(label)
        return F.col(SNAPSHOT).between(F.lit(max(first, min(self.days))), F.lit(last))


def make_grid(config: Snapshots, label: LabelConfig, first_event: dt.date, last_event: dt.date) -> Grid:
    """Lay the grid over the data.

    Raises InputError when no snapshot fits, or when none of them has a whole label window.
    """
    data_end = config.data_end or last_event
    start = config.start or first_event + dt.timedelta(days=config.history_days)
    end = config.end or data_end
    if start > end:
        raise InputError(
            f"features.snapshots: the first snapshot would be {start}, after the last day {end} (events from"
            f" {first_event} to {last_event}); give an earlier start or fewer history_days"
        )
    count = (end - start).days // config.every_days + 1
    room = (min(data_end, label.observed_until or data_end) - start).days - label.gap_days - label.horizon_days
    labelled = min(count, max(0, math.floor(room / config.every_days) + 1))
    if labelled == 0:
        raise InputError(
            f"features.snapshots: the label window of the first snapshot {start} ({label.gap_days} days of gap,"
            f" {label.horizon_days} of horizon) passes the end of the data {data_end}; give an earlier start"
        )
    steps = [*range(labelled), *_censored(config.censored, labelled, count)]
    days = tuple(start + dt.timedelta(days=config.every_days * step) for step in steps)
    grid = Grid(start, config.every_days, count, data_end, days)
    if not grid.labelled_days(label):
        raise InputError(
            f"features.label.observed_from: {label.observed_from} leaves no snapshot from {days[0]} to {days[-1]}"
            " with an observed label window; give an earlier day"
        )
    return grid


def _censored(keep: str, labelled: int, count: int) -> range:
    first = {"all": labelled, "latest": max(labelled, count - 1), "none": count}[keep]
    return range(first, count)
