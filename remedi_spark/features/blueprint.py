"""What is declared, looked up in the data: the labels' categories, the top levels, the snapshots, the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT, label_column
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.attributes import attribute_entries, attribute_names
from remedi_spark.features.calendar import calendar_feature
from remedi_spark.features.custom import CustomFeatures, load_custom
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.event_days import Bounds, event_calendar
from remedi_spark.features.expressions import numeric
from remedi_spark.features.label import LabelPlan
from remedi_spark.features.levels import LabelEvents, ResolvedGroup, resolve_groups, resolve_label
from remedi_spark.features.plan import Cell, Feature, Reading, plan_features
from remedi_spark.features.reading import read_tables
from remedi_spark.features.snapshots import Grid, make_grid
from remedi_spark.features.sources import DAY, KNOWN, as_attributes, as_events, check_agreement

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config.features import FeaturesConfig


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
    grid = make_grid(config.snapshots, config.label, *(bounds or event_calendar(events).told()))
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


def recent_only(config: FeaturesConfig) -> bool:
    """Whether the day of an owner's latest event decides about its row or a label."""
    at_risk = [label.at_risk_within_days for label in config.labels_by_key.values()]
    return any(days is not None for days in (config.eligibility.active_within_days, *at_risk))


def latest_event(source: str) -> Reading:
    """Return the reading of the day of an owner's latest known event of a source."""
    return Reading(Cell(source, "true", "count", None), "last", None)


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
