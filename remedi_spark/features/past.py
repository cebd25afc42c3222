"""The long past of each owner in short: what no window reaches any more is one row of first and last days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.features.wants import older_column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.features.plan import Reading


@dataclass(frozen=True)
class Past:
    """What became known by the day ``through``, as :func:`in_short` gives it."""

    rows: DataFrame
    through: dt.date


def out_of_reach(readings: Iterable[Reading], snapshot: dt.date) -> dt.date:
    """Return the last day that no window of the snapshot, nor of a later one, reaches."""
    widest = max((reading.window or 0 for reading in readings if reading.view != "distinct"), default=0)
    return snapshot - dt.timedelta(days=min(widest, (snapshot - dt.date.min).days))


def ever_columns(readings: Iterable[Reading]) -> dict[str, Reading]:
    """Return the readings of all time by their column in the past."""
    ever = (reading for reading in readings if reading.view in ("last", "first"))
    return {older_column(reading.cell.name, reading.view): reading for reading in ever}


def in_short(days: DataFrame, readings: Iterable[Reading], before: DataFrame | None = None) -> DataFrame:
    """Return a row an owner of daily partials: :data:`KNOWN` (its first), first and last days of what is read of ever.

    ``before`` is what an earlier call returned, whose rows are taken in.
    """
    ends = {
        name: (
            F.max if reading.view == "last" else F.min,
            F.when(F.col(reading.cell.name).isNotNull(), F.col(DAY)),
        )
        for name, reading in ever_columns(readings).items()
    }
    rows = days.select(OWNER, KNOWN, *(value.alias(name) for name, (_, value) in ends.items()))
    rows = rows if before is None else rows.unionByName(before)
    return rows.groupBy(OWNER).agg(
        F.min(KNOWN).alias(KNOWN), *(end(name).alias(name) for name, (end, _) in ends.items())
    )
