"""What the columns of a log look like, counted in one pass."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MOST_LEVELS = 2_000
"""A column of more levels is not grouped by."""
MANY_LEVELS = 30
"""A number of fewer different values is taken for levels."""


@dataclass(frozen=True)
class ColumnProfile:
    """One column: values and levels are about right, not exact."""

    name: str
    number: bool
    distinct: int
    negative: int
    """Values below zero."""
    null_share: float


@dataclass(frozen=True)
class Profile:
    """A log: its size, its calendar, its columns without owner and times."""

    rows: int
    owners: int
    first: dt.date
    last: dt.date
    active_days: float
    """Days with an event of a usual owner."""
    columns: tuple[ColumnProfile, ...]

    @property
    def span(self) -> int:
        """Days from the first to the last event."""
        return (self.last - self.first).days + 1

    @property
    def amounts(self) -> list[ColumnProfile]:
        """Numbers to add up, those with most different values first."""
        found = [one for one in self.columns if one.number and not is_id(one.name) and one.distinct > MANY_LEVELS]
        return sorted(found, key=lambda one: -one.distinct)

    @property
    def levels(self) -> list[ColumnProfile]:
        """Columns with levels, the coarsest first."""
        found = [
            one for one in self.columns
            if 1 < one.distinct <= MOST_LEVELS and one.null_share < 0.5
            and (one.distinct <= MANY_LEVELS if one.number and not is_id(one.name) else True)
        ]  # fmt: skip
        return sorted(found, key=lambda one: one.distinct)

    @property
    def ids(self) -> list[ColumnProfile]:
        """Columns of which to count different values."""
        return [one for one in self.columns if one.distinct > MANY_LEVELS and (is_id(one.name) or not one.number)]


def is_id(name: str) -> bool:
    """Whether a name is that of an id or a code."""
    return bool(re.search(r"(^|_|[a-z])(id|key|code|no|number)$", name.strip(), re.I)) or name.endswith("ID")


def profile(frame: DataFrame, entity: str, time: str, roles: Sequence[str]) -> Profile:
    """Return the profile of a log with the column ``__day``.

    Raises InputError where no event has an owner and a day.
    """
    plain = (T.NumericType, T.StringType, T.BooleanType)
    names = [one.name for one in frame.schema if isinstance(one.dataType, plain) and one.name not in (*roles, "__day")]
    numbers = [name for name in names if isinstance(frame.schema[name].dataType, T.NumericType)]
    rows = frame.filter(F.col(quoted(entity)).isNotNull() & F.col("__day").isNotNull())
    pairs = F.approx_count_distinct(F.struct(F.col(quoted(entity)), F.col("__day")))
    counted: list[Column] = [
        F.count("*"),
        F.approx_count_distinct(quoted(entity)),
        F.min("__day"),
        F.max("__day"),
        pairs,
    ]
    for name in names:
        below = F.count(F.when(F.col(quoted(name)) < 0, 1)) if name in numbers else F.lit(0)
        counted += [F.approx_count_distinct(quoted(name)), below, F.count(quoted(name))]
    row = rows.agg(*(column.alias(f"c{place}") for place, column in enumerate(counted))).collect()[0]
    if not row[0]:
        raise InputError(f"suggest: no event has both an owner in {entity!r} and a day in {time!r}")
    columns = tuple(
        ColumnProfile(name, name in numbers, row[at], row[at + 1], 1 - row[at + 2] / row[0])
        for at, name in zip(range(5, len(counted), 3), names, strict=True)
    )
    return Profile(row[0], max(1, row[1]), row[2], row[3], row[4] / max(1, row[1]), columns)
