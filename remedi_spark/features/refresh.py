"""What a change of the sources touches: which partials, which snapshots, which labels.

- A row becomes known on one day. The partials of that day are computed anew from the source as it is now, never added
  to: doing it twice, or again after a crash, ends in the same tables.
- Snapshots from the first such day on see something else; earlier ones cannot, whatever the event's own day is.
- A label looks at all events of its days, however late they arrived: it changes where a changed event's day lies in
  the snapshot's label window, and where that window has come to its end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.features.event_days import GAP
from remedi_spark.features.reading import enrich
from remedi_spark.features.sources import DAY, KNOWN, as_attributes, dated
from remedi_spark.features.state import State, Touched

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import FeaturesConfig, LabelConfig
    from remedi_spark.features.label import LabelPlan
    from remedi_spark.features.quality import Findings
    from remedi_spark.features.snapshots import Grid

MANY_DAYS = 400
"""So many touched days of one source are no refresh any more."""
_LABELS = "__labels"


@dataclass(frozen=True)
class SnapshotWork:
    """What happens to the snapshots of ``owner_features``."""

    build: tuple[dt.date, ...]
    """Computed anew."""
    relabel: tuple[dt.date, ...]
    """The label is computed anew, the features stay."""
    drop: tuple[dt.date, ...]
    """No longer kept."""

    @property
    def days(self) -> tuple[dt.date, ...]:
        """All touched snapshots."""
        return (*self.build, *self.relabel, *self.drop)


def touched_by_events(
    config: FeaturesConfig, changed: Mapping[str, DataFrame], state: State, today: dt.date
) -> Touched | None:
    """Return the days that changed rows of the sources touch, or None when they are too many.

    ``changed`` are rows as they are stored, before joins and filters. Labels are touched on the days of label events
    only.
    """
    lookups = state.restored_lookups()
    found_labels = zip(config.labels_by_key.values(), (lookups.label, *lookups.further.values()), strict=True)
    wheres = [(label.source, events.where) for label, events in found_labels]
    known: dict[str, list[str]] = {}
    label_days: list[str] = []
    for name, source in config.sources.items():
        days = _no_longer_future(state, name, today)
        if name in changed:
            where = f"features.sources.{name}"
            rows = dated(enrich(changed[name].sparkSession, changed[name], source, where), source, where)
            own = " OR ".join(f"coalesce({where}, false)" for source, where in wheres if source == name) or "false"
            dates = (
                rows.select(DAY, KNOWN, F.expr(own).cast("boolean").alias(_LABELS))
                .filter(F.col(DAY).isNotNull())
                .distinct()
            )
            found = dates.limit(2 * MANY_DAYS**2 + 1).collect()
            days |= {str(row[KNOWN]) for row in found}
            label_days = sorted({*label_days, *(str(row[DAY]) for row in found if row[_LABELS])})
        if len(days) > MANY_DAYS:
            return None
        if days:
            known[name] = sorted(days)
        if days and any(source == name for source, _ in wheres):
            label_days = sorted({*label_days, *_no_longer_future(state, name, today)})
    return Touched(known, label_days)


def touched_by_attributes(config: FeaturesConfig, name: str, changed: DataFrame | None) -> str:
    """Return the first day from which snapshots see changed attributes; the beginning of time for static ones."""
    declared = config.attributes[name]
    if changed is None or declared.time is None:
        return str(dt.date.min)
    rows = as_attributes(changed, declared, config.entity, f"features.attributes.{name}")
    first = rows.agg(F.min(KNOWN)).first()
    return str(dt.date.max if first is None or first[0] is None else first[0])


def needs_everything(touched: Touched, state: State, findings: Mapping[str, Findings], config: FeaturesConfig) -> bool:
    """Tell whether a change reaches what was looked up in the data: levels, the label's parent, the first snapshot."""
    first = min((day for days in touched.known.values() for day in days), default=None)
    if first is None:
        return False
    lookups = state.restored_lookups()
    settled = all(label.settled for label in (lookups.label, *lookups.further.values()))
    looked_up = not settled or any(group.top for group in config.groups.values()) or lookups.label.literals
    if looked_up and (not settled or first <= state.snapshots[0]):
        return True
    # A day that lies years away is no beginning, until the whole calendar says so.
    begin = state.event_bounds[0]
    early = [day for found in findings.values() for day in found.days if 0 < (begin - day).days <= GAP]
    return config.snapshots.start is None and bool(early)


def snapshot_work(grid: Grid, labels: Iterable[LabelPlan], state: State, touched: Touched) -> SnapshotWork:
    """Return what happens to each snapshot."""
    stored = {dt.date.fromisoformat(day) for day in state.snapshots}
    first = touched.first
    build = {day for day in grid.days if day not in stored or (first is not None and day >= first)}
    days = {dt.date.fromisoformat(day) for day in touched.label_days}
    relabel: set[dt.date] = set()
    for label in labels:
        before = {dt.date.fromisoformat(day) for day in state.labelled[label.column]}
        now = set(grid.labelled_days(label.config))
        shown = set(grid.days) if label.config.partly_observed == "positives" else now
        seen = {day for day in shown if _label_sees(day, label.config, days)}
        changed = ((before ^ now) & set(grid.days) | seen) - build
        if label.config.at_risk_within_days is not None:  # who was at risk is known where features are computed
            build |= changed
        else:
            relabel |= changed
    ordered = (tuple(sorted(days)) for days in (build, relabel - build, stored - set(grid.days)))
    return SnapshotWork(*ordered)


def _label_sees(snapshot: dt.date, label: LabelConfig, days: Iterable[dt.date]) -> bool:
    return any(0 < (day - snapshot).days - label.gap_days <= label.horizon_days for day in days)


def _no_longer_future(state: State, name: str, today: dt.date) -> set[str]:
    """Return the days that lay in the future at the last run and no longer do, if any row had been set aside for it."""
    if not state.findings.get(name, {}).get("future"):
        return set()
    before = dt.date.fromisoformat(state.today)
    return {str(before + dt.timedelta(days=2 + step)) for step in range((today - before).days)}
