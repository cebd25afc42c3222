"""Owner features: what is declared is looked up in the data (:func:`prepare`), the table is lazy (:func:`assemble`)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT, label_column
from remedi_spark.config.features import Attributes, Source
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.aggregations import ratio
from remedi_spark.features.amounts import with_amounts
from remedi_spark.features.attributes import attribute_entries, attribute_names, join_attributes
from remedi_spark.features.calendar import calendar_feature
from remedi_spark.features.custom import CustomFeatures, join_custom, load_custom
from remedi_spark.features.days import daily_partials
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.distinct import daily_values
from remedi_spark.features.event_days import Bounds, event_calendar
from remedi_spark.features.expressions import numeric
from remedi_spark.features.label import LabelPlan
from remedi_spark.features.levels import LabelEvents, ResolvedGroup, resolve_groups, resolve_label
from remedi_spark.features.lists import LISTS
from remedi_spark.features.plan import NUMERIC_PARTIALS, Cell, Feature, Reading, plan_features
from remedi_spark.features.reading import csv_location, text_columns
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
from remedi_spark.progress import warn
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from remedi_spark.config.features import FeaturesConfig, Ratio


@dataclass(frozen=True)
class Lookups:
    """What the declaration's words stand for in this data."""

    label: LabelEvents
    groups: tuple[ResolvedGroup, ...]
    further: Mapping[str, LabelEvents] = field(default_factory=dict)
    """Of ``features.labels``, by name."""


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
        """The dictionary: features, ratios, attributes and labels, in the order of the columns."""
        tables = self.config.attributes
        attributes = [attribute_entries(name, tables[name], self.attribute_names[name]) for name in tables]
        return (
            *self._computed,
            *(entry for entries in attributes for entry in entries),
            *(label.entry() for label in self.labels),
        )

    @property
    def labels(self) -> tuple[LabelPlan, ...]:
        """The labels: ``label`` and those of ``features.labels``."""
        further = self.config.labels
        return (
            LabelPlan(LABEL, self.config.label, self.lookups.label),
            *(LabelPlan(label_column(name), further[name], self.lookups.further[name]) for name in further),
        )

    @property
    def attribute_names(self) -> dict[str, dict[str, str]]:
        """By attribute table, what each of its columns is called as a feature."""
        own = (OWNER, SNAPSHOT, DAY, KNOWN, *(label.column for label in self.labels))
        return attribute_names(self.config.attributes, [*own, *(entry.name for entry in self._computed)])

    @property
    def _computed(self) -> tuple[Entry, ...]:
        return (
            *(feature.entry for feature in self.features),
            *(_ratio_entry(name, *declared.over) for name, declared in self.config.ratios.items()),
            *(entry for custom in self.custom.values() for entry in custom.entries()),
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All readings, each once."""
        readings = dict.fromkeys(reading for feature in self.features for reading in feature.readings)
        if recent_only(self.config):
            readings |= dict.fromkeys(latest_event(source) for source in self.events)
        return tuple(readings)

    def cells(self, source: str) -> tuple[Cell, ...]:
        """All cells of a source, each once."""
        return tuple(dict.fromkeys(reading.cell for reading in self.readings if reading.cell.source == source))


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
    eligible: bool = False,
) -> Blueprint:
    """Read the sources and look up what the features depend on.

    ``bounds`` and ``lookups`` are those of an earlier run over the same data, or are found now; ``eligible``: that run
    has found eligible owners.
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
    grid = make_grid(config.snapshots, config.label, *(bounds or _bounds(events)))
    if lookups is None:
        lookups = look_up(config, events, grid)
        if not eligible:
            _require_eligible(config, events, grid)
    for where, label in config.labels_by_key.items():
        if label.of is not None:
            numeric(events[label.source], label.of, f"features.{where}.of")
    planned = plan_features(config, lookups.groups, events)
    features = (*planned, *(calendar_feature(part) for part in config.calendar))
    custom = {name: load_custom(name, declared) for name, declared in config.custom.items()}
    blueprint = Blueprint(config, events, attributes, grid, lookups, features, custom)
    _check_names(blueprint)
    return blueprint


def look_up(config: FeaturesConfig, events: Mapping[str, DataFrame], grid: Grid) -> Lookups:
    """Return what labels and groups stand for in the events."""
    label, *further = (
        resolve_label(declared, events[declared.source], grid.start, f"features.{where}")
        for where, declared in config.labels_by_key.items()
    )
    groups = resolve_groups(config, events, label, grid.start)
    return Lookups(label, groups, dict(zip(config.labels, further, strict=True)))


def read_tables(spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    """Return all sources and attributes by name, those in ``frames`` as they are."""
    found = dict(frames)
    declared: dict[str, Source | Attributes] = {**config.sources, **config.attributes}
    # CSV files last: their ids are read as those of the other tables are.
    for name in sorted(declared, key=lambda name: csv_location(declared[name])):
        if name in found:
            continue
        table = declared[name]
        if isinstance(table, Attributes):
            where = f"features.attributes.{name}"
            found[name] = read_location(spark, table, where, _as_text(config, name, found))
        else:
            where = f"features.sources.{name}"
            found[name] = read_source(spark, table, where, _as_text(config, name, found))
    return {name: found[name] for name in declared}


def _as_text(config: FeaturesConfig, name: str, found: Mapping[str, DataFrame]) -> set[str]:
    declared: dict[str, Source | Attributes] = {**config.sources, **config.attributes}
    if not csv_location(declared[name]):
        return set()
    return text_columns(config, name, {other: f for other, f in found.items() if not csv_location(declared[other])})


def compute_partials(
    blueprint: Blueprint,
    source: str,
    events: DataFrame | None = None,
    *,
    by_owner: bool = False,
    without: Collection[str] = (),
) -> Partials:
    """Aggregate the events of a source (or those given, a part of them) to what all snapshots are read from.

    ``by_owner`` brings an owner's events together first: aggregates that are read at once need not be moved again.
    ``without`` are names of cells and label totals that are left out.
    """
    rows = blueprint.events[source] if events is None else events
    rows = rows.repartition(OWNER) if by_owner else rows
    own = [cell for cell in blueprint.cells(source) if cell.name not in without]
    cells = [cell for cell in own if cell.partial != "values"]
    numbers = [cell for cell in cells if cell.partial in NUMERIC_PARTIALS and not cell.text]
    wanted = [cell.of for cell in numbers if cell.of is not None]
    labels = {label.totals: label for label in blueprint.labels if label.config.source == source}
    labels = {totals: label for totals, label in labels.items() if totals[0] not in without}
    wanted += [label.config.of for label in labels.values() if label.config.of is not None]
    valued, amounts = with_amounts(rows, wanted)
    totals = [total for label in labels.values() for total in label.partials(amounts)]
    distinct = [cell for cell in own if cell.partial == "values"]
    values = daily_values(rows, distinct) if distinct else None
    return Partials(daily_partials(valued, cells, amounts, totals), values, by_owner)


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
    one_table = len(blueprint.events) == 1 and all(
        reading.view != "distinct" and reading.cell.partial not in LISTS for reading in blueprint.readings
    )
    kept = partials or {source: compute_partials(blueprint, source, by_owner=one_table) for source in blueprint.events}
    rows = _eligible(
        blueprint, read_snapshots(kept, blueprint.readings, grid, [one.reading for one in blueprint.labels])
    )
    values = rows.select(
        OWNER,
        SNAPSHOT,
        *(feature.value.alias(feature.entry.name) for feature in blueprint.features),
        *(label.value(grid, newest(blueprint)) for label in blueprint.labels),
    )
    values = with_ratios(values, config.ratios)
    for name in blueprint.custom:
        values = with_custom(values, blueprint, name, grid)
    for name, frame in blueprint.attributes.items():
        names = blueprint.attribute_names[name]
        named = frame.select(*(F.col(quoted(c)).alias(names.get(c, c)) for c in frame.columns))
        values = join_attributes(values, named, config.attributes[name], grid, f"features.attributes.{name}")
    return values.select(OWNER, SNAPSHOT, *(F.col(quoted(entry.name)) for entry in blueprint.entries))


def with_ratios(rows: DataFrame, ratios: Mapping[str, Ratio]) -> DataFrame:
    """Add ratios of features to rows."""
    found = {name: ratio(*(F.col(quoted(part)).cast("double") for part in r.over)) for name, r in ratios.items()}
    return rows.withColumns(found) if found else rows


def with_custom(rows: DataFrame, blueprint: Blueprint, name: str, grid: Grid) -> DataFrame:
    """Add the features of a custom class to rows of (owner, snapshot)."""
    events = {source: blueprint.events[source] for source in blueprint.config.custom[name].sources}
    return join_custom(rows, name, blueprint.custom[name], events, grid)


def recent_only(config: FeaturesConfig) -> bool:
    """Whether the day of an owner's latest event decides about its row or a label."""
    at_risk = [label.at_risk_within_days for label in config.labels_by_key.values()]
    return any(days is not None for days in (config.eligibility.active_within_days, *at_risk))


def newest(blueprint: Blueprint) -> Column | None:
    """Return the day of an owner's latest known event, as far as it is read."""
    if not recent_only(blueprint.config):
        return None
    latest = [F.col(latest_event(source).name) for source in blueprint.events]
    return latest[0] if len(latest) == 1 else F.greatest(*latest)


def _eligible(blueprint: Blueprint, rows: DataFrame) -> DataFrame:
    within, latest = blueprint.config.eligibility.active_within_days, newest(blueprint)
    return rows if within is None or latest is None else rows.filter(F.datediff(SNAPSHOT, latest) < within)


def latest_event(source: str) -> Reading:
    """Return the reading of the day of an owner's latest known event of a source."""
    return Reading(Cell(source, "true", "count", None), "last", None)


def _bounds(events: Mapping[str, DataFrame]) -> Bounds:
    calendar = event_calendar(events)
    for warning in calendar.warnings:
        warn("features", warning)
    return calendar.bounds


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
    plain = Counter(name.casefold() for name in names)
    if repeated := sorted({name for name in names if plain[name.casefold()] > 1}):
        raise InputError(
            f"features: several features are named {repeated}; rename a group, measure, ratio or attribute"
        )
    known = [feature.entry.name for feature in blueprint.features]
    texts = {feature.entry.name for feature in blueprint.features if feature.text}
    for name, declared in blueprint.config.ratios.items():
        for part in declared.over:
            if part in texts:
                raise InputError(f"features.ratios.{name}.over: {part!r} is text; expected two numbers")
            if part not in known:
                raise InputError(f"features.ratios.{name}.over: no feature {part!r}{nearest(part, known)}")
    own = {OWNER, SNAPSHOT, *(label.column.casefold() for label in blueprint.labels)}
    if reserved := sorted(name for name in names[: -len(blueprint.labels)] if name.casefold() in own):
        raise InputError(f"features: {reserved} are names of the table's own columns; rename the feature")


def _ratio_entry(name: str, numerator: str, denominator: str) -> Entry:
    return Entry(name, f"{numerator} over {denominator}", "ratio", None, "ratio", f"{denominator} is 0 or null")
