"""Rows of segments out of an event log: owner x snapshot x segment, with the owner's own history in the segment.

A snapshot on day t stands for the end of that day. Features read events with day <= t, the label is 1 when the owner
has an event of the segment in (t + gap, t + gap + horizon].
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.config.adapt import HistoryConfig
from remedi_spark.features.expressions import require
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SEGMENT = "segment"
PARENT = "segment_parent"
LEVEL = "__level"
"""The column of levels inside, whatever the user calls it."""


def segment_rows(
    events: DataFrame, config: HistoryConfig, snapshots: Sequence[dt.date], horizon_days: int, gap_days: int = 0
) -> DataFrame:
    """Return segment, owner_id, snapshot_date, features and label.

    Args:
        events: from :func:`remedi_spark.features.sources.as_events`.
        config: which column and which windows.
        snapshots: days t whose label window lies inside the data.
        horizon_days: length of the label window.
        gap_days: days between the snapshot and the label window.

    An owner has a row from the first snapshot at which any of its events was known.
    """
    for name in (config.column, config.value, *([config.parent] if config.parent else [])):
        require(events, name, "adapt.history")
    events = events.where(F.col(quoted(config.column)).isNotNull())
    days = _days(events, config.column, config.value)
    label = _label(days, snapshots, horizon_days, gap_days)
    kept = _within_rates(label, _owners(events, snapshots), snapshots, config.rates)
    rows = _owners(events, snapshots).crossJoin(F.broadcast(kept))
    rows = rows.join(label, [SEGMENT, OWNER, SNAPSHOT], "left").withColumn(
        LABEL, F.coalesce(F.col(LABEL), F.lit(0)).cast("int")
    )
    if config.own:
        own = _readings(days, snapshots, config.windows, "own").withColumnRenamed(LEVEL, SEGMENT)
        rows = rows.join(own, [SEGMENT, OWNER, SNAPSHOT], "left")
        rows = rows.join(_segment_readings(own, config.windows), [SEGMENT, SNAPSHOT], "left")
    if config.parent is not None:
        parents = _parents(events, config.column, config.parent)
        parent_days = _days(events, config.parent, config.value)
        readings = _readings(parent_days, snapshots, config.windows, "parent").withColumnRenamed(LEVEL, PARENT)
        rows = rows.join(F.broadcast(parents), SEGMENT).join(readings, [PARENT, OWNER, SNAPSHOT], "left")
    counts = tuple(f"{prefix}_{what}_" for prefix in ("own", "parent") for what in ("lines", "value", "days"))
    return rows.na.fill(0, [name for name in rows.columns if name.startswith(counts)])


def _days(events: DataFrame, column: str, value: str) -> DataFrame:
    """Add up an owner's events of a level and a day."""
    return events.groupBy(F.col(quoted(column)).cast("string").alias(LEVEL), OWNER, DAY, KNOWN).agg(
        F.count("*").alias("lines"), F.sum(F.col(quoted(value)).cast("double")).alias("value")
    )


def _owners(events: DataFrame, snapshots: Sequence[dt.date]) -> DataFrame:
    first = events.groupBy(OWNER).agg(F.min(KNOWN).alias("first"))
    return _at(first, snapshots, F.col("first")).select(OWNER, SNAPSHOT)


def _at(rows: DataFrame, snapshots: Sequence[dt.date], first: Column, last: Column | None = None) -> DataFrame:
    """Repeat each row for the snapshots from ``first`` to ``last``."""
    days = F.array(*(F.lit(day) for day in snapshots))
    inside = F.filter(days, lambda day: (day >= first) & (day <= last) if last is not None else day >= first)
    return rows.withColumn(SNAPSHOT, F.explode(inside))


def _label(days: DataFrame, snapshots: Sequence[dt.date], horizon: int, gap: int) -> DataFrame:
    seen = _at(days, snapshots, F.date_sub(DAY, gap + horizon), F.date_sub(DAY, gap + 1))
    return seen.select(F.col(LEVEL).alias(SEGMENT), OWNER, SNAPSHOT, F.lit(1).alias(LABEL)).distinct()


def _within_rates(
    label: DataFrame, owners: DataFrame, snapshots: Sequence[dt.date], rates: tuple[float, float]
) -> DataFrame:
    """Return the segments whose share of positives lies inside ``rates``."""
    total = owners.count()
    positives = label.join(owners, [OWNER, SNAPSHOT], "left_semi").groupBy(SEGMENT).count()
    return positives.where((F.col("count") / total).between(*rates)).select(SEGMENT)


def _readings(days: DataFrame, snapshots: Sequence[dt.date], windows: Sequence[int], prefix: str) -> DataFrame:
    """Return level, owner_id, snapshot_date and the owner's history in the level."""
    seen = _at(days, snapshots, F.col(KNOWN)).withColumn("age", F.datediff(SNAPSHOT, DAY))
    sums = [
        F.coalesce(F.sum(F.when(F.col("age") < window, F.col(what))), F.lit(0)).cast("double").alias(
            f"{prefix}_{what}_{window}d"
        )
        for what in ("lines", "value")
        for window in windows
    ]  # fmt: skip
    longest = max(windows)
    return seen.groupBy(LEVEL, OWNER, SNAPSHOT).agg(
        *sums,
        F.count(F.when(F.col("age") < longest, 1)).cast("double").alias(f"{prefix}_days_{longest}d"),
        F.min("age").cast("double").alias(f"{prefix}_since_last"),
        F.max("age").cast("double").alias(f"{prefix}_since_first"),
        F.when(F.count("*") > 1, (F.max("age") - F.min("age")) / (F.count("*") - 1)).alias(f"{prefix}_gap_mean"),
    )


def _segment_readings(own: DataFrame, windows: Sequence[int]) -> DataFrame:
    """Describe the segment itself at each snapshot, by what was known then."""
    window = sorted(windows)[min(1, len(windows) - 1)]
    active = F.col(f"own_lines_{window}d") > 0
    return own.groupBy(SEGMENT, SNAPSHOT).agg(
        F.log1p(F.count(F.when(active, 1))).alias("segment_buyers"),
        F.log1p(F.count("*")).alias("segment_buyers_ever"),
        F.avg("own_gap_mean").alias("segment_gap_mean"),
        F.avg(F.when(active, F.col(f"own_value_{window}d"))).alias("segment_value_mean"),
    )


def _parents(events: DataFrame, column: str, parent: str) -> DataFrame:
    """Return each segment's most frequent parent, ties by name."""
    names = F.col(quoted(column)).cast("string").alias(SEGMENT), F.col(quoted(parent)).alias(PARENT)
    counted = events.groupBy(*names).count()
    best = F.max(F.struct("count", PARENT))[PARENT]
    return counted.groupBy(SEGMENT).agg(best.cast("string").alias(PARENT))
