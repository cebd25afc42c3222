"""Labels: what the owner does in (t + gap, t + gap + horizon]."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.amounts import PARTS, Amount, combined, exact_sum, part
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.expressions import digest, word
from remedi_spark.features.sources import DAY
from remedi_spark.features.wants import Label
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from remedi_spark.config.features import LabelConfig
    from remedi_spark.features.levels import LabelEvents
    from remedi_spark.features.snapshots import Grid


@dataclass(frozen=True)
class LabelPlan:
    """A declared label, looked up in the data."""

    column: str
    """Its column of ``owner_features``."""
    config: LabelConfig
    events: LabelEvents

    @property
    def definition(self) -> str:
        """Labels of equal definition have equal values, whatever they are called."""
        counted = self.config.model_dump(mode="json", exclude={"column", "category", "parent", "filter"})
        return digest(["label", self.events.where, counted])

    @property
    def totals(self) -> tuple[str, ...]:
        """Columns of the daily partials: a number of events, or the parts of a sum; of one name for one definition."""
        name = f"__label_{digest([self.events.where, self.config.of], 10)}"
        return (name,) if self.config.of is None else tuple(part(name, which) for which in PARTS)

    @property
    def reading(self) -> Label:
        """How snapshots read the total."""
        return Label(self.totals, self._read, self.config.gap_days, self.config.horizon_days)

    @property
    def _read(self) -> tuple[str, ...]:
        return tuple(f"__read_{word(self.column)}_{place}" for place in range(len(self.totals)))

    def partials(self, amounts: Mapping[str, Amount]) -> list[Column]:
        """Return the aggregates that the daily partials of the label's source keep."""
        where = F.expr(self.events.where)
        if self.config.of is None:
            return [F.sum(F.when(where, F.lit(1).cast("bigint"))).alias(self.totals[0])]
        totals = amounts[self.config.of].totals(where)
        return [total.alias(name) for total, name in zip(totals, self.totals, strict=True)]

    def value(self, grid: Grid, newest: Column | None = None) -> Column:
        """Return the label over its read total: int 0 / 1, or a double; null where the window is not observed.

        ``newest`` is the day of the owner's latest known event, where only owners at risk are negative.
        """
        config = self.config
        parts = [F.coalesce(F.col(name), F.lit(0)) for name in self._read]
        total = parts[0] if len(parts) == 1 else combined(*parts)
        positive = total >= config.threshold
        value = positive.cast("int") if config.kind == "binary" else total.cast("double")
        known = grid.is_labelled(config)
        if config.at_risk_within_days is not None and newest is not None:
            known &= positive | (F.datediff(SNAPSHOT, newest) < config.at_risk_within_days)
        if config.partly_observed == "positives":
            known |= positive
        return F.when(known, value).alias(self.column)

    def entry(self) -> Entry:
        """Return the label's line of the dictionary."""
        config = self.config
        counted = f"sum of {config.of}" if config.of else "number"
        what = f"{counted} of events with {self.events.where}"
        first, last = config.gap_days + 1, config.gap_days + config.horizon_days
        binary = config.kind == "binary"
        unseen = ("", ", or an owner not at risk without such events")[config.at_risk_within_days is not None]
        return Entry(
            name=self.column,
            meaning=f"1 if the {what} is at least {config.threshold:g}, else 0" if binary else what,
            source=config.source,
            window=f"day {first} to day {last} after the snapshot",
            unit="0 / 1" if binary else config.of or "events",
            null_meaning="the label window is not over"
            + (" and nothing of it was seen yet" if config.partly_observed == "positives" else "")
            + unseen,
        )


def relabel(rows: DataFrame, partials: Mapping[str, DataFrame], labels: Iterable[LabelPlan], grid: Grid) -> DataFrame:
    """Replace labels of rows of (owner, snapshot, …), or add them; everything else stays.

    Labels are rare and their windows short: unlike features they are added up from repeated rows.
    ``partials`` are the daily ones by source.
    """
    columns = rows.columns
    for label in labels:
        totals = _totals(partials[label.config.source], label, grid)
        joined = rows.drop(label.column).join(totals, [OWNER, SNAPSHOT], "left")
        columns = [*columns, *({label.column} - {*columns})]
        rows = joined.withColumn(label.column, label.value(grid)).select(*map(quoted, columns))
    return rows


def _totals(days: DataFrame, label: LabelPlan, grid: Grid) -> DataFrame:
    config, names, read = label.config, label.totals, label.reading.names
    low, high = min(grid.days), max(grid.days) + dt.timedelta(days=config.gap_days + config.horizon_days)
    # Said of the days as well, files of other days are not opened.
    in_reach = F.col(DAY).between(F.lit(low), F.lit(high))
    counted = days.where(in_reach & F.col(names[-1]).isNotNull()).select(OWNER, DAY, *names)
    first, last = (F.date_sub(DAY, config.gap_days + step) for step in (config.horizon_days, 1))
    sums = [F.sum(names[-1]).alias(read[-1])]
    if len(names) > 1:
        sums.append(exact_sum(F.col(names[0]), F.col(names[1]), f"the total of {config.of}").alias(read[0]))
    return grid.explode(counted, first, last).groupBy(OWNER, SNAPSHOT).agg(*sums)
