"""The label: what the owner does in (t + gap, t + gap + horizon]."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.features.aggregations import SCALE, fixed_point
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.expressions import numeric
from remedi_spark.features.readings import Label
from remedi_spark.features.sources import DAY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.features import LabelConfig
    from remedi_spark.features.levels import LabelEvents
    from remedi_spark.features.snapshots import Grid

TOTAL = "__label_total"


def label_partial(events: DataFrame, config: LabelConfig, selected: LabelEvents) -> Column:
    """Return the aggregate :data:`TOTAL` that the daily partials of the label's source keep."""
    if config.of is not None:
        numeric(events, config.of, "features.label.of")
    amount = fixed_point(F.expr(config.of)) if config.of is not None else F.lit(SCALE).cast("bigint")
    return F.sum(F.when(F.expr(selected.where), amount)).alias(TOTAL)


def label_reading(config: LabelConfig) -> Label:
    """Return how snapshots read the label's total."""
    return Label(TOTAL, config.gap_days, config.horizon_days)


def relabel(rows: DataFrame, days: DataFrame, config: LabelConfig, grid: Grid) -> DataFrame:
    """Replace the label of rows of (owner, snapshot, …); everything else stays.

    Labels are rare and their windows short: unlike features they are added up from repeated rows.
    """
    low, high = min(grid.days), max(grid.days) + dt.timedelta(days=config.gap_days + config.horizon_days)
    # Said of the days as well, files of other days are not opened.
    in_reach = F.col(DAY).between(F.lit(low), F.lit(high))
    counted = days.where(in_reach & F.col(TOTAL).isNotNull()).select(OWNER, DAY, TOTAL)
    first, last = (F.date_sub(DAY, config.gap_days + step) for step in (config.horizon_days, 1))
    totals = grid.explode(counted, first, last).groupBy(OWNER, SNAPSHOT).agg(F.sum(TOTAL).alias(TOTAL))
    joined = rows.drop(LABEL).join(totals, [OWNER, SNAPSHOT], "left")
    return joined.withColumn(LABEL, label_value(config, grid)).select(*rows.columns)


def label_value(config: LabelConfig, grid: Grid) -> Column:
    """Return the label over :data:`TOTAL`: int 0 / 1, or a double; null where the horizon is not over."""
    total = F.coalesce(F.col(TOTAL), F.lit(0)) / SCALE
    value = (total >= config.threshold).cast("int") if config.kind == "binary" else total.cast("double")
    return F.when(grid.is_labelled(), value).alias(LABEL)


def label_entry(config: LabelConfig, selected: LabelEvents) -> Entry:
    """Return the label's line of the dictionary."""
    amount = f"sum of {config.of}" if config.of else "number"
    what = f"{amount} of events with {selected.where}"
    first, last = config.gap_days + 1, config.gap_days + config.horizon_days
    return Entry(
        name=LABEL,
        meaning=f"1 if the {what} is at least {config.threshold:g}, else 0" if config.kind == "binary" else what,
        source=config.source,
        window=f"day {first} to day {last} after the snapshot",
        unit="0 / 1" if config.kind == "binary" else config.of or "events",
        null_meaning="the label window is not over",
    )
