"""Owner features: what is declared is looked up in the data (:func:`prepare`), the table is lazy (:func:`assemble`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.aggregations import ratio
from remedi_spark.features.attributes import attribute_entries, join_attributes
from remedi_spark.features.calendar import calendar_feature
from remedi_spark.features.days import daily_partials
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.distinct import count_distinct
from remedi_spark.features.label import label_entry, label_totals, label_value
from remedi_spark.features.levels import LabelEvents, ResolvedGroup, resolve_groups, resolve_label
from remedi_spark.features.plan import Cell, Feature, Reading, plan_features
from remedi_spark.features.snapshots import Grid, make_grid
from remedi_spark.features.sources import DAY, KNOWN, as_attributes, as_events, read_location, read_source
from remedi_spark.features.windows import read_snapshots

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config.features import FeaturesConfig


@dataclass(frozen=True)
class Blueprint:
    """Everything that had to be looked up in the data before the features could be written down."""

    config: FeaturesConfig
    events: Mapping[str, DataFrame]
    attributes: Mapping[str, DataFrame]
    grid: Grid
    label: LabelEvents
    features: tuple[Feature, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The dictionary: features, ratios, attributes and the label, in the order of the columns."""
        attributes = [attribute_entries(name, declared) for name, declared in self.config.attributes.items()]
        return (
            *(feature.entry for feature in self.features),
            *(_ratio_entry(name, *declared.over) for name, declared in self.config.ratios.items()),
            *(entry for entries in attributes for entry in entries),
            label_entry(self.config.label, self.label),
        )


def build_owner_features(
    spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame] | None = None
) -> DataFrame:
    """Return owner_id (string), snapshot_date (date), features and label: a row for every eligible owner and snapshot.

    Parameters
    ----------
    frames
        Sources and attributes by name that are already at hand; the others are read from where they are declared.

    Notes
    -----
    Snapshot t is the end of day t: features use events with day ≤ t that were known by t (arrival ≤ t); the label is
    over the days (t + gap, t + gap + horizon] and null where these pass the end of the data. Days are those of the
    session's time zone. Small lookups run at once (bounds of the data, the label's category, top levels); the result
    itself is lazy.

    Raises
    ------
    InputError
        When the configuration does not fit the data: an unknown column or category, arithmetic on strings, no
        snapshot with a whole label window, no eligible owner.
    """
    return assemble(prepare(spark, config, frames))


def prepare(spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame] | None = None) -> Blueprint:
    """Read the sources and look up what the features depend on."""
    frames = frames or {}
    events = {}
    for name, source in config.sources.items():
        where = f"features.sources.{name}"
        raw = frames[name] if name in frames else read_source(spark, source, where)
        events[name] = as_events(raw, source, config.entity, where)
    attributes = {}
    for name, declared in config.attributes.items():
        where = f"features.attributes.{name}"
        raw = frames[name] if name in frames else read_location(spark, declared, where)
        attributes[name] = as_attributes(raw, declared, config.entity, where)
    label = resolve_label(config.label, events[config.label.source])
    grid = make_grid(config.snapshots, config.label, *_bounds(events))
    _require_eligible(config, events, grid)
    groups = resolve_groups(config, events, label, grid.start)
    features = (*plan_features(config, groups, events), *(calendar_feature(part) for part in config.calendar))
    blueprint = Blueprint(config, events, attributes, grid, label, features)
    _check_names(blueprint)
    return blueprint


def assemble(blueprint: Blueprint) -> DataFrame:
    """Build the table of owner features lazily."""
    config, grid = blueprint.config, blueprint.grid
    rows = _eligible(blueprint, _readings(blueprint))
    label_events = blueprint.events[config.label.source]
    totals = label_totals(label_events, config.label, blueprint.label, grid)
    rows = rows.join(totals, [OWNER, SNAPSHOT], "left")
    values = rows.select(
        OWNER,
        SNAPSHOT,
        *(feature.value.alias(feature.entry.name) for feature in blueprint.features),
        label_value(config.label, grid),
    )
    for name, declared in config.ratios.items():
        values = values.withColumn(name, ratio(*(F.col(part).cast("double") for part in declared.over)))
    for name, frame in blueprint.attributes.items():
        values = join_attributes(values, frame, config.attributes[name], grid, f"features.attributes.{name}")
    return values.select(OWNER, SNAPSHOT, *(entry.name for entry in blueprint.entries))


def _readings(blueprint: Blueprint) -> DataFrame:
    """Return a row for every known owner and snapshot with all readings of all sources."""
    readings = dict.fromkeys(reading for feature in blueprint.features for reading in feature.readings)
    if blueprint.config.eligibility.active_within_days is not None:
        readings |= dict.fromkeys(_latest_event(source) for source in blueprint.events)
    plain = [reading for reading in readings if reading.view != "distinct"]
    days = {}
    for source, events in blueprint.events.items():
        cells = dict.fromkeys(reading.cell for reading in plain if reading.cell.group.source == source)
        days[source] = daily_partials(events, cells)
    rows = read_snapshots(days, plain, blueprint.grid)
    for source, events in blueprint.events.items():
        distinct = [r for r in readings if r.view == "distinct" and r.cell.group.source == source]
        if distinct:
            rows = rows.join(count_distinct(events, distinct, blueprint.grid), [OWNER, SNAPSHOT], "left")
    return rows


def _eligible(blueprint: Blueprint, rows: DataFrame) -> DataFrame:
    within = blueprint.config.eligibility.active_within_days
    if within is None:
        return rows
    latest = [F.col(_latest_event(source).name) for source in blueprint.events]
    newest = latest[0] if len(latest) == 1 else F.greatest(*latest)
    return rows.filter(F.datediff(SNAPSHOT, newest) < within)


def _latest_event(source: str) -> Reading:
    anything = ResolvedGroup(f"__any__{source}", source, "true", source, "all events")
    return Reading(Cell(anything, "count", None), "last", None)


def _bounds(events: Mapping[str, DataFrame]) -> tuple[dt.date, dt.date]:
    """Return the days of the first and the last event of all sources."""
    found = [frame.agg(F.min(DAY), F.max(DAY)).first() for frame in events.values()]
    firsts = [row[0] for row in found if row is not None and row[0] is not None]
    lasts = [row[1] for row in found if row is not None and row[1] is not None]
    if not firsts:
        raise InputError(
            f"features.sources: no event with an owner and a time in {', '.join(events)};"
            " check key, event_time and filter"
        )
    return min(firsts), max(lasts)


def _require_eligible(config: FeaturesConfig, events: Mapping[str, DataFrame], grid: Grid) -> None:
    within = config.eligibility.active_within_days
    for frame in events.values():
        until = F.to_date(F.lit("9999-12-31")) if within is None else F.date_add(DAY, within - 1)
        if not grid.explode(frame.select(OWNER, DAY, KNOWN), F.col(KNOWN), until).isEmpty():
            return
    recency = "" if within is None else f" with an event within {within} days"
    raise InputError(
        f"features: no eligible owner: nobody{recency} is known at the snapshots {grid.days[0]} to {grid.days[-1]};"
        " check features.snapshots and features.eligibility"
    )


def _check_names(blueprint: Blueprint) -> None:
    names = [entry.name for entry in blueprint.entries]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"features: several features are named {repeated}; rename a group, measure, ratio or attribute"
        )
    known = [feature.entry.name for feature in blueprint.features]
    for name, declared in blueprint.config.ratios.items():
        for part in declared.over:
            if part not in known:
                raise InputError(f"features.ratios.{name}.over: no feature {part!r}{nearest(part, known)}")
    if reserved := sorted({OWNER, SNAPSHOT, LABEL} & set(names[:-1])):
        raise InputError(f"features.attributes: {reserved} are names of the table's own columns; rename the attribute")


def _ratio_entry(name: str, numerator: str, denominator: str) -> Entry:
    return Entry(name, f"{numerator} over {denominator}", "ratio", None, "ratio", f"{denominator} is 0 or null")
