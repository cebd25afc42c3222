"""Owner features: what is declared is looked up in the data (:func:`prepare`), the table is lazy (:func:`assemble`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.aggregations import ratio
from remedi_spark.features.attributes import attribute_entries, join_attributes
from remedi_spark.features.calendar import calendar_feature
from remedi_spark.features.custom import CustomFeatures, join_custom, load_custom
from remedi_spark.features.days import daily_partials
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.distinct import daily_values
from remedi_spark.features.label import label_entry, label_partial, label_reading, label_value
from remedi_spark.features.levels import LabelEvents, ResolvedGroup, resolve_groups, resolve_label
from remedi_spark.features.plan import Cell, Feature, Reading, plan_features
from remedi_spark.features.snapshots import Grid, make_grid
from remedi_spark.features.sources import (
    DAY,
    KNOWN,
    as_attributes,
    as_events,
    check_agreement,
    read_location,
    read_source,
)
from remedi_spark.features.windows import Partials, read_snapshots

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config.features import FeaturesConfig

Bounds = tuple[dt.date, dt.date]
"""Days of the first and of the last event."""


@dataclass(frozen=True)
class Lookups:
    """What the declaration's words stand for in this data."""

    label: LabelEvents
    groups: tuple[ResolvedGroup, ...]


@dataclass(frozen=True)
class Blueprint:
    """Everything that had to be looked up in the data before the features could be written down."""

    config: FeaturesConfig
    events: Mapping[str, DataFrame]
    attributes: Mapping[str, DataFrame]
    grid: Grid
    lookups: Lookups
    features: tuple[Feature, ...]
    custom: Mapping[str, CustomFeatures]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The dictionary: features, ratios, attributes and the label, in the order of the columns."""
        attributes = [attribute_entries(name, declared) for name, declared in self.config.attributes.items()]
        return (
            *(feature.entry for feature in self.features),
            *(_ratio_entry(name, *declared.over) for name, declared in self.config.ratios.items()),
            *(entry for custom in self.custom.values() for entry in custom.entries()),
            *(entry for entries in attributes for entry in entries),
            label_entry(self.config.label, self.lookups.label),
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All readings, each once."""
        readings = dict.fromkeys(reading for feature in self.features for reading in feature.readings)
        if self.config.eligibility.active_within_days is not None:
            readings |= dict.fromkeys(_latest_event(source) for source in self.events)
        return tuple(readings)


def build_owner_features(
    spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame] | None = None
) -> DataFrame:
    """Return owner_id (string), snapshot_date (date), features and label: a row for every eligible owner and snapshot.

    Args:
        frames: Sources and attributes by name that are already at hand; the others are read from where they are
            declared.

    Note:
        Snapshot t is the end of day t: features use events with day ≤ t that were known by t (arrival ≤ t); the label
        is over the days (t + gap, t + gap + horizon] and null where these pass the end of the data. Days are those of
        the session's time zone. Small lookups run at once (bounds of the data, the label's category, top levels); the
        result itself is lazy.

    Raises:
        InputError: When the configuration does not fit the data: an unknown column or category, arithmetic on strings,
            no snapshot with a whole label window, no eligible owner.
    """
    return assemble(prepare(spark, config, frames))


def prepare(
    spark: SparkSession,
    config: FeaturesConfig,
    frames: Mapping[str, DataFrame] | None = None,
    *,
    bounds: Bounds | None = None,
    lookups: Lookups | None = None,
) -> Blueprint:
    """Read the sources and look up what the features depend on.

    ``bounds`` and ``lookups`` are those of an earlier run over the same data, or are found now.
    """
    tables = read_tables(spark, config, frames or {})
    events = {
        name: as_events(tables[name], source, config.entity, f"features.sources.{name}")
        for name, source in config.sources.items()
    }
    attributes = {
        name: as_attributes(tables[name], declared, config.entity, f"features.attributes.{name}")
        for name, declared in config.attributes.items()
    }
    check_agreement(config, tables)
    grid = make_grid(config.snapshots, config.label, *(bounds or event_bounds(events)))
    if lookups is None:
        label = resolve_label(config.label, events[config.label.source], grid.start)
        _require_eligible(config, events, grid)
        lookups = Lookups(label, resolve_groups(config, events, label, grid.start))
    planned = plan_features(config, lookups.groups, events)
    features = (*planned, *(calendar_feature(part) for part in config.calendar))
    custom = {name: load_custom(name, declared) for name, declared in config.custom.items()}
    blueprint = Blueprint(config, events, attributes, grid, lookups, features, custom)
    _check_names(blueprint)
    return blueprint


def read_tables(spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    """Return all sources and attributes by name, those in ``frames`` as they are."""
    sources = {
        name: frames[name] if name in frames else read_source(spark, source, f"features.sources.{name}")
        for name, source in config.sources.items()
    }
    attributes = {
        name: frames[name] if name in frames else read_location(spark, declared, f"features.attributes.{name}")
        for name, declared in config.attributes.items()
    }
    return {**sources, **attributes}


def compute_partials(
    blueprint: Blueprint, source: str, events: DataFrame | None = None, *, by_owner: bool = False
) -> Partials:
    """Aggregate the events of a source (or those given, a part of them) to what all snapshots are read from.

    ``by_owner`` brings an owner's events together first: aggregates that are read at once need not be moved again.
    """
    config = blueprint.config
    rows = blueprint.events[source] if events is None else events
    rows = rows.repartition(OWNER) if by_owner else rows
    own = [reading for reading in blueprint.readings if reading.cell.group.source == source]
    cells = dict.fromkeys(reading.cell for reading in own if reading.view != "distinct")
    label = [label_partial(rows, config.label, blueprint.lookups.label)] if source == config.label.source else []
    distinct = list(dict.fromkeys(reading.cell for reading in own if reading.view == "distinct"))
    values = daily_values(rows, distinct) if distinct else None
    return Partials(daily_partials(rows, cells, label), values, by_owner)


def assemble(
    blueprint: Blueprint, partials: Mapping[str, Partials] | None = None, days: Iterable[dt.date] | None = None
) -> DataFrame:
    """Build the table of owner features lazily.

    Args:
        partials: Stored partials of all sources; None: computed from the events.
        days: The snapshots to build; None: all.
    """
    config = blueprint.config
    grid = blueprint.grid if days is None else blueprint.grid.only(days)
    # Rows of several tables are moved once more when they are put together.
    one_table = len(blueprint.events) == 1 and all(reading.view != "distinct" for reading in blueprint.readings)
    kept = partials or {source: compute_partials(blueprint, source, by_owner=one_table) for source in blueprint.events}
    rows = _eligible(blueprint, read_snapshots(kept, blueprint.readings, grid, label_reading(config.label)))
    values = rows.select(
        OWNER,
        SNAPSHOT,
        *(feature.value.alias(feature.entry.name) for feature in blueprint.features),
        label_value(config.label, grid),
    )
    ratios = {name: ratio(*(F.col(part).cast("double") for part in r.over)) for name, r in config.ratios.items()}
    values = values.withColumns(ratios) if ratios else values
    for name, custom in blueprint.custom.items():
        events = {source: blueprint.events[source] for source in config.custom[name].sources}
        values = join_custom(values, name, custom, events, grid)
    for name, frame in blueprint.attributes.items():
        values = join_attributes(values, frame, config.attributes[name], grid, f"features.attributes.{name}")
    return values.select(OWNER, SNAPSHOT, *(entry.name for entry in blueprint.entries))


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


def event_bounds(events: Mapping[str, DataFrame]) -> Bounds:
    """Return the days of the first and the last event of all sources; ``events`` may be their daily partials."""
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
