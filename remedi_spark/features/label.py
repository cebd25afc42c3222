"""The label: what the owner does in (t + gap, t + gap + horizon]."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.features.amounts import PARTS, Amount, combined, exact_sum, part
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.readings import Label
from remedi_spark.features.sources import DAY
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.features import LabelConfig
    from remedi_spark.features.levels import LabelEvents
    from remedi_spark.features.snapshots import Grid

TOTAL = "__label_total"


def label_partials(amounts: Mapping[str, Amount], config: LabelConfig, selected: LabelEvents) -> list[Column]:
    """Return the aggregates :func:`total_columns` that the daily partials of the label's source keep."""
    where = F.expr(selected.where)
    if config.of is None:
        return [F.sum(F.when(where, F.lit(1).cast("bigint"))).alias(TOTAL)]
    totals = amounts[config.of].totals(where)
    return [total.alias(name) for total, name in zip(totals, total_columns(config), strict=True)]


def total_columns(config: LabelConfig) -> tuple[str, ...]:
    """Return the columns of the label's total: a number of events, or the parts of a sum."""
    return (TOTAL,) if config.of is None else tuple(part(TOTAL, which) for which in PARTS)


def label_reading(config: LabelConfig) -> Label:
    """Return how snapshots read the label's total."""
    return Label(total_columns(config), config.gap_days, config.horizon_days)


def relabel(rows: DataFrame, days: DataFrame, config: LabelConfig, grid: Grid) -> DataFrame:
    """Replace the label of rows of (owner, snapshot, …); everything else stays.

    Labels are rare and their windows short: unlike features they are added up from repeated rows.
    """
    low, high = min(grid.days), max(grid.days) + dt.timedelta(days=config.gap_days + config.horizon_days)
    # Said of the days as well, files of other days are not opened.
    in_reach = F.col(DAY).between(F.lit(low), F.lit(high))
    names = total_columns(config)
    counted = days.where(in_reach & F.col(names[-1]).isNotNull()).select(OWNER, DAY, *names)
    first, last = (F.date_sub(DAY, config.gap_days + step) for step in (config.horizon_days, 1))
    sums = [F.sum(names[-1]).alias(names[-1])]
    if len(names) > 1:
        sums.append(exact_sum(F.col(names[0]), F.col(names[1]), f"the total of {config.of}").alias(names[0]))
    totals = grid.explode(counted, first, last).groupBy(OWNER, SNAPSHOT).agg(*sums)
    joined = rows.drop(LABEL).join(totals, [OWNER, SNAPSHOT], "left")
    return joined.withColumn(LABEL, label_value(config, grid)).select(*map(quoted, rows.columns))


def label_value(config: LabelConfig, grid: Grid, newest: Column | None = None) -> Column:
    """Return the label over its total: int 0 / 1, or a double; null where the horizon is not over.

    ``newest`` is the day of the owner's latest known event, where only owners at risk are negative.
    """
    parts = [F.coalesce(F.col(name), F.lit(0)) for name in total_columns(config)]
    total = parts[0] if len(parts) == 1 else combined(*parts)
    value = (total >= config.threshold).cast("int") if config.kind == "binary" else total.cast("double")
    known = grid.is_labelled()
    if config.at_risk_within_days is not None and newest is not None:
        known &= (total >= config.threshold) | (F.datediff(SNAPSHOT, newest) < config.at_risk_within_days)
    return F.when(known, value).alias(LABEL)


def label_entry(config: LabelConfig, selected: LabelEvents) -> Entry:
    """Return the label's line of the dictionary."""
    counted = f"sum of {config.of}" if config.of else "number"
    what = f"{counted} of events with {selected.where}"
    first, last = config.gap_days + 1, config.gap_days + config.horizon_days
    return Entry(
        name=LABEL,
        meaning=f"1 if the {what} is at least {config.threshold:g}, else 0" if config.kind == "binary" else what,
        source=config.source,
        window=f"day {first} to day {last} after the snapshot",
        unit="0 / 1" if config.kind == "binary" else config.of or "events",
        null_meaning="the label window is not over"
        + ("" if config.at_risk_within_days is None else ", or an owner not at risk without such events"),
    )
